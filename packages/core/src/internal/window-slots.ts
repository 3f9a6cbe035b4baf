import type { MapBackend } from '../backend.ts'
import { UnmapFailedError } from '../errors.ts'
import type { WindowPage } from '../page.ts'
import { COUNTER } from '../statistics.ts'
import { traceChannels } from '../trace.ts'
import { SlotAllocator } from './slot-allocator.ts'
import { asWindowPage } from './window-page.ts'

/** Where an entry is, or was. */
export interface Place {
  readonly slot: number
  readonly bucketCount: number
  readonly pageCount: number
  /** Nothing of the guest is mapped there. */
  readonly dummy: boolean
}

/**
 * The slots of a window: handed out, and taken back when nothing of the guest is in them any more.
 * Those that could not be cleared are lost until `recover`.
 */
export class WindowSlots<Page extends number> {
  readonly slotCount: number
  /** Pages that could not be unmapped. */
  lostPages = 0

  private readonly name: string
  private readonly backend: MapBackend<Page>
  private readonly pagesPerBucket: number
  private readonly counters: Float64Array
  private readonly allocator: SlotAllocator
  private readonly lost: Place[] = []

  constructor(
    name: string,
    backend: MapBackend<Page>,
    slotCount: number,
    quarantine: number,
    counters: Float64Array,
  ) {
    this.name = name
    this.backend = backend
    this.slotCount = slotCount
    this.pagesPerBucket = 2 ** (backend.bucketShift - 12)
    this.counters = counters
    this.allocator = new SlotAllocator(slotCount, quarantine)
  }

  /**
   * First of `bucketCount` contiguous slots that are now in use, or -1 when there are none; with `again`,
   * rather where something was than where nothing has been.
   */
  take(bucketCount: number, again: boolean): number {
    return this.allocator.allocate(bucketCount, again)
  }

  /** Gives slots back in which nothing is mapped. */
  free(slot: number, bucketCount: number): void {
    this.allocator.free(slot, bucketCount)
  }

  /**
   * Unmaps what is at a place and gives its slots back.
   *
   * @throws UnmapFailedError `ERR_XMC_UNMAP_FAILED`: the place is lost
   */
  clear(place: Place): void {
    const { slot, bucketCount, pageCount, dummy } = place
    if (!dummy) this.countUnmap()
    try {
      if (dummy) this.backend.window.reset(this.windowPageOf(slot), pageCount)
      else this.backend.unmapAt(this.windowPageOf(slot), pageCount)
    } catch (error) {
      this.lose(place, error)
    }
    this.free(slot, bucketCount)
  }

  /** As `clear`; false when that fails, which is counted and traced, and loses the place. */
  tryClear(place: Place): boolean {
    try {
      this.clear(place)
      return true
    } catch (error) {
      if (!(error instanceof UnmapFailedError)) throw error
      return false
    }
  }

  /** As `clear`, with the backend's asynchronous call. */
  async clearAsync(place: Place): Promise<void> {
    const { slot, bucketCount, pageCount, dummy } = place
    if (dummy) {
      this.clear(place)
      return
    }
    this.countUnmap()
    try {
      await this.backend.unmapAtAsync(this.windowPageOf(slot), pageCount)
    } catch (error) {
      this.lose(place, error)
    }
    this.free(slot, bucketCount)
  }

  /** Tries once more to clear what is lost; throws the first failure. */
  recover(): void {
    const failures: unknown[] = []
    for (const place of this.lost.splice(0)) {
      this.lostPages -= place.pageCount
      try {
        this.clear(place)
      } catch (error) {
        failures.push(error)
      }
    }
    if (failures.length > 0) throw failures[0]
  }

  private countUnmap(): void {
    this.counters[COUNTER.unmapCalls] = this.counters[COUNTER.unmapCalls]! + 1
  }

  private lose(place: Place, cause: unknown): never {
    const { slot, pageCount } = place
    this.lost.push(place)
    this.lostPages += pageCount
    this.counters[COUNTER.unmapFailures] = this.counters[COUNTER.unmapFailures]! + 1
    const windowPage = this.windowPageOf(slot)
    const error = new UnmapFailedError(this.name, windowPage, pageCount, cause)
    if (traceChannels.unmapFailed.hasSubscribers) {
      traceChannels.unmapFailed.publish({ cache: this.name, windowPage, pageCount, error })
    }
    throw error
  }

  private windowPageOf(slot: number): WindowPage {
    return asWindowPage(slot * this.pagesPerBucket)
  }
}
