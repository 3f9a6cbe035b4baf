import type { QueueRequest } from './queue-request.ts'

/**
 * The requests of a queue that wait for room on the host with nothing mapped, in the order in which they were made
 * available. One of them tries at a time; none behind it is served before.
 */
export class RoomLine {
  /** Whether there may be room for the first. */
  hopes = false
  private readonly waiting: QueueRequest[] = []
  /** The request that tries. */
  private trying: QueueRequest | undefined

  /** Requests that wait, without the one that tries. */
  get length(): number {
    return this.waiting.length
  }

  /** Whether requests that come have to wait for those in the line. */
  get blocks(): boolean {
    return this.waiting.length > 0 || this.trying !== undefined
  }

  /** A request waits, or waits again. */
  add(request: QueueRequest): void {
    if (this.trying === request) this.trying = undefined
    const { waiting } = this
    const at = waiting.findIndex(({ sequence }) => sequence > request.sequence)
    waiting.splice(at < 0 ? waiting.length : at, 0, request)
  }

  /** A request waits no longer, since it does not help; those behind it find out for themselves. */
  remove(request: QueueRequest): void {
    this.waiting.splice(this.waiting.indexOf(request), 1)
    this.hopes = this.waiting.length > 0
  }

  /** Whether a request waits. */
  has(request: QueueRequest): boolean {
    return this.waiting.includes(request)
  }

  /** The next request to try, when none does. */
  next(): QueueRequest | undefined {
    if (this.trying !== undefined) return undefined
    this.trying = this.waiting.shift()
    return this.trying
  }

  /** A request has found room, or has ended: those behind it may try. Returns whether it was the one that tried. */
  settle(request: QueueRequest): boolean {
    if (this.trying !== request) return false
    this.trying = undefined
    this.hopes = this.waiting.length > 0
    return true
  }

  /** Takes all that wait out. */
  clear(): QueueRequest[] {
    this.hopes = false
    this.trying = undefined
    return this.waiting.splice(0)
  }
}
