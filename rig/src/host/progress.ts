/** Where a run says what it is doing. */
export class Progress {
  readonly #write: (line: string) => void

  constructor(write: (line: string) => void) {
    this.#write = write
  }

  /** Says one line. */
  say(line: string): void {
    this.#write(`rig: ${line}`)
  }

  /**
   * Does a piece of work that takes long: says what it is at the start, that it still goes on every 15
   * seconds, and how long it took.
   */
  async step<Result>(what: string, work: () => Promise<Result>): Promise<Result> {
    const started = performance.now()
    const seconds = (): string => ((performance.now() - started) / 1000).toFixed(1)
    this.say(what)
    const reminder = setInterval(() => this.say(`still ${what} (${seconds()} s)`), 15_000)
    try {
      const result = await work()
      this.say(`${what}: done in ${seconds()} s`)
      return result
    } finally {
      clearInterval(reminder)
    }
  }
}
