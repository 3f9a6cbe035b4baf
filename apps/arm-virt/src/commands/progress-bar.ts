import ora from 'ora'
import { announce, type CommandEnvironment, type Output } from './environment.ts'
import { formatRate } from './formatting.ts'

/** Characters of the bar. */
const WIDTH = 30

/** Milliseconds from one line to the next where there is no terminal. */
const LINE_INTERVAL = 5000

/** How far a job is: a bar with share and rate on a terminal; on anything else a line now and then. */
export interface ProgressBar {
  /** Shows that `bytes` bytes of `total` are done. */
  update(bytes: number, total: number): void
  /** Says what is done now; the rate starts anew when that changes. */
  name(label: string): void
  /** Takes the bar away. */
  stop(): void
}

/** Opens a bar on standard error. */
export function openProgressBar(environment: CommandEnvironment, label: string): ProgressBar {
  const { stderr } = environment
  return isTerminal(stderr) ? new DrawnBar(stderr, label) : new ProgressLines(environment, label)
}

/** What the bar says. */
export function progressText(label: string, bytes: number, total: number, seconds: number): string {
  const share = total > 0 ? bytes / total : 1
  const filled = Math.round(share * WIDTH)
  const bar = '█'.repeat(filled) + '░'.repeat(WIDTH - filled)
  return `${label} ${bar} ${progressFigures(bytes, total, seconds)}`
}

/** Share, bytes and rate. */
function progressFigures(bytes: number, total: number, seconds: number): string {
  const percent = `${Math.floor(total > 0 ? (bytes / total) * 100 : 100)}`.padStart(3)
  const rate = seconds > 0 ? ` · ${formatRate(bytes / seconds)}` : ''
  return `${percent} % · ${(bytes / 1e6).toFixed(1)} of ${(total / 1e6).toFixed(1)} MB${rate}`
}

/** What is done now, since when, and how much of it is done. */
class Stage {
  label: string
  bytes = 0
  total: number | undefined
  #started = performance.now()

  constructor(label: string) {
    this.label = label
  }

  get seconds(): number {
    return (performance.now() - this.#started) / 1000
  }

  rename(label: string): void {
    if (label === this.label) return
    this.label = label
    this.bytes = 0
    this.total = undefined
    this.#started = performance.now()
  }

  update(bytes: number, total: number): void {
    this.bytes = bytes
    this.total = total
  }
}

class DrawnBar implements ProgressBar {
  readonly #stage: Stage
  readonly #spinner: ReturnType<typeof ora>

  constructor(stream: NodeJS.WriteStream, label: string) {
    this.#stage = new Stage(label)
    // The terminal's input is left alone: ^C must reach the process as a signal.
    this.#spinner = ora({ stream, text: label, discardStdin: false, isEnabled: true }).start()
  }

  update(bytes: number, total: number): void {
    const { label, seconds } = this.#stage
    this.#spinner.text = progressText(label, bytes, total, seconds)
  }

  name(label: string): void {
    this.#stage.rename(label)
  }

  stop(): void {
    this.#spinner.stop()
  }
}

/** Writes a line at times, whether there was progress or not. */
class ProgressLines implements ProgressBar {
  readonly #environment: CommandEnvironment
  readonly #stage: Stage
  readonly #timer: NodeJS.Timeout

  constructor(environment: CommandEnvironment, label: string) {
    this.#environment = environment
    this.#stage = new Stage(label)
    this.#timer = setInterval(() => this.#write(), LINE_INTERVAL)
    this.#timer.unref()
  }

  update(bytes: number, total: number): void {
    this.#stage.update(bytes, total)
  }

  name(label: string): void {
    this.#stage.rename(label)
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  #write(): void {
    const { label, bytes, total, seconds } = this.#stage
    const figures =
      total === undefined
        ? `nothing yet, for ${Math.round(seconds)} s`
        : progressFigures(bytes, total, seconds).trimStart()
    announce(this.#environment, `${label}: ${figures}`)
  }
}

/** Whether there is a terminal with a width: the library clears lines without end on one of 0 columns. */
function isTerminal(output: Output): output is NodeJS.WriteStream {
  return (
    output.isTTY === true && 'cursorTo' in output && 'columns' in output && output.columns !== 0
  )
}
