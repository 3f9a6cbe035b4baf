import ora from 'ora'
import type { CommandEnvironment, Output } from './environment.ts'
import { formatRate } from './formatting.ts'

/** Characters of the bar. */
const WIDTH = 30

/** A bar with share and rate, on a terminal; on anything else nothing is shown. */
export interface ProgressBar {
  /** Shows that `bytes` bytes of `total` are done. */
  update(bytes: number, total: number): void
  /** Takes the bar away. */
  stop(): void
}

/** Opens a bar on standard error. */
export function openProgressBar({ stderr }: CommandEnvironment, label: string): ProgressBar {
  if (!isTerminal(stderr)) return { update: () => {}, stop: () => {} }
  // The terminal's input is left alone: ^C must reach the process as a signal.
  const spinner = ora({ stream: stderr, text: label, discardStdin: false, isEnabled: true }).start()
  const started = performance.now()
  return {
    update: (bytes, total) => {
      spinner.text = progressText(label, bytes, total, (performance.now() - started) / 1000)
    },
    stop: () => void spinner.stop(),
  }
}

/** What the bar says. */
export function progressText(label: string, bytes: number, total: number, seconds: number): string {
  const share = total > 0 ? bytes / total : 1
  const filled = Math.round(share * WIDTH)
  const bar = '█'.repeat(filled) + '░'.repeat(WIDTH - filled)
  const percent = `${Math.floor(share * 100)}`.padStart(3)
  const rate = seconds > 0 ? ` · ${formatRate(bytes / seconds)}` : ''
  const done = `${(bytes / 1e6).toFixed(1)} of ${(total / 1e6).toFixed(1)} MB`
  return `${label} ${bar} ${percent} % · ${done}${rate}`
}

/** Whether there is a terminal with a width: the library clears lines without end on one of 0 columns. */
function isTerminal(output: Output): output is NodeJS.WriteStream {
  return (
    output.isTTY === true && 'cursorTo' in output && 'columns' in output && output.columns !== 0
  )
}
