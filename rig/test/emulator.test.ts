import { chmodSync, existsSync, readFileSync, writeFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { type EmulatorOptions, runEmulator } from '../src/host/machine/emulator.ts'
import { temporaryFolder } from './helpers/temporary-folder.ts'

afterEach(() => {
  vi.unstubAllEnvs()
})

/** Puts a shell script in the place of the emulator; it leaves its process id in the folder. */
function standIn(script: string): string {
  const folder = temporaryFolder()
  const program = join(folder, 'qemu-system-aarch64')
  writeFileSync(program, `#!/bin/sh\necho $$ > '${folder}/pid'\n${script}\n`)
  chmodSync(program, 0o755)
  vi.stubEnv('PATH', `${folder}${delimiter}${process.env['PATH']}`)
  return folder
}

function options(more: Partial<EmulatorOptions> = {}): EmulatorOptions & { lines: string[] } {
  const lines: string[] = []
  return {
    parameters: [],
    limitSeconds: 60,
    signal: new AbortController().signal,
    onLine: (line) => lines.push(line),
    lines,
    ...more,
  }
}

function lives(folder: string): boolean {
  const pid = readFileSync(join(folder, 'pid'), 'utf8').trim()
  return existsSync(`/proc/${pid}`) && !readFileSync(`/proc/${pid}/stat`, 'utf8').includes(') Z ')
}

describe('runEmulator', () => {
  it('gives lines as they come, without carriage returns, colours and other control characters', async () => {
    standIn(String.raw`printf 'one\r\r\n\033[1mtwo\033[0m\007\n\nlast "%s"' "$1"`)
    const running = options({ parameters: ['a b'] })
    expect(await runEmulator(running)).toBe('powered-off')
    expect(running.lines).toEqual(['one', 'two', '', 'last "a b"'])
  })

  it('kills an emulator that takes longer than its limit', async () => {
    const folder = standIn('echo up; exec sleep 600')
    expect(await runEmulator(options({ limitSeconds: 0.5 }))).toBe('limit')
    expect(lives(folder)).toBe(false)
  })

  it('kills it when the signal is raised', async () => {
    const folder = standIn('echo up; exec sleep 600')
    const interruption = new AbortController()
    const end = runEmulator(
      options({ signal: interruption.signal, onLine: () => interruption.abort() }),
    )
    expect(await end).toBe('aborted')
    expect(lives(folder)).toBe(false)
  })

  it('does not start it when the signal was raised before', async () => {
    const folder = standIn('echo up')
    expect(await runEmulator(options({ signal: AbortSignal.abort() }))).toBe('aborted')
    expect(existsSync(join(folder, 'pid'))).toBe(false)
  })

  it('says what an emulator that fails complains about', async () => {
    standIn('echo "no such machine" >&2; exit 1')
    await expect(runEmulator(options())).rejects.toMatchObject({
      code: 'ERR_XMC_RIG',
      message: 'the emulator ended with 1: no such machine',
    })
  })
})
