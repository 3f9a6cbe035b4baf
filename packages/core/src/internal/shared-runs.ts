/** Runs that prepare at a time; whoever asks then joins the last, rather than start another. */
const MOST_AT_A_TIME = 2

/**
 * Runs of an asynchronous job that callers share, as long as it has only been prepared: whoever asks in the same
 * turn gets one run; and while two are being prepared, one more would do nothing that the second does not do.
 *
 * One run alone is not joined: something that it waits for may be what asks, and would wait for itself.
 */
export class SharedRuns<Prepared, Result> {
  private readonly prepare: () => Promise<Prepared>
  private readonly act: (prepared: Prepared) => Result | Promise<Result>
  /** Runs that are being prepared. */
  private readonly underWay: Set<Promise<Result>> = new Set()
  private next: Promise<Result> | undefined

  /** @param act does what every caller wants that came before it */
  constructor(
    prepare: () => Promise<Prepared>,
    act: (prepared: Prepared) => Result | Promise<Result>,
  ) {
    this.prepare = prepare
    this.act = act
  }

  /** Starts a run, or joins one. */
  async run(): Promise<Result> {
    const joined = this.next ?? this.last()
    if (joined !== undefined) return joined
    this.next = this.start()
    return this.next
  }

  private last(): Promise<Result> | undefined {
    return this.underWay.size < MOST_AT_A_TIME ? undefined : [...this.underWay].at(-1)
  }

  private async start(): Promise<Result> {
    // Whoever asks in this turn is served by this run.
    await Promise.resolve()
    const run = this.next
    this.next = undefined
    if (run !== undefined) this.underWay.add(run)
    try {
      const prepared = await this.prepare()
      if (run !== undefined) this.underWay.delete(run)
      return await this.act(prepared)
    } finally {
      if (run !== undefined) this.underWay.delete(run)
    }
  }
}
