import type { MapBackend } from '../backend.ts'
import { InvalidArgumentError, RefusedError, UnmapFailedError, WindowFullError } from '../errors.ts'
import type { PageRun, WindowPage } from '../page.ts'
import type { RamListener } from '../ram-listener.ts'
import type { Retention } from '../retention.ts'
import { COUNTER } from '../statistics.ts'
import { traceChannels } from '../trace.ts'
import { AreaRoom } from './area-room.ts'
import {
  type BucketRequest,
  BucketTable,
  bucketOf,
  DUMMY,
  holesOf,
  LIST,
  LIVE,
  REMOVED,
  RETIRED,
  WRITABLE,
} from './bucket-table.ts'
import { callEach } from './call-each.ts'
import { HitTable } from './hit-table.ts'
import { LockRecords } from './lock-records.ts'
import { StrictPlaces } from './strict-places.ts'
import { VictimQueue } from './victim-queue.ts'
import { claimWindow } from './window-claims.ts'
import { asWindowPage } from './window-page.ts'
import { type Place, WindowSlots } from './window-slots.ts'

/** What the engine is made from: the options of a cache, checked. */
export interface EngineOptions {
  readonly name: string
  readonly retention: Retention
  readonly quarantineBytes: number
}

/**
 * What is mapped where in a window, and what goes when. The hit path works on the arrays of this
 * engine (`PageSurface`); what a miss does is told in `Misses`.
 */
export class BucketEngine<Page extends number> {
  readonly name: string
  readonly backend: MapBackend<Page>
  readonly pagesPerBucket: number
  readonly table: BucketTable
  readonly hits: HitTable
  readonly locks: LockRecords
  readonly counters: Float64Array = new Float64Array(Object.keys(COUNTER).length)
  readonly listeners: Set<RamListener> = new Set()
  readonly keeps: boolean
  /** Flags of the entries that go with their last lock. */
  readonly departing: number
  readonly budgetPages: number
  guestArriving = false
  closed = false
  /**
   * Advances with every use that is noted, and every miss and sweep. A hit notes nothing, so between two
   * misses the first use of an entry, or its last lock or handle, counts.
   */
  epoch = 1
  mappedPages = 0
  /** Whether more is mapped than the budget allows; where nothing is kept, whether anything is. */
  overBudget = false

  readonly slots: WindowSlots<Page>
  readonly areaRoom: AreaRoom<Page>
  private readonly victims: VictimQueue
  private readonly strict: StrictPlaces | undefined
  /** Entries with calls under way that map missing pages. */
  private readonly filling: Map<number, number> = new Map()
  /** Advances when mappings that are being made may be out of date. */
  generation = 0

  constructor(backend: MapBackend<Page>, options: EngineOptions) {
    const { bucketShift, window } = backend
    if (!Number.isInteger(bucketShift) || bucketShift < 12 || bucketShift > 30) {
      throw new InvalidArgumentError('backend.bucketShift', 'an integer from 12 to 30', bucketShift)
    }
    this.name = options.name
    this.backend = backend
    this.pagesPerBucket = 2 ** (bucketShift - 12)
    const slotCount = Math.floor(window.pageCount / this.pagesPerBucket)
    if (slotCount === 0) {
      throw new InvalidArgumentError(
        'backend.window',
        `a window of at least one bucket, ${this.pagesPerBucket} pages`,
        window.pageCount,
      )
    }
    claimWindow(window, this.name)
    this.table = new BucketTable(slotCount, this.pagesPerBucket)
    this.locks = new LockRecords(slotCount * this.pagesPerBucket)
    const quarantine = Math.ceil(options.quarantineBytes / 2 ** bucketShift)
    this.slots = new WindowSlots(this.name, backend, slotCount, quarantine, this.counters)
    this.victims = new VictimQueue(this.table)
    this.keeps = options.retention.kind === 'keep'
    this.hits = new HitTable(!backend.pinned || this.keeps)
    this.departing = this.keeps ? LIST | RETIRED : LIVE
    this.budgetPages =
      options.retention.kind === 'keep'
        ? Math.min(Math.ceil(options.retention.budgetBytes / 2 ** bucketShift), slotCount) *
          this.pagesPerBucket
        : 0
    this.areaRoom = new AreaRoom(this)
    this.strict = this.keeps || backend.pinned ? undefined : new StrictPlaces()
  }

  /** Window page of a range that is mapped in full and allows the access, or -1. */
  find(page: Page, offset: number, length: number, write: boolean): number {
    const request = this.request(page, offset, length, write)
    const slot = this.table.find(request)
    return slot < 0 ? -1 : this.use(slot, request)
  }

  /** Head slot of the entry that a window page belongs to, or belonged to; -1 outside the window. */
  entryAt(windowPage: number): number {
    return this.table.owner[Math.floor(windowPage / this.pagesPerBucket)] ?? -1
  }

  /** Begins another epoch: what was used before is older than what is used from now on. */
  advance(): void {
    this.epoch++
    this.hits.clear()
  }

  /** True when an access without a lock maps its whole range in one entry, as the original does (S12). */
  get mapsWholeRanges(): boolean {
    return this.strict !== undefined
  }

  /** Called when the last lock of an entry has gone: unmaps it, or keeps it within the budget. */
  unlocked(slot: number): void {
    if (!this.goesWithLastLock(slot)) this.trim()
    else this.unmap(slot)
  }

  /** As `unlocked`, with the backend's asynchronous unmap. */
  async unlockedAsync(slot: number): Promise<void> {
    if (this.goesWithLastLock(slot)) await this.unmapAsync(slot)
    else this.trim()
  }

  /** Unmaps unlocked entries, least recently used first, until the budget is kept. */
  trim(): void {
    while (this.mappedPages > this.budgetPages && this.keeps) {
      const victim = this.victims.next()
      if (victim < 0) return
      this.evict(victim)
    }
  }

  /** Unmaps an entry that nobody may need, for room; a failure costs its slots, not the request. */
  evict(slot: number): void {
    this.count(COUNTER.evictions)
    this.tryUnmap(slot)
  }

  /** Unmaps an entry; false when that fails, which is counted and traced, and costs its slots. */
  tryUnmap(slot: number): boolean {
    try {
      this.unmap(slot)
      return true
    } catch (error) {
      if (!(error instanceof UnmapFailedError)) throw error
      return false
    }
  }

  /** Calls `act` for each of these entries that is still there, whichever fails; then throws the first error. */
  each(slots: readonly number[], act: (slot: number) => void): void {
    callEach(slots, (slot) => {
      if (this.table.flags[slot] !== 0) act(slot)
    })
  }

  /**
   * Unmaps an entry.
   *
   * @throws UnmapFailedError `ERR_XMC_UNMAP_FAILED`
   */
  unmap(slot: number): void {
    const place = this.detach(slot)
    try {
      this.noteRemoved(place)
    } finally {
      this.slots.clear(place)
    }
  }

  /** As `unmap`, with the backend's asynchronous call. */
  async unmapAsync(slot: number): Promise<void> {
    const place = this.detach(slot)
    try {
      this.noteRemoved(place)
    } finally {
      await this.slots.clearAsync(place)
    }
  }

  /** Tells a listener of an entry. */
  announce(slot: number, listener: RamListener): void {
    listener.added(this.windowPageOf(slot), this.table.pageCount(slot))
  }

  /** Hides a locked entry from new requests; it goes with its last lock. */
  retire(slot: number): void {
    this.hide(slot)
    this.table.retire(slot)
  }

  /** Makes every mapping that is being made now start over, since the guest has changed under it. */
  outdate(): void {
    this.generation++
  }

  /** Maps other pages in the place of entries (reference 2.7); their locks and pointers stay. */
  replace(slots: readonly number[], firstPage: Page): void {
    if (slots.some((slot) => this.filling.has(slot))) {
      throw new RefusedError(
        `${this.name}: pages of this mapping are being mapped: replace it after`,
      )
    }
    callEach(slots, (slot) => {
      this.replaceOne(slot, firstPage)
    })
  }

  private replaceOne(slot: number, firstPage: Page): void {
    const flags = this.table.flags[slot]!
    const pageCount = this.table.pageCount(slot)
    this.noteMapCall(bucketOf(firstPage, this.pagesPerBucket), pageCount)
    const windowPage = asWindowPage(slot * this.pagesPerBucket)
    const errors = new Int32Array(pageCount)
    this.hide(slot)
    try {
      const pages = { first: firstPage, count: pageCount }
      this.mapWithRoom(pageCount, () => {
        this.backend.mapAt(windowPage, pages, (flags & WRITABLE) !== 0, errors)
      })
    } catch (error) {
      // The place holds anonymous pages now. A dummy is as before; what was real is missing from now on.
      const holes = (flags & DUMMY) === 0 ? errors.fill(REMOVED) : this.table.holes.get(slot)
      this.hide(slot)
      this.table.moveTo(slot, this.table.firstPage[slot]!, flags | DUMMY, holes)
      throw error
    }
    this.strict?.vacate(bucketOf(this.table.firstPage[slot]!, this.pagesPerBucket), slot)
    this.strict?.occupy(bucketOf(firstPage, this.pagesPerBucket), slot)
    // A backend that read through the cache has put it into the table again.
    this.hide(slot)
    // Hits find it after its next use, which is noted.
    this.table.moveTo(slot, firstPage, flags & ~DUMMY, holesOf(errors))
  }

  /** Makes a call that maps, and again as long as memory areas are short and others can give some up. */
  private mapWithRoom(pageCount: number, map: () => void): void {
    for (;;) {
      try {
        map()
        return
      } catch (error) {
        if (!this.areaRoom.relieve(error, pageCount)) throw this.areaRoom.explain(error)
      }
    }
  }

  /** Takes every lock off an entry and unmaps it; at the end of the call that fills it, if one is under way. */
  drop(slot: number): void {
    this.locks.clear(slot * this.pagesPerBucket, this.table.pageCount(slot))
    const calls = this.filling.get(slot) ?? 0
    this.table.locks[slot] = calls
    if (calls > 0) this.retire(slot)
    else this.tryUnmap(slot)
  }

  /** Describes a range in buckets. A length of 0 asks for the page alone (S17). */
  request(page: Page, offset: number, length: number, write: boolean): BucketRequest {
    const index = Math.floor(page / this.pagesPerBucket)
    const firstPage = page - index * this.pagesPerBucket
    const lastPage = firstPage + (length === 0 ? 0 : Math.floor((offset + length - 1) / 4096))
    return {
      index,
      bucketCount: Math.floor(lastPage / this.pagesPerBucket) + 1,
      firstPage,
      lastPage,
      write,
      partial: -1,
      missingPage: -1,
      missingErrno: 0,
    }
  }

  count(counter: number): void {
    this.counters[counter] = this.counters[counter]! + 1
  }

  /** True while a call is under way that maps missing pages of an entry. */
  isFilling(slot: number): boolean {
    return this.filling.has(slot)
  }

  /** Keeps an entry from being evicted, or moved to another address, while a call for it is under way. */
  hold(slot: number): void {
    this.table.locks[slot] = this.table.locks[slot]! + 1
    this.filling.set(slot, (this.filling.get(slot) ?? 0) + 1)
  }

  /** Ends a `hold`; an entry that would have gone with its last lock meanwhile goes. */
  letGo(slot: number): void {
    const calls = this.filling.get(slot)! - 1
    if (calls === 0) this.filling.delete(slot)
    else this.filling.set(slot, calls)
    const left = this.table.locks[slot]! - 1
    this.table.locks[slot] = left
    if (left === 0 && this.goesWithLastLock(slot)) this.unmap(slot)
  }

  /** Contiguous free slots, after whatever must give way for them. */
  takeSlots(bucketCount: number, bucketIndex: number): number {
    const pageCount = bucketCount * this.pagesPerBucket
    if (bucketCount > this.slots.slotCount) {
      throw new WindowFullError(this.name, pageCount, this.backend.window.pageCount)
    }
    if (this.strict !== undefined && bucketIndex >= 0) {
      const { flags, locks } = this.table
      const isUnlocked = (slot: number): boolean => flags[slot] !== 0 && locks[slot] === 0
      const victim = this.strict.victim(bucketIndex, isUnlocked)
      if (victim >= 0) this.evict(victim)
    }
    while (this.keeps && this.mappedPages + pageCount > this.budgetPages) {
      const victim = this.victims.next()
      if (victim < 0) break
      this.evict(victim)
    }
    this.areaRoom.prepare(pageCount)
    for (;;) {
      const slot = this.slots.take(bucketCount, this.areaRoom.isTight)
      if (slot >= 0) {
        this.advance()
        return slot
      }
      const victim = this.victims.next()
      if (victim < 0) throw new WindowFullError(this.name, pageCount, this.backend.window.pageCount)
      this.evict(victim)
    }
  }

  /** Notes the use of an entry, and lets hits find it until the next miss; gives the window page of the request. */
  use(slot: number, request: BucketRequest): WindowPage {
    this.table.stamp[slot] = ++this.epoch
    // The table was cleared, or another mapping has taken the place of this one, meanwhile.
    this.expose(slot)
    // A list holds the pages of one request alone.
    const first = (this.table.flags[slot]! & LIST) === 0 ? request.firstPage : 0
    return asWindowPage(slot * this.pagesPerBucket + first)
  }

  /** Enters a run that was mapped at `slot` into the books. */
  insertRun(
    slot: number,
    pages: PageRun<Page>,
    flags: number,
    holes: Int32Array | undefined,
  ): void {
    this.table.insertRun(slot, pages, flags, this.epoch, holes)
    this.strict?.occupy(bucketOf(pages.first, this.pagesPerBucket), slot)
    this.noteAdded(slot)
  }

  /** Enters a list that was mapped at `slot` into the books. */
  insertList(slot: number, pages: readonly Page[], flags: number): void {
    this.table.insertList(slot, pages, flags, this.epoch)
    this.noteAdded(slot)
  }

  private goesWithLastLock(slot: number): boolean {
    return (this.table.flags[slot]! & this.departing) !== 0
  }

  /** Whether a mapping for such a request is made writable. */
  isWritable(write: boolean): boolean {
    const { access } = this.backend
    return access === 'as-requested' ? write : access === 'read-write'
  }

  /** Lets hits find an entry, if it is one that hits may find. */
  expose(slot: number): void {
    const { bucketCount, flags, firstPage, holes } = this.table
    // A dummy is found by search only, which prefers what is real.
    if ((flags[slot]! & (LIVE | LIST | RETIRED | DUMMY)) !== LIVE) return
    if (bucketCount[slot] !== 1 || holes.has(slot)) return
    const bucketIndex = bucketOf(firstPage[slot]!, this.pagesPerBucket)
    this.hits.enter(bucketIndex, slot * this.pagesPerBucket, (flags[slot]! & WRITABLE) !== 0)
  }

  private hide(slot: number): void {
    const bucketIndex = bucketOf(this.table.firstPage[slot]!, this.pagesPerBucket)
    this.hits.leave(bucketIndex, slot * this.pagesPerBucket)
  }

  private windowPageOf(slot: number): WindowPage {
    return asWindowPage(slot * this.pagesPerBucket)
  }

  /** Takes an entry out of all books. */
  private detach(slot: number): Place {
    const { table } = this
    const bucketCount = table.bucketCount[slot]!
    const pageCount = table.pageCount(slot)
    const place = { slot, bucketCount, pageCount, dummy: (table.flags[slot]! & DUMMY) !== 0 }
    this.hide(slot)
    this.strict?.vacate(bucketOf(table.firstPage[slot]!, this.pagesPerBucket), slot)
    table.remove(slot)
    this.account(-bucketCount)
    return place
  }

  private account(bucketCount: number): void {
    this.mappedPages += bucketCount * this.pagesPerBucket
    this.overBudget = this.mappedPages > this.budgetPages
  }

  noteMapCall(bucketIndex: number, pages: number): void {
    this.count(COUNTER.mapCalls)
    this.counters[COUNTER.pagesRequested] = this.counters[COUNTER.pagesRequested]! + pages
    if (traceChannels.remapBucket.hasSubscribers) {
      traceChannels.remapBucket.publish({ cache: this.name, index: bucketIndex, pages })
    }
  }

  private noteAdded(slot: number): void {
    this.account(this.table.bucketCount[slot]!)
    if (this.listeners.size === 0) return
    try {
      callEach([...this.listeners], (listener) => {
        this.announce(slot, listener)
      })
    } catch (error) {
      // The operation fails, so nobody will ever lock the entry.
      this.tryUnmap(slot)
      throw error
    }
  }

  private noteRemoved(place: Place): void {
    callEach([...this.listeners], (listener) => {
      listener.removed(this.windowPageOf(place.slot), place.pageCount)
    })
  }
}
