import { SplitQueue, type SplitQueueLayout } from '../split-queue.ts'
import type { TurnBudget, TurnClient } from '../turn-budget.ts'
import { isPagedOut, shortageOf } from './error-parts.ts'
import type { GuestMapper } from './guest-mapper.ts'
import type { QueueEpoch } from './queue-request.ts'
import type { RoomClient, RoomWait } from './room-wait.ts'

/** What the mapping of rings needs of their transport. */
export interface RingMappingHost {
  readonly mapper: GuestMapper
  readonly budget: TurnBudget
  readonly room: RoomWait
  /** Whether memory is mapped by `mapAsync` from the start. */
  readonly asynchronous: boolean
  /** Something failed for rings that nobody waits for. */
  report(error: unknown): void
}

/** Whose rings are mapped. None of the calls throws. */
export interface RingOwner {
  /** An operation of the epoch begins, or has ended. */
  begun(): void
  ended(epoch: QueueEpoch): void
  /** The rings are there, in the epoch that they were asked for in. */
  mapped(ring: SplitQueue): void
  /** They cannot be mapped. */
  failed(error: unknown): void
}

/** Maps the rings of one queue, at once or later: when pages have come, and when the host has room. */
export class RingMapping implements RoomClient, TurnClient {
  private readonly host: RingMappingHost
  private readonly owner: RingOwner
  /** Rings that wait for room, and since when. */
  private waits:
    | {
        readonly layout: SplitQueueLayout
        readonly epoch: QueueEpoch
        readonly since: number
      }
    | undefined

  constructor(host: RingMappingHost, owner: RingOwner) {
    this.host = host
    this.owner = owner
  }

  /** Whether rings wait for room on the host. */
  get waiting(): boolean {
    return this.waits !== undefined
  }

  /** Maps rings in an epoch. */
  start(layout: SplitQueueLayout, epoch: QueueEpoch): void {
    this.map(layout, epoch, -1)
  }

  /** Waits for room no longer; returns whether it did. What is being mapped is released when it comes. */
  stop(): boolean {
    const { waiting } = this
    this.waits = undefined
    this.host.room.leave(this)
    return waiting
  }

  /** There may be room: tries in a later turn. */
  retry(): void {
    this.host.budget.wait(this)
  }

  continue(): void {
    const { waits } = this
    if (waits === undefined) return
    this.waits = undefined
    this.owner.ended(waits.epoch)
    this.map(waits.layout, waits.epoch, waits.since)
  }

  private map(layout: SplitQueueLayout, epoch: QueueEpoch, since: number): void {
    const { host, owner } = this
    const begun = host.room.begin(false)
    if (!host.asynchronous) {
      try {
        this.came(epoch, SplitQueue.map(layout, host.mapper))
        return
      } catch (error) {
        if (!(error instanceof Error && isPagedOut(error.cause))) {
          this.failed(layout, epoch, since, begun, error)
          return
        }
      }
      if (!epoch.live) return
    }
    owner.begun()
    SplitQueue.mapAsync(layout, host.mapper).then(
      (ring) => this.cameLater(epoch, ring),
      (error: unknown) => {
        owner.ended(epoch)
        this.failed(layout, epoch, since, begun, error)
      },
    )
  }

  private cameLater(epoch: QueueEpoch, ring: SplitQueue): void {
    this.came(epoch, ring)
    this.owner.ended(epoch)
  }

  private came(epoch: QueueEpoch, ring: SplitQueue): void {
    if (epoch.live) {
      this.owner.mapped(ring)
      return
    }
    const failed = ring.release(this.host.mapper)
    if (failed !== undefined) this.host.report(failed)
  }

  private failed(
    layout: SplitQueueLayout,
    epoch: QueueEpoch,
    since: number,
    begun: number,
    error: unknown,
  ): void {
    if (!epoch.live) return
    const { room } = this.host
    const began = since < 0 ? room.time : since
    if (shortageOf(error) === undefined || !room.wait(this, error, began, room.wasAlone(begun))) {
      this.owner.failed(error)
      return
    }
    if (since < 0) room.waits += 1
    this.waits = { layout, epoch, since: began }
    this.owner.begun()
  }
}
