import type { WindowPage } from '@xmc/interface'
import type { MapBackend } from '../backend.ts'
import { UnmapFailedError } from '../errors.ts'
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

/** Misses after a failed unmap before it is tried again; twice as many after each failure more, up to the last. */
const FIRST_BACK_OFF = 16
const LAST_BACK_OFF = 1024

/** Lost places that are tried in a row without success for one request that needs room. */
const TRIES_FOR_ROOM = 64

/**
 * The slots of a window: handed out, and taken back when nothing of the guest is in them any more.
 * Those that could not be cleared are lost, and tried again: now and then, and all of them on demand.
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
  /** In the order in which they were last tried. */
  private readonly lost: Set<Place> = new Set()
  /** Counts of `retryWhenDue` until lost places are tried again, and between this time and the next. */
  private wait = 0
  private backOff = FIRST_BACK_OFF

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

  /**
   * Called with each miss: tries to clear lost places once enough misses have passed. One is enough to see that
   * it still fails; then twice as many misses pass before the next.
   */
  retryWhenDue(): void {
    if (this.lost.size === 0 || --this.wait > 0) return
    if (this.recoverOne(1)) this.backOff = FIRST_BACK_OFF
    else this.backOff = Math.min(this.backOff * 2, LAST_BACK_OFF)
    this.wait = this.backOff
  }

  /** Tries to clear lost places, at most `tries`, until one is cleared; false when none was. */
  recoverOne(tries: number = TRIES_FOR_ROOM): boolean {
    for (const place of first(this.lost, tries)) {
      if (this.recover(place) === undefined) return true
    }
    return false
  }

  /** Tries once to clear each lost place; gives the first failure. */
  recoverAll(): UnmapFailedError | undefined {
    const failures = [...this.lost].map((place) => this.recover(place))
    return failures.find((failure) => failure !== undefined)
  }

  private recover(place: Place): UnmapFailedError | undefined {
    // Whoever was told of another failure may have tried meanwhile.
    if (!this.lost.delete(place)) return undefined
    this.lostPages -= place.pageCount
    try {
      this.clear(place)
      return undefined
    } catch (error) {
      if (!(error instanceof UnmapFailedError)) throw error
      return error
    }
  }

  private countUnmap(): void {
    this.counters[COUNTER.unmapCalls] = this.counters[COUNTER.unmapCalls]! + 1
  }

  private lose(place: Place, cause: unknown): never {
    const { slot, pageCount } = place
    if (this.lost.size === 0) this.wait = this.backOff = FIRST_BACK_OFF
    this.lost.add(place)
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

/** The first `count` items, taken out before anything changes. */
function first<Item>(items: Iterable<Item>, count: number): Item[] {
  const taken: Item[] = []
  for (const item of items) {
    if (taken.length === count) break
    taken.push(item)
  }
  return taken
}
