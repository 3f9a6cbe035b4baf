import { kindOfError, ReportLimiter, type ReportLimiterOptions, XmcError } from '@xmc/interface'
import { messageOf } from './internal/error-parts.ts'

/** Most kinds of warnings of one device. */
const MOST_KINDS = 32

/**
 * Tells of the faults of one device: whoever listens, after the guest's access is done, of the first few of a kind
 * and then how many there were; without a listener the process, by a warning `WARN_XMC_DEVICE_FAULT` with the
 * device's name, once for each kind. A kind is a `code` and a `reason`; of more than 32 there are no further warnings.
 */
export class FaultReports {
  /** Faults so far. */
  count = 0
  private readonly name: string
  private readonly limiter: ReportLimiter<Error> | undefined
  private readonly warned = new Set<string>()

  /**
   * @param name what faults, as it stands in front of a warning
   * @throws InvalidArgumentError `ERR_XMC_ARGUMENT` for limits out of range
   */
  constructor(
    name: string,
    listener: ((fault: Error, repeated: number) => void) | undefined,
    limits?: ReportLimiterOptions,
  ) {
    this.name = name
    if (listener === undefined) return
    this.limiter = new ReportLimiter(listener, { ...limits, deferred: true })
  }

  /** Counts a fault and tells of it. Does not throw. */
  report(error: unknown): void {
    this.count += 1
    const fault = error instanceof Error ? error : new Error(messageOf(error))
    if (this.limiter === undefined) this.warn(fault)
    else this.limiter.report(kindOfError(fault), fault)
  }

  /** Tells what is only counted so far, as before an end. */
  flush(): void {
    this.limiter?.flush()
  }

  private warn(fault: Error): void {
    const kind = kindOfError(fault)
    if (this.warned.has(kind) || this.warned.size >= MOST_KINDS) return
    this.warned.add(kind)
    // What is no error of this project is a mistake in a program: where it is says its stack.
    const detail = fault instanceof XmcError ? undefined : fault.stack
    process.emitWarning(`${this.name}: ${fault.message}`, {
      type: 'XmcWarning',
      code: 'WARN_XMC_DEVICE_FAULT',
      ...(detail === undefined ? {} : { detail }),
    })
  }
}
