import { InvalidArgumentError, XmcError } from './errors.ts'

/** How much a {@link ReportLimiter} lets through. */
export interface ReportLimiterOptions {
  /** Reports of a kind that are told at once, before the rest is counted, 1 or more; by default 5. */
  readonly burst?: number | undefined
  /** Milliseconds between two counts of a kind, 1 to 2^31 - 1; by default 10,000. */
  readonly interval?: number | undefined
  /** Kinds that are told apart at a time, 1 or more; by default 64. Any further ones count as one kind. */
  readonly kinds?: number | undefined
  /**
   * Whether reports are told in a microtask, after whatever the reporter is doing, so that the listener may call
   * it; by default false.
   */
  readonly deferred?: boolean | undefined
}

/** Counts since a limiter was made. */
export interface ReportStatistics {
  /** Reports that came. */
  readonly reports: number
  /** Reports that were told one by one; each of the others is in a count. */
  readonly told: number
}

/** Reports of a kind that are told at once by default. */
export const DEFAULT_REPORT_BURST = 5
/** Milliseconds between two counts of a kind by default. */
export const DEFAULT_REPORT_INTERVAL = 10_000
/** Kinds that are told apart by default. */
export const DEFAULT_REPORT_KINDS = 64

/**
 * Tells the first few reports of each kind one by one, and counts the rest: whatever somebody else can
 * cause, as a guest can cause errors, must not become a line or an event each time.
 *
 * A kind whose burst is used up is told once an interval, with the last report and how many there were; after
 * an interval without any it starts anew. Its timer does not keep a process alive. Memory is bounded by the
 * number of kinds.
 *
 * @example
 * ```ts
 * const limiter = new ReportLimiter<string>((text, repeated) => {
 *   console.error(repeated === 0 ? text : `${text} (${repeated} of this kind)`)
 * })
 * limiter.report('disk 0: range', 'disk 0: a read behind the end')
 * ```
 */
export class ReportLimiter<Report> {
  readonly #tell: (report: Report, repeated: number) => void
  readonly #burst: number
  readonly #interval: number
  readonly #maximumKinds: number
  readonly #deferred: boolean
  readonly #kinds = new Map<string, KindState<Report>>()
  #timer: NodeJS.Timeout | undefined
  #reports = 0
  #told = 0
  #warned = false

  /**
   * @param tell is given a report by itself with 0, or the last of a number of reports with that number. It
   * should not throw: what it throws first becomes a process warning.
   * @throws InvalidArgumentError `ERR_XMC_ARGUMENT`
   */
  constructor(
    tell: (report: Report, repeated: number) => void,
    options: ReportLimiterOptions = {},
  ) {
    this.#tell = tell
    this.#burst = positive('burst', options.burst ?? DEFAULT_REPORT_BURST)
    this.#interval = positive('interval', options.interval ?? DEFAULT_REPORT_INTERVAL)
    this.#maximumKinds = positive('kinds', options.kinds ?? DEFAULT_REPORT_KINDS)
    this.#deferred = options.deferred ?? false
  }

  /** A snapshot of the counts. */
  get statistics(): ReportStatistics {
    return { reports: this.#reports, told: this.#told }
  }

  /**
   * Tells a report at once, or counts it.
   *
   * @param kind what the reports have in common that are counted together, as device and reason
   */
  report(kind: string, report: Report): void {
    this.#reports += 1
    const state = this.#stateOf(kind)
    state.quiet = false
    if (state.told < this.#burst) {
      state.told += 1
      this.#told += 1
      this.#say(report, 0)
      return
    }
    state.last = { report, count: (state.last?.count ?? 0) + 1 }
  }

  /** Tells every count that is due later, as before an end. */
  flush(): void {
    for (const state of this.#kinds.values()) this.#count(state)
  }

  #stateOf(kind: string): KindState<Report> {
    const known = this.#kinds.get(kind)
    if (known !== undefined) return known
    if (this.#kinds.size >= this.#maximumKinds && kind !== FURTHER) return this.#stateOf(FURTHER)
    const state: KindState<Report> = { told: 0, quiet: false, last: undefined }
    this.#kinds.set(kind, state)
    if (this.#timer === undefined) this.#wait()
    return state
  }

  #turn(): void {
    this.#timer = undefined
    for (const [kind, state] of this.#kinds) {
      if (state.quiet) this.#kinds.delete(kind)
      else {
        state.quiet = true
        this.#count(state)
      }
    }
    if (this.#kinds.size > 0) this.#wait()
  }

  #wait(): void {
    this.#timer = setTimeout(() => this.#turn(), this.#interval).unref()
  }

  #count(state: KindState<Report>): void {
    const { last } = state
    if (last === undefined) return
    state.last = undefined
    this.#say(last.report, last.count)
  }

  #say(report: Report, repeated: number): void {
    if (this.#deferred) queueMicrotask(() => this.#call(report, repeated))
    else this.#call(report, repeated)
  }

  #call(report: Report, repeated: number): void {
    try {
      this.#tell(report, repeated)
    } catch (error) {
      if (this.#warned) return
      this.#warned = true
      process.emitWarning(
        `a listener of reports threw: ${error instanceof Error ? error.message : String(error)}`,
        { type: 'XmcWarning', code: 'WARN_XMC_LISTENER' },
      )
    }
  }
}

/** What errors have in common that are counted together: code and reason, or their name where they have no code. */
export function kindOfError(error: unknown): string {
  if (error instanceof XmcError) {
    return 'reason' in error ? `${error.code} ${String(error.reason)}` : error.code
  }
  return error instanceof Error ? error.name : typeof error
}

/** What is known of a kind. */
interface KindState<Report> {
  /** Reports that were told one by one. */
  told: number
  /** Whether nothing came since the interval began. */
  quiet: boolean
  /** The last report that was not told, and how many there were; undefined where there was none. */
  last: { readonly report: Report; readonly count: number } | undefined
}

/** The kind of all that are over the number of kinds. */
const FURTHER = '(further kinds)'

function positive(field: string, value: number): number {
  if (Number.isInteger(value) && value >= 1 && value < 2 ** 31) return value
  throw new InvalidArgumentError(field, 'an integer from 1 to 2147483647', value)
}
