import { InvalidArgumentError, type PageRun, type WindowPage } from '@xmc/interface'
import type { MapBackend } from '../backend.ts'
import { UnmapFailedError } from '../errors.ts'
import type { Retention } from '../retention.ts'
import { COUNTER } from '../statistics.ts'
import { traceChannels } from '../trace.ts'
import { announceAdded, announceRemoved } from './announce.ts'
import { AreaRoom } from './area-room.ts'
import {
  type BucketRequest,
  BucketTable,
  bucketOf,
  DUMMY,
  LIST,
  LIVE,
  RETIRED,
  WRITABLE,
} from './bucket-table.ts'
import { keepBudget } from './budget.ts'
import { callEach } from './call-each.ts'
import { CallsUnderWay } from './calls-under-way.ts'
import { HitTable } from './hit-table.ts'
import { KnownHoles } from './known-holes.ts'
import { ListenerWarnings } from './listener-warnings.ts'
import { LockRecords } from './lock-records.ts'
import { RamListeners } from './ram-listeners.ts'
import { StrictPlaces } from './strict-places.ts'
import { VictimQueue } from './victim-queue.ts'
import { claimWindow, disclaimWindow } from './window-claims.ts'
import { asWindowPage } from './window-page.ts'
import { type Place, WindowSlots } from './window-slots.ts'

/** What the engine is made from: the options of a cache, checked. */
export interface EngineOptions {
  readonly name: string
  readonly retention: Retention
  readonly quarantineBytes: number
  readonly rememberMissingMilliseconds: number
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
  readonly warnings: ListenerWarnings
  /** Calls that map or unmap; while there are any, or something is lost, a closed cache keeps its window. */
  readonly calls: CallsUnderWay
  readonly keeps: boolean
  /** Flags of the entries that go with their last lock. */
  readonly departing: number
  readonly budgetPages: number
  guestArriving = false
  /** Set before anybody hears of the end: nothing is mapped from then on. */
  closed = false
  /**
   * Advances with every use that is noted, and every miss and sweep. A hit notes nothing, so between two
   * misses the first use of an entry, or its last lock or handle, counts.
   */
  epoch = 1
  mappedPages = 0
  /** Head slot of the entry that an access without a lock used last, hits aside; -1 when it is gone. */
  accessed = -1
  /** Whether more is mapped than the budget allows; where nothing is kept, whether anything is. */
  overBudget = false

  readonly slots: WindowSlots<Page>
  readonly areaRoom: AreaRoom<Page>
  /** What is known to be missing, for accesses without a lock. */
  readonly knownHoles: KnownHoles
  readonly victims: VictimQueue
  readonly strict: StrictPlaces | undefined
  readonly listeners: RamListeners
  /** Held entries that something is being done with: even `close` unmaps them only after. */
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
    this.warnings = new ListenerWarnings(this.name)
    this.listeners = new RamListeners(this.warnings)
    this.calls = new CallsUnderWay(window, () => {
      if (this.closed && this.slots.lostPages === 0) disclaimWindow(window)
    })
    this.table = new BucketTable(slotCount, this.pagesPerBucket, backend.access === 'as-requested')
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
    this.knownHoles = new KnownHoles(options.rememberMissingMilliseconds)
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

  /** True when an access without a lock maps its whole range in one entry, as the original does. */
  get mapsWholeRanges(): boolean {
    return this.strict !== undefined
  }

  /** Called when the last lock of an entry has gone: unmaps it, unless it is held, or keeps it within the budget. */
  unlocked(slot: number): void {
    if (!this.goesWithLastLock(slot)) this.trim()
    else if (this.table.isFree(slot)) this.unmap(slot)
  }

  /** Makes a lock that was taken back a hold, so that nobody unmaps the entry before `unpark`. */
  park(slot: number): void {
    this.table.locks[slot] = this.table.locks[slot]! - 1
    this.table.holds[slot] = this.table.holds[slot]! + 1
  }

  /** Ends a `park`: as `unlocked`, with the backend's asynchronous unmap. */
  async unpark(slot: number): Promise<void> {
    // `close` has unmapped it with everything else; nothing has taken its place since.
    if (this.table.flags[slot] === 0) return
    this.table.holds[slot] = this.table.holds[slot]! - 1
    if (!this.table.isFree(slot)) return
    this.table.stamp[slot] = this.epoch
    if (this.goesWithLastLock(slot)) await this.unmapAsync(slot)
    else this.trim()
  }

  /** Unmaps unlocked entries, least recently used first, until the budget is kept. */
  trim(): void {
    if (this.keeps) keepBudget(this, 0)
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
    const actIfThere = (slot: number): void => {
      if (this.table.flags[slot] !== 0) act(slot)
    }
    callEach(slots, actIfThere, (error) => {
      this.warnings.warn('a RAM listener', error)
    })
  }

  /**
   * Unmaps an entry.
   *
   * @throws UnmapFailedError `ERR_XMC_UNMAP_FAILED`
   */
  unmap(slot: number): void {
    this.calls.begin()
    try {
      const place = this.detach(slot)
      const failure = announceRemoved(this, place)
      try {
        this.slots.clear(place)
      } catch (error) {
        if (failure !== undefined) this.warnings.warn('a RAM listener', failure.error)
        throw error
      }
      if (failure !== undefined) throw failure.error
    } finally {
      this.calls.end()
    }
  }

  /** As `unmap`, with the backend's asynchronous call. */
  async unmapAsync(slot: number): Promise<void> {
    this.calls.begin()
    try {
      const place = this.detach(slot)
      const failure = announceRemoved(this, place)
      try {
        await this.slots.clearAsync(place)
      } catch (error) {
        if (failure !== undefined) this.warnings.warn('a RAM listener', failure.error)
        throw error
      }
      if (failure !== undefined) throw failure.error
    } finally {
      this.calls.end()
    }
  }

  /** Hides a locked entry from new requests; it goes with its last lock. */
  retire(slot: number): void {
    this.hide(slot)
    this.table.retire(slot)
  }

  /** Makes every mapping that is being made now start over, since the guest has changed under it. */
  outdate(): void {
    this.generation++
    this.knownHoles.clear()
  }

  /** Describes a range in buckets. A length of 0 asks for the page alone. */
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

  /** True while something is being done with an entry: pages are mapped, or it is announced. */
  isFilling(slot: number): boolean {
    return this.filling.has(slot)
  }

  /** Keeps an entry in its place, whatever anybody does meanwhile, until `letGo`. */
  hold(slot: number): void {
    this.table.holds[slot] = this.table.holds[slot]! + 1
    this.filling.set(slot, (this.filling.get(slot) ?? 0) + 1)
  }

  /** Ends a `hold`; an entry that would have gone with its last lock meanwhile goes. */
  letGo(slot: number): void {
    this.endHold(slot)
    if (this.table.isFree(slot) && this.goesWithLastLock(slot)) this.unmap(slot)
  }

  /** Ends a `hold`, and leaves what becomes of the entry to the caller. */
  endHold(slot: number): void {
    const calls = this.filling.get(slot)! - 1
    if (calls === 0) this.filling.delete(slot)
    else this.filling.set(slot, calls)
    this.table.holds[slot] = this.table.holds[slot]! - 1
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

  /**
   * Enters a run that was mapped at `slot` into the books, and tells the listeners.
   *
   * @throws ClosedError `ERR_XMC_CLOSED`: one of them has closed the cache; and whatever they throw
   */
  insertRun(
    slot: number,
    pages: PageRun<Page>,
    flags: number,
    holes: Int32Array | undefined,
  ): void {
    this.table.insertRun(slot, pages, flags, this.epoch, holes)
    this.strict?.occupy(bucketOf(pages.first, this.pagesPerBucket), slot)
    this.account(this.table.bucketCount[slot]!)
    announceAdded(this, slot)
  }

  /** As `insertRun` for a list. */
  insertList(slot: number, pages: readonly Page[], flags: number): void {
    this.table.insertList(slot, pages, flags, this.epoch)
    this.account(this.table.bucketCount[slot]!)
    announceAdded(this, slot)
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

  /** Takes an entry out of what hits find. */
  hide(slot: number): void {
    const bucketIndex = bucketOf(this.table.firstPage[slot]!, this.pagesPerBucket)
    this.hits.leave(bucketIndex, slot * this.pagesPerBucket)
  }

  windowPageOf(slot: number): WindowPage {
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
    // Else a release that comes late would take the lock of the next mapping in this place.
    if (table.locks[slot]! > 0) this.locks.clear(slot * this.pagesPerBucket, pageCount)
    table.remove(slot)
    if (slot === this.accessed) this.accessed = -1
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
}
