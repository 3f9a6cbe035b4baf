import type { DomainId } from '@xmc/interface'
import { refused } from './internal/errno.ts'
import {
  callHandler,
  type Handler,
  type HandlerErrorListener,
  warnOfHandlerError,
} from './internal/handler.ts'

/** First shared peripheral interrupt of an Arm interrupt controller; lower ones belong to a CPU. */
const FIRST_LINE = 32

/** Last shared peripheral interrupt. */
const LAST_LINE = 1019

/** What the interrupt lines ask of the hypervisor around them. */
export interface InterruptHost {
  /** True while the domain lives. */
  domainExists(domain: DomainId): boolean
}

/** Options of the interrupt lines. */
export interface InterruptLinesOptions {
  /** Is told what a handler threw; by default a warning of the process is emitted. */
  readonly onHandlerError?: HandlerErrorListener
}

/** An interrupt line that is high, for accounting. */
export interface RaisedInterruptLine {
  readonly domain: DomainId
  readonly line: number
}

interface Line {
  level: boolean
  scheduled: boolean
  handler: Handler | undefined
}

/**
 * The level-triggered interrupt lines of the domains of one hypervisor: lines 32 to 1,019, all low
 * at first, which a device model sets (`XEN_DMOP_set_irq_level`).
 *
 * A guest's handler is called once for a rise, from `setImmediate`. Rises that come before it ran are
 * one call, and a fall does not take the call back. A line that stays high brings no further call: a
 * handler that may leave causes unserved looks at {@link InterruptLines.level} before it ends.
 */
export class InterruptLines {
  readonly #host: InterruptHost
  readonly #onHandlerError: HandlerErrorListener
  readonly #domains = new Map<DomainId, Map<number, Line>>()

  constructor(host: InterruptHost, options: InterruptLinesOptions = {}) {
    this.#host = host
    this.#onHandlerError = options.onHandlerError ?? warnOfHandlerError
  }

  /**
   * Drives a line high or low.
   *
   * @throws SystemCallError `ERR_XMC_SYSTEM_CALL`: `ESRCH` when there is no such domain, `EINVAL` for a line
   * outside 32 to 1,019
   */
  setLevel(domain: DomainId, line: number, level: boolean): void {
    const state = this.#line('set interrupt level', domain, line)
    const rises = level && !state.level
    state.level = level
    if (rises) this.#schedule(state)
  }

  /**
   * True while a line is high.
   *
   * @throws SystemCallError as {@link InterruptLines.setLevel}
   */
  level(domain: DomainId, line: number): boolean {
    return this.#line('read interrupt level', domain, line).level
  }

  /**
   * Sets what the guest does when a line rises, or takes it away. A line that is high already counts
   * as a rise for a new handler.
   *
   * @throws SystemCallError as {@link InterruptLines.setLevel}
   */
  setHandler(domain: DomainId, line: number, handler: Handler | undefined): void {
    const state = this.#line('set interrupt handler', domain, line)
    state.handler = handler
    if (state.level) this.#schedule(state)
  }

  /** Forgets the lines of a domain that died; calls that were due do not come. */
  removeDomain(domain: DomainId): void {
    for (const line of this.#domains.get(domain)?.values() ?? []) line.handler = undefined
    this.#domains.delete(domain)
  }

  /** Every line that is high. */
  *raisedLines(): IterableIterator<RaisedInterruptLine> {
    for (const [domain, lines] of this.#domains) {
      for (const [line, { level }] of lines) if (level) yield { domain, line }
    }
  }

  #schedule(line: Line): void {
    if (line.scheduled || !line.handler) return
    line.scheduled = true
    setImmediate(() => {
      line.scheduled = false
      if (line.handler) callHandler(line.handler, this.#onHandlerError)
    })
  }

  #line(call: string, domain: DomainId, number: number): Line {
    if (!this.#host.domainExists(domain)) {
      throw refused(call, 'ESRCH', `domain ${domain} does not exist`)
    }
    if (!Number.isInteger(number) || number < FIRST_LINE || number > LAST_LINE) {
      throw refused(call, 'EINVAL', `line ${number} is not from ${FIRST_LINE} to ${LAST_LINE}`)
    }
    let lines = this.#domains.get(domain)
    if (!lines) {
      lines = new Map()
      this.#domains.set(domain, lines)
    }
    let line = lines.get(number)
    if (!line) {
      line = { level: false, scheduled: false, handler: undefined }
      lines.set(number, line)
    }
    return line
  }
}
