import { DmaExhaustedError } from './errors.ts'
import type { DriverStatistics } from './statistics.ts'
import type { DriverVirtqueue, QueueUser } from './virtqueue.ts'

/** A request of somebody who waits for it. */
export interface PendingRequest {
  /** Ends it with an error; nothing happens when it has ended before. */
  reject(error: Error): void
}

/** What a kind of device does with its requests. */
export interface RequestHandler<Request extends PendingRequest> {
  /**
   * Builds and commits the request's chain, with `slot` as token. False when there is no room now.
   *
   * @throws what ends this request with that error
   */
  place(queue: DriverVirtqueue, request: Request, slot: number): boolean
  /** The device has completed the request and written `length` bytes by its own account: settles it. */
  complete(request: Request, slot: number, length: number): void
  /** The device will not touch the request's buffers any more, or never did. Called once. */
  release(request: Request): void
}

/** How many settled requests at the front of the waiting ones are kept before the rest moves up. */
const COMPACT_FROM = 1024

/**
 * The requests of one queue: those that the device has, each in a slot of its own, and behind them
 * those that wait for descriptors or addresses, in order.
 */
export class RequestQueue<Request extends PendingRequest> implements QueueUser {
  readonly #statistics: DriverStatistics
  #handler: RequestHandler<Request> | undefined
  #queue: DriverVirtqueue | undefined
  #slots: (Request | undefined)[] = []
  #freeSlots: number[] = []
  #waiting: Request[] = []
  /** Requests before this one in `#waiting` were placed. */
  #firstWaiting = 0
  #failure: Error | undefined

  constructor(statistics: DriverStatistics) {
    this.#statistics = statistics
  }

  /** Requests that the device has. */
  get inFlight(): number {
    return this.#queue?.inFlight ?? 0
  }

  /** Requests that wait for room. */
  get waiting(): number {
    return this.#waiting.length - this.#firstWaiting
  }

  /** Puts the requests on `queue`, one slot for each of its elements, by way of `handler`. */
  attach(queue: DriverVirtqueue, handler: RequestHandler<Request>): void {
    this.#handler = handler
    this.#queue = queue
    this.#slots = Array.from({ length: queue.size }, () => undefined)
    this.#freeSlots = Array.from({ length: queue.size }, (_, index) => queue.size - 1 - index)
  }

  /** Gives a request to the device, now or when there is room. */
  submit(request: Request): void {
    if (this.#failure !== undefined) this.#end(request, this.#failure)
    else if (this.waiting > 0 || !this.#place(request)) {
      this.#statistics.waits++
      this.#waiting.push(request)
    }
  }

  completed(slot: number, length: number): void {
    const request = this.#slots[slot]
    if (request === undefined) return
    this.#handler?.release(request)
    this.#handler?.complete(request, slot, length)
    this.#slots[slot] = undefined
    this.#freeSlots.push(slot)
    if (this.waiting > 0) this.#placeWaiting()
  }

  takenBack(slot: number, error: Error): void {
    const request = this.#slots[slot]
    if (request === undefined) return
    this.#slots[slot] = undefined
    this.#end(request, error)
  }

  /** Rejects every request with `error`, and every later one. The device keeps what it has. */
  fail(error: Error): void {
    this.#failure ??= error
    for (const request of this.#slots) request?.reject(error)
    const waiting = this.#waiting.slice(this.#firstWaiting)
    this.#waiting = []
    this.#firstWaiting = 0
    for (const request of waiting) this.#end(request, error)
  }

  #placeWaiting(): void {
    while (this.waiting > 0) {
      const request = this.#waiting[this.#firstWaiting]
      if (request === undefined || !this.#place(request)) break
      this.#firstWaiting++
    }
    if (this.waiting === 0) {
      this.#waiting.length = 0
      this.#firstWaiting = 0
    } else if (this.#firstWaiting >= COMPACT_FROM) {
      this.#waiting = this.#waiting.slice(this.#firstWaiting)
      this.#firstWaiting = 0
    }
  }

  /** True when the request needs no waiting: the device has it, or it has ended with an error. */
  #place(request: Request): boolean {
    const queue = this.#queue
    const handler = this.#handler
    const slot = this.#freeSlots.pop()
    if (queue === undefined || handler === undefined || slot === undefined) return false
    this.#slots[slot] = request
    let placed: boolean
    try {
      placed = handler.place(queue, request, slot)
    } catch (error) {
      this.#withdraw(slot)
      this.#end(request, error instanceof Error ? error : new Error(String(error)))
      return true
    }
    if (placed) {
      this.#statistics.requests++
      return true
    }
    this.#withdraw(slot)
    if (queue.inFlight > 0 && this.#failure === undefined) return false
    // Nothing will complete and make room.
    this.#end(request, this.#failure ?? new DmaExhaustedError())
    return true
  }

  #withdraw(slot: number): void {
    this.#slots[slot] = undefined
    this.#freeSlots.push(slot)
  }

  #end(request: Request, error: Error): void {
    this.#handler?.release(request)
    request.reject(error)
  }
}
