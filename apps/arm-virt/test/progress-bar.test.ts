import { randomFillSync } from 'node:crypto'
import { Writable } from 'node:stream'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { runCommandLine } from '../src/cli.ts'
import { formatRate, formatTiming } from '../src/commands/formatting.ts'
import { jobOptions } from '../src/commands/job-options.ts'
import { openProgressBar, progressText } from '../src/commands/progress-bar.ts'
import { selfTest } from '../src/self-test.ts'
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
    const code = await runCommandLine(['selftest', '--disk', disk, '--json'], {
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

  it('shows a small rate in a smaller unit, and never 0.0 MB/s', () => {
    expect(formatRate(812_350_000)).toBe('812.4 MB/s')
    expect(formatRate(100_000)).toBe('0.1 MB/s')
    expect(formatRate(99_999)).toBe('100.0 kB/s')
    expect(formatRate(5_120)).toBe('5.1 kB/s')
    expect(formatRate(100)).toBe('0.1 kB/s')
    expect(formatRate(27.4)).toBe('27 B/s')
    expect(formatRate(0.3)).toBe('under 1 B/s')
    expect(formatTiming(0.0371, 27)).toBe('0.037 s, 27 B/s')
    expect(formatTiming(0, 0)).toBe('0.000 s')
    expect(progressText('reading', 512, 1024, 1)).toContain('0.0 of 0.0 MB · 0.5 kB/s')
  })

  it('is a line every 5 s where there is no terminal, whether anything is done or not', () => {
    vi.useFakeTimers()
    onTestFinished(() => void vi.useRealTimers())
    let text = ''
    const stderr = { write: (more: string) => (text += more) }
    const bar = openProgressBar({ stdout: NOWHERE, stderr }, 'reading')
    vi.advanceTimersByTime(4999)
    expect(text).toBe('')
    vi.advanceTimersByTime(1)
    expect(text).toBe('arm-virt: reading: nothing yet, for 5 s\n')
    bar.update(250e6, 1000e6)
    bar.update(500e6, 1000e6)
    vi.advanceTimersByTime(10_000)
    bar.name('comparing')
    bar.update(30e6, 1000e6)
    vi.advanceTimersByTime(5000)
    bar.stop()
    vi.advanceTimersByTime(60_000)
    expect(text.split('\n')).toEqual([
      'arm-virt: reading: nothing yet, for 5 s',
      'arm-virt: reading: 50 % · 500.0 of 1000.0 MB · 50.0 MB/s',
      'arm-virt: reading: 50 % · 500.0 of 1000.0 MB · 33.3 MB/s',
      'arm-virt: comparing: 3 % · 30.0 of 1000.0 MB · 6.0 MB/s',
      '',
    ])
  })

  it('tells of the reading, and of the comparing after it', async () => {
    const disk = temporaryFile(randomFillSync(new Uint8Array(2 ** 20)))
    const shown: string[] = []
    const bar = {
      update: (bytes: number, total: number) => void shown.push(`${bytes} of ${total}`),
      name: (label: string) => void shown.push(label),
      stop: () => {},
    }
    const environment = { stdout: NOWHERE, stderr: NOWHERE }
    const flags = { memory: 2 ** 26, queueSize: 64, blockSize: 2 ** 19, inFlight: 1 }
    await selfTest({ ...jobOptions(flags, environment, bar), disks: [disk] })
    expect(shown.slice(0, 3)).toEqual(['524288 of 1048576', '1048576 of 1048576', 'comparing'])
    expect(shown.at(-1)).toBe('1048576 of 1048576')
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
