import { copyFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { Writable } from 'node:stream'
import { describe, expect, it } from 'vitest'
import { formatJson, printable } from '../src/commands/formatting.ts'
import { watchOutput } from '../src/commands/watch-output.ts'
import { SimulatedHypervisor } from '../src/index.ts'
import { runCommand, temporaryFile } from './helpers/command.ts'

// ESC, a line feed, DEL, CSI as one character, and what turns the direction of writing around.
const EVIL = 'a\u001b[31m\n\u007f\u009b\u202eb.img'
const HARMLESS = 'a\\u001b[31m\\u000a\\u007f\\u009b\\u202eb.img'

/** A name with all of them, in a folder that is removed when the test ends. */
function evilName(): string {
  return `${dirname(temporaryFile(new Uint8Array()))}/${EVIL}`
}

/** A disk with such a name. */
function evilDisk(): string {
  const path = evilName()
  copyFileSync(temporaryFile(new Uint8Array(4096)), path)
  return path
}

describe('what a terminal would obey', () => {
  it('is written in characters that it prints', () => {
    expect(printable(EVIL)).toBe(HARMLESS)
    expect(printable('Ω日本 naïve – 🧑‍🚀')).toBe('Ω日本 naïve – 🧑‍🚀')
  })

  it('is written so in JSON, which says the same', () => {
    expect(formatJson({ path: EVIL })).toBe(
      '{"path":"a\\u001b[31m\\n\\u007f\\u009b\\u202eb.img"}\n',
    )
    expect(JSON.parse(formatJson({ path: EVIL }))).toEqual({ path: EVIL })
  })

  it.each([
    ['selftest', `/${HARMLESS}, read-write`],
    ['stats', 'driver'],
    ['serve', `/${HARMLESS}, read-write`],
  ])('does not get out of the name of a disk: %s', async (command, told) => {
    const [disk, missing] = [evilDisk(), evilName()]
    const hypervisor = SimulatedHypervisor.create({ memoryBytes: 32 * 2 ** 20 })
    const domain = command === 'serve' ? ['--domain', `${hypervisor.domain}`] : []
    setImmediate(() => hypervisor.guest.shutdown())
    const served = await runCommand([command, '--disk', disk, ...domain], {
      attach: () => hypervisor,
    })
    expect(served.code).toBe(0)
    expect(served.stdout).toContain(told)
    const refused = await runCommand([command, '--disk', missing, ...domain])
    expect(refused.code).toBe(1)
    expect(refused.stderr).toContain(`/${HARMLESS}: the file cannot be opened`)
    const twice = await runCommand([command, '--disk', disk, '--disk', disk, ...domain])
    expect(twice.code).toBe(2)
    expect(twice.stderr).toContain(`/${HARMLESS}' is invalid. It is the file of`)
    for (const { stdout, stderr } of [served, refused, twice]) {
      expect(`${stdout}${stderr}`).not.toMatch(/[^\P{Cc}\n]|\u202e/u)
      expect(stderr.split('\n')).toHaveLength(stderr === '' ? 1 : 2)
    }
  })

  it('does not get out of a wrong command line', async () => {
    const { code, stderr } = await runCommand(['selftest', '--memory', '\u001b[31m'])
    expect({ code, stderr }).toEqual({
      code: 2,
      stderr:
        "arm-virt: option '--memory <bytes>' argument '\\u001b[31m' is invalid. " +
        'Give a number of bytes, as 4096, 256K, 512M or 2G; see arm-virt selftest --help\n',
    })
  })
})

/** An output that takes nothing. */
function failing(code: string): Writable {
  return new Writable({
    write: (_chunk, _encoding, done) => {
      done(Object.assign(new Error(`${code}: cannot be written, write`), { code }))
    },
  })
}

/** What is said, and how often the output counts as lost, when it is written to. */
async function writing(code: string): Promise<{ readonly said: string; readonly lost: number }> {
  const stdout = failing(code)
  let said = ''
  let lost = 0
  const stderr = new Writable({
    write: (chunk, _encoding, done) => {
      said += String(chunk)
      done()
    },
  })
  watchOutput({ stdout, stderr }, () => (lost += 1))
  stdout.write('result\n')
  await new Promise((resolve) => {
    stdout.once('close', resolve)
  })
  return { said, lost }
}

describe('standard output', () => {
  it('that is full is said to be, and the result to be lost', async () => {
    expect(await writing('ENOSPC')).toEqual({
      said: 'arm-virt: standard output cannot be written: ENOSPC: cannot be written, write\n',
      lost: 1,
    })
  })

  it('that nobody reads any more is no error', async () => {
    expect(await writing('EPIPE')).toEqual({ said: '', lost: 0 })
  })

  it('and standard error that both take nothing are borne', async () => {
    const [stdout, stderr] = [failing('EIO'), failing('EIO')]
    let lost = 0
    watchOutput({ stdout, stderr }, () => (lost += 1))
    const closed = new Promise((resolve) => {
      stderr.once('close', resolve)
    })
    stdout.write('result\n')
    await closed
    expect(lost).toBe(1)
  })
})
