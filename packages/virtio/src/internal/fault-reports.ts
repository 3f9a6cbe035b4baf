import { XmcError } from '@xmc/core/errors'
import { codeOf, messageOf } from './error-parts.ts'

/** Most kinds of warnings of one device. */
const MOST_KINDS = 32

/**
 * Tells of the faults of one device: whoever listens, after the guest's access is done; without a listener the
 * process, by a warning `WARN_XMC_DEVICE_FAULT`, once for each kind of fault.
 */
export class FaultReports {
  /** Faults so far. */
  count = 0
  private readonly name: string
  private readonly listener: ((fault: Error) => void) | undefined
  private readonly warned = new Set<string>()

  constructor(name: string, listener: ((fault: Error) => void) | undefined) {
    this.name = name
    this.listener = listener
  }

  report(error: unknown): void {
    this.count += 1
    const { listener } = this
    const fault = error instanceof Error ? error : new Error(messageOf(error))
    if (listener === undefined) {
      this.warn(kindOf(fault), messageOf(fault), 'WARN_XMC_DEVICE_FAULT', fault)
      return
    }
    queueMicrotask(() => {
      try {
        listener(fault)
      } catch (thrown) {
        // A guest must not end the process by way of a listener.
        this.warn('listener', `onFault threw: ${messageOf(thrown)}`, 'WARN_XMC_LISTENER', thrown)
      }
    })
  }

  private warn(kind: string, text: string, code: string, cause: unknown): void {
    if (this.warned.has(kind) || this.warned.size >= MOST_KINDS) return
    this.warned.add(kind)
    // What is no error of this project is a mistake in a program: where it is says its stack.
    const detail = cause instanceof Error && !(cause instanceof XmcError) ? cause.stack : undefined
    process.emitWarning(`${this.name}: ${text}`, {
      type: 'XmcWarning',
      code,
      ...(detail === undefined ? {} : { detail }),
    })
  }
}

function kindOf(fault: Error): string {
  const code = codeOf(fault)
  const reason = 'reason' in fault ? String(fault.reason) : ''
  return `${typeof code === 'string' ? code : fault.name} ${reason}`
}
