import { randomFillSync } from 'node:crypto'
import { Writable } from 'node:stream'
import { describe, expect, it } from 'vitest'
import { runCommandLine } from '../src/cli.ts'
import { openProgressBar, progressText } from '../src/commands/progress-bar.ts'
import { temporaryFile } from './helpers/command.ts'

/** As much of a terminal as a progress bar needs. */
class Terminal extends Writable {
  readonly isTTY = true
  readonly columns: number
  readonly rows = 24
  text = ''

  constructor(columns: number = 120) {
    super()
    this.columns = columns
  }

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.text += chunk.toString()
    done()
  }

  cursorTo(): boolean {
    return true
  }

  moveCursor(): boolean {
    return true
  }

  clearLine(): boolean {
    return true
  }

  getWindowSize(): [number, number] {
    return [this.columns, this.rows]
  }

  hasColors(): boolean {
    return false
  }
}

const NOWHERE = { write: (): boolean => true }

describe('the progress bar', () => {
  it('shows share, bytes and rate', () => {
    expect(progressText('reading', 50e6, 200e6, 0.5)).toBe(
      `reading ${'█'.repeat(8)}${'░'.repeat(22)}  25 % · 50.0 of 200.0 MB · 100.0 MB/s`,
    )
    expect(progressText('reading', 0, 0, 0)).toBe(`reading ${'█'.repeat(30)} 100 % · 0.0 of 0.0 MB`)
  })

  it('is drawn on a terminal, on standard error, and taken away', async () => {
    const terminal = new Terminal()
    const stdout: string[] = []
    const disk = temporaryFile(randomFillSync(new Uint8Array(2 ** 20)))
    const code = await runCommandLine(['serve', '--disk', disk, '--json'], {
      stdout: { write: (text) => stdout.push(text) },
      stderr: terminal,
    })
    expect(code).toBe(0)
    expect(terminal.text).toContain('reading')
    expect(stdout).toHaveLength(1)
    expect(JSON.parse(stdout[0] ?? '')).toMatchObject({ bytes: 2 ** 20 })
  })

  it('shows what it is told last', async () => {
    const terminal = new Terminal()
    const bar = openProgressBar({ stdout: NOWHERE, stderr: terminal }, 'copying')
    bar.update(512, 1024)
    await expect.poll(() => terminal.text).toMatch(/copying █{15}░{15} {2}50 % · 0\.0 of 0\.0 MB/)
    bar.stop()
  })

  it('shows nothing where there is no terminal, or one without a width', () => {
    const narrow = new Terminal(0)
    openProgressBar({ stdout: NOWHERE, stderr: narrow }, 'reading').update(1, 2)
    expect(narrow.text).toBe('')
    let text = ''
    const stderr = { write: (more: string) => (text += more) }
    const bar = openProgressBar({ stdout: NOWHERE, stderr }, 'reading')
    bar.update(1, 2)
    bar.stop()
    expect(text).toBe('')
  })
})
