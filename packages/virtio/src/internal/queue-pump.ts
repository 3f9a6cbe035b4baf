import { InvalidArgumentError } from '@xmc/core/errors'
import { DescriptorChain } from '../descriptor-chain.ts'
import type { QueueDeclaration, VirtioDevice } from '../device.ts'
import { VirtqueueError } from '../errors.ts'
import { VIRTQ_DESC_SIZE } from '../ring-layout.ts'
import { SplitQueue, type SplitQueueLayout } from '../split-queue.ts'
import { type ChainLimits, type IndirectTable, walk } from './chain-walk.ts'
import { formatAddress } from './device-address.ts'
import { isPagedOut, messageOf } from './error-parts.ts'
import { COPY_LIMIT, type GuestMapper } from './guest-mapper.ts'

const REQUEST_BYTES = 64 * 1024 * 1024

/** What a pump needs of its transport. None of the calls throws. */
export interface PumpHost {
  readonly device: VirtioDevice
  readonly mapper: GuestMapper
  /** Whether memory is mapped by `mapAsync` from the start. */
  readonly asynchronous: boolean
  /** Whether the requests in flight leave room for another. */
  hasRoom(): boolean
  /** Counts bytes of requests in flight, up or down. */
  account(bytes: number): void
  /** The device cannot go on. */
  fault(error: unknown): void
  /** Something failed for requests that nobody waits for. */
  report(error: unknown): void
  /** A request was published, and the driver wants to know if `notify`. */
  used(notify: boolean): void
  /** The last operation that was cut off is done. */
  cutOffDone(): void
}

/**
 * Moves the requests of one queue: from the available ring, through memory and device, to the used
 * ring. Whatever it starts belongs to an epoch; `cut` ends the epoch, and what comes back later is
 * released and forgotten.
 */
export class QueuePump {
  /** Most requests that were in flight at a time. */
  mostInFlight = 0
  /** Operations of the epoch: requests, and the mapping of the rings. */
  private current = 0
  /** Operations of earlier epochs that have not come back. */
  private cutOff = 0
  private epoch = 0
  private ring: SplitQueue | undefined
  private limits: ChainLimits
  private mapping = false
  private running = false
  private again = false
  private continuation: NodeJS.Immediate | undefined

  private readonly index: number
  private readonly declaration: QueueDeclaration
  private readonly host: PumpHost

  constructor(index: number, declaration: QueueDeclaration, host: PumpHost) {
    this.index = index
    this.declaration = declaration
    this.host = host
    this.limits = { queue: index, descriptors: declaration.size, indirect: false }
  }

  /** Operations that have not come back. */
  get inFlight(): number {
    return this.current + this.cutOff
  }

  /** Whether operations of earlier epochs have not come back. */
  get draining(): boolean {
    return this.cutOff > 0
  }

  /** Maps the rings and goes to work. */
  start(layout: SplitQueueLayout, indirect: boolean): void {
    const { host } = this
    this.limits = { ...this.limits, indirect }
    if (!host.asynchronous) {
      try {
        this.ring = SplitQueue.map(layout, host.mapper)
        return
      } catch (error) {
        if (!(error instanceof Error && isPagedOut(error.cause))) {
          host.fault(error)
          return
        }
      }
    }
    const { epoch } = this
    this.current += 1
    this.mapping = true
    SplitQueue.mapAsync(layout, host.mapper).then(
      (ring) => this.started(epoch, ring),
      (error: unknown) => {
        this.done(epoch)
        if (epoch === this.epoch) host.fault(error)
      },
    )
  }

  /** Looks for requests, at most as many as the queue is long; the rest follows in a later turn. */
  kick(): void {
    if (this.ring === undefined || this.running) {
      this.again = this.running || this.mapping
      return
    }
    const { ring } = this
    this.running = true
    try {
      this.run(ring)
    } catch (error) {
      this.host.fault(error)
    } finally {
      this.running = false
    }
    // A guest that is called by its interrupt may have set the queue up anew meanwhile.
    if (this.again && this.ring !== ring) this.kickLater()
  }

  /** Ends the epoch: the ring is released now, and requests in flight when they come back. */
  cut(): void {
    const { ring } = this
    this.epoch += 1
    this.cutOff += this.current
    this.current = 0
    this.ring = undefined
    this.mapping = false
    this.again = false
    clearImmediate(this.continuation)
    this.continuation = undefined
    const failed = ring?.release(this.host.mapper)
    if (failed !== undefined) this.host.report(failed)
  }

  private started(epoch: number, ring: SplitQueue): void {
    if (epoch !== this.epoch) {
      const failed = ring.release(this.host.mapper)
      if (failed !== undefined) this.host.report(failed)
      this.done(epoch)
      return
    }
    this.done(epoch)
    this.mapping = false
    this.ring = ring
    if (this.again) this.kick()
  }

  private run(ring: SplitQueue): void {
    let budget = ring.size
    do {
      this.again = false
      while (budget > 0 && this.ring === ring && this.mayTake()) {
        const head = ring.next()
        if (head < 0) break
        budget -= 1
        this.begin(ring, head)
      }
      if (this.ring !== ring || !this.mayTake()) return
    } while (budget > 0 && (ring.rearm() || this.again))
    // The guest may refill as fast as the device answers: let the event loop turn.
    if (budget === 0 && ring.hasNext()) this.kickLater()
  }

  private kickLater(): void {
    this.continuation ??= setImmediate(() => {
      this.continuation = undefined
      this.kick()
    })
  }

  private mayTake(): boolean {
    const { device } = this.host
    return (
      this.current < (this.declaration.inFlight ?? this.declaration.size) &&
      // One request is always allowed: its end is what makes the queue look for room again.
      (this.current === 0 || this.host.hasRoom()) &&
      (device.ready === undefined || device.ready(this.index))
    )
  }

  private begin(ring: SplitQueue, head: number): void {
    const { host, epoch } = this
    this.current += 1
    if (this.current > this.mostInFlight) this.mostInFlight = this.current
    if (!host.asynchronous) {
      const chain = new DescriptorChain(this.index, head)
      try {
        this.prepare(ring, chain)
      } catch (error) {
        if (!isPagedOut(error)) {
          this.finish(epoch, chain, 0, error)
          return
        }
        this.discard(chain)
        this.beginAsync(ring, epoch, head)
        return
      }
      this.serve(epoch, chain)
      return
    }
    this.beginAsync(ring, epoch, head)
  }

  private beginAsync(ring: SplitQueue, epoch: number, head: number): void {
    const chain = new DescriptorChain(this.index, head)
    this.prepareAsync(ring, chain).then(
      () => this.serve(epoch, chain),
      (error: unknown) => this.finish(epoch, chain, 0, error),
    )
  }

  private prepare(ring: SplitQueue, chain: DescriptorChain): void {
    const table = walk(ring.descriptors, ring.size, chain.head, chain, this.limits, false)
    if (table !== undefined) {
      const copy = new Uint8Array(table.length)
      try {
        this.host.mapper.read(table.page, table.offset, copy)
      } catch (error) {
        throw isPagedOut(error) ? error : this.indirectUnmapped(table, error)
      }
      walk(viewOf(copy), table.length / VIRTQ_DESC_SIZE, 0, chain, this.limits, true)
    }
    this.account(chain)
    chain.map(this.host.mapper)
  }

  private async prepareAsync(ring: SplitQueue, chain: DescriptorChain): Promise<void> {
    const table = walk(ring.descriptors, ring.size, chain.head, chain, this.limits, false)
    if (table !== undefined) {
      const copy = new Uint8Array(table.length)
      try {
        await this.host.mapper.readAsync(table.page, table.offset, copy)
      } catch (error) {
        throw this.indirectUnmapped(table, error)
      }
      walk(viewOf(copy), table.length / VIRTQ_DESC_SIZE, 0, chain, this.limits, true)
    }
    this.account(chain)
    await chain.mapAsync(this.host.mapper)
  }

  private account(chain: DescriptorChain): void {
    chain.refuseOver(this.declaration.requestBytes ?? REQUEST_BYTES, COPY_LIMIT)
    chain.accounted = chain.readableLength + chain.writableLength
    this.host.account(chain.accounted)
  }

  private discard(chain: DescriptorChain): void {
    const failed = this.close(chain, false)
    if (failed !== undefined) this.host.report(failed)
  }

  private close(chain: DescriptorChain, keep: boolean): Error | undefined {
    this.host.account(-chain.accounted)
    return chain.close(this.host.mapper, keep)
  }

  private serve(epoch: number, chain: DescriptorChain): void {
    if (epoch !== this.epoch) {
      this.finish(epoch, chain, 0)
      return
    }
    let result: number | Promise<number>
    try {
      result = this.host.device.handle(chain, this.index)
    } catch (error) {
      this.finish(epoch, chain, 0, failureOf(error))
      return
    }
    if (typeof result === 'number') {
      this.finish(epoch, chain, result)
      return
    }
    Promise.resolve(result).then(
      (written) => this.finish(epoch, chain, written),
      (error: unknown) => this.finish(epoch, chain, 0, failureOf(error)),
    )
  }

  /** The one end of every request: releases its memory, and only then tells the guest. */
  private finish(epoch: number, chain: DescriptorChain, written: number, error?: unknown): void {
    const { ring } = this
    const live = epoch === this.epoch && ring !== undefined
    const possible = Number.isInteger(written) && written >= 0 && written <= chain.writableLength
    const failure = error ?? (possible ? undefined : wrongCount(chain, written))
    const unreleased = this.close(chain, live && failure === undefined)
    if (!live) {
      if (unreleased !== undefined) this.host.report(unreleased)
      this.done(epoch)
      return
    }
    this.done(epoch)
    if (failure !== undefined || unreleased !== undefined) {
      this.host.fault(failure ?? unreleased)
      return
    }
    this.host.used(ring.publish(chain.head, written))
    this.kickAfter()
  }

  /** After a request: the queue may have stood still for want of room. */
  private kickAfter(): void {
    if (this.running) this.again = true
    else this.kick()
  }

  private done(epoch: number): void {
    if (epoch === this.epoch) {
      this.current -= 1
      return
    }
    this.cutOff -= 1
    if (this.cutOff === 0) this.host.cutOffDone()
  }

  private indirectUnmapped(table: IndirectTable, cause: unknown): VirtqueueError {
    const where = formatAddress(table.page, table.offset)
    return new VirtqueueError(
      this.index,
      'indirect-unmapped',
      `the indirect table at ${where} cannot be read (${messageOf(cause)})`,
      { cause },
    )
  }
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

/** What was thrown, where that says anything. */
function failureOf(error: unknown): unknown {
  return error ?? new TypeError('the device failed and did not say why')
}

function wrongCount(chain: DescriptorChain, written: number): InvalidArgumentError {
  return new InvalidArgumentError(
    'written',
    `an integer from 0 to ${chain.writableLength}, which is what a device's handle() may answer`,
    written,
  )
}
