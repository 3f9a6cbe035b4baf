/** Work of which each repetition does one operation. */
type Work = (count: number) => number | Promise<number>

/** Something that costs time, and the same with nothing between. */
export interface Workload {
  /** Name, as in the tables: `W1`. */
  readonly id: string
  /** What one operation is, in one clause. */
  readonly title: string
  /** What the limit is, in one clause. */
  readonly limitTitle: string
  /** Bytes that an operation moves, where a rate says more than a time. */
  readonly bytes?: number | undefined
  /** Makes what is needed, and gives the two to be measured. */
  prepare(): Prepared | Promise<Prepared>
}

/** A workload that is one point of a curve. */
export interface GrowthPoint extends Workload {
  /** Name of the curve. */
  readonly curve: string
  /** Where on it: a number of locks, or of MiB. */
  readonly at: number
}

/** A workload that is ready to run. */
export interface Prepared {
  /**
   * Does `count` operations and gives a number that depends on the result of each, so that none can be
   * left out.
   */
  readonly run: Work
  /** The same loop with the same addresses and nothing between. */
  readonly limit: Work
  /** Fewest operations that make sense at a time; 1 by default. */
  readonly batch?: number | undefined
  /** Ends what would keep the process from ending; the rest goes with it. */
  close?(): Promise<void>
}

/** What a workload cost, in nanoseconds of an operation: medians over the rounds. */
export interface Figure {
  readonly ns: number
  readonly limitNs: number
  /** Median of the rounds' own ratios. */
  readonly ratio: number
  /** First and third quartile of the ratios. */
  readonly quartiles: readonly [number, number]
  readonly rounds: number
  readonly note: string
}
