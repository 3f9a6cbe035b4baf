import { randomFillSync } from 'node:crypto'
import { truncateSync, writeFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { temporaryFile } from './helpers/command.ts'
import { Program } from './helpers/program.ts'

let program: Program

beforeAll(async () => {
  program = await Program.bundle()
})

afterAll(() => {
  program.remove()
})

/** A disk that takes half a minute to read, and no space. */
function longDisk(): string {
  const path = temporaryFile(new Uint8Array())
  writeFileSync(path, '')
  truncateSync(path, 2 ** 35)
  return path
}

describe('arm-virt as a process', () => {
  it('serves a disk, and prints the JSON alone on standard output', async () => {
    const disk = temporaryFile(randomFillSync(new Uint8Array(2 ** 20)))
    const { code, stdout, stderr } = await program.run(['selftest', '--disk', disk, '--json'])
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(JSON.parse(stdout)).toMatchObject({ bytes: 2 ** 20, mappedPages: 0, pinnedGrants: 0 })
  })

  it.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const)('ends with everything unmapped on %s, by exit code %d', async (signal, exitCode) => {
    const running = program.start(['selftest', '--disk', longDisk()])
    await running.hasGuest()
    running.signal(signal)
    expect(await running.ended).toEqual({
      code: exitCode,
      signal: null,
      stdout: '',
      stderr: `arm-virt: ended by ${signal}; everything was unmapped\n`,
    })
  })

  it('says so as JSON with --json', async () => {
    const running = program.start(['selftest', '--foreign', '--disk', longDisk(), '--json'])
    await running.hasGuest()
    running.signal('SIGINT')
    // As npm does, which hands a ^C of the terminal on.
    running.signal('SIGINT')
    const { code, stdout, stderr } = await running.ended
    expect({ code, stderr }).toEqual({ code: 130, stderr: '' })
    expect(JSON.parse(stdout)).toEqual({
      error: {
        code: 'ERR_XMC_INTERRUPTED',
        message: 'ended by SIGINT; everything was unmapped',
      },
    })
  })

  it('ends by itself with a code that says what was wrong', async () => {
    expect(await program.run(['selftest', '--disk', '/proc'])).toEqual({
      code: 1,
      signal: null,
      stdout: '',
      stderr: 'arm-virt: /proc: a directory cannot be a disk: give a file\n',
    })
    expect((await program.run(['selftest', '--bogus'])).code).toBe(2)
  })

  it('says that its output is full, in one line', async () => {
    expect(await program.run(['mtree'], '/dev/full')).toEqual({
      code: 1,
      signal: null,
      stdout: '',
      stderr:
        'arm-virt: standard output cannot be written: ENOSPC: no space left on device, write\n',
    })
  })

  it('bears it that nobody reads its output', async () => {
    const running = program.start(['mtree'])
    running.closeOutput()
    expect(await running.ended).toEqual({ code: 0, signal: null, stdout: '', stderr: '' })
  })
})
