import type { MapBackend } from '../backend.ts'
import {
  ClosedError,
  InvalidArgumentError,
  PagedOutError,
  PagesMissingError,
  ReadOnlyError,
  RefusedError,
  UnmapFailedError,
  WindowFullError,
} from '../errors.ts'
import { countPages, isPageList, type Pages, type WindowPage } from '../page.ts'
import type { RamListener } from '../ram-listener.ts'
import type { Retention } from '../retention.ts'
import { COUNTER } from '../statistics.ts'
import { traceChannels } from '../trace.ts'
import {
  type BucketRequest,
  BucketTable,
  DUMMY,
  LIST,
  noMissing,
  RETIRED,
  WRITABLE,
} from './bucket-table.ts'
import { LockRecords } from './lock-records.ts'
import { LookupRows } from './lookup-rows.ts'
import { SlotAllocator } from './slot-allocator.ts'
import { StrictPlaces } from './strict-places.ts'
import { VictimQueue } from './victim-queue.ts'
import { asWindowPage } from './window-page.ts'

/** One call to the backend that a miss needs; done at once or awaited by whoever drives the miss. */
export interface MapStep<Page extends number> {
  readonly windowPage: WindowPage
  readonly pages: Pages<Page>
  readonly writable: boolean
  readonly errors: Int32Array
}

/** A miss under way: yields the backend calls it needs, ends with the window page of the request. */
export type Miss<Page extends number> = Generator<MapStep<Page>, WindowPage, void>

/** What the engine is made from; the options of a cache, checked. */
export interface EngineOptions<Page extends number> {
  readonly name: string
  readonly retention: Retention
  readonly quarantineBytes: number
  readonly translate: ((page: Page, pageCount: number) => number | undefined) | undefined
}

/** Linux's number for a frame that is paged out, as the foreign map reports it. */
const ENOENT = 2

/**
 * The slow side of a cache: what is mapped where, what goes when, and what happens on a miss.
 * The hit path is in `MapCache`, over the arrays of this engine.
 */
export class BucketEngine<Page extends number> {
  readonly name: string
  readonly backend: MapBackend<Page>
  readonly pagesPerBucket: number
  readonly table: BucketTable
  readonly rows: LookupRows
  readonly locks: LockRecords
  readonly counters: Float64Array = new Float64Array(10)
  readonly listeners: Set<RamListener> = new Set()
  readonly keeps: boolean
  readonly budgetPages: number
  guestArriving = false
  closed = false
  /** Advances with every miss and handle: entries used in the same epoch count as equally old. */
  epoch = 1
  mappedPages = 0
  lostPages = 0

  private readonly translate: EngineOptions<Page>['translate']
  private readonly slots: SlotAllocator
  private readonly victims: VictimQueue
  private readonly strict: StrictPlaces | undefined
  private readonly inFlight: Map<string, Promise<unknown>> = new Map()
  /** Entries with calls under way that map missing pages. */
  private readonly filling: Map<number, number> = new Map()
  private readonly lost: { slot: number; bucketCount: number; pageCount: number }[] = []
  /** Advances when mappings that are being made may be out of date. */
  private generation = 0

  constructor(backend: MapBackend<Page>, options: EngineOptions<Page>) {
    const { bucketShift, window } = backend
    if (!Number.isInteger(bucketShift) || bucketShift < 12 || bucketShift > 30) {
      throw new InvalidArgumentError('backend.bucketShift', 'an integer from 12 to 30', bucketShift)
    }
    this.name = options.name
    this.backend = backend
    this.translate = options.translate
    this.pagesPerBucket = 2 ** (bucketShift - 12)
    const slotCount = Math.floor(window.pageCount / this.pagesPerBucket)
    if (slotCount === 0) {
      throw new InvalidArgumentError(
        'backend.window',
        `a window of at least one bucket, ${this.pagesPerBucket} pages`,
        window.pageCount,
      )
    }
    this.table = new BucketTable(slotCount, this.pagesPerBucket)
    this.rows = new LookupRows(slotCount)
    this.locks = new LockRecords(slotCount * this.pagesPerBucket)
    const quarantine = Math.ceil(options.quarantineBytes / 2 ** bucketShift)
    this.slots = new SlotAllocator(slotCount, quarantine)
    this.victims = new VictimQueue(this.table)
    this.keeps = options.retention.kind === 'keep'
    this.budgetPages =
      options.retention.kind === 'keep'
        ? Math.ceil(options.retention.budgetBytes / 2 ** bucketShift) * this.pagesPerBucket
        : 0
    this.strict = this.keeps || backend.pinned ? undefined : new StrictPlaces()
  }

  /** Window page of a range that is mapped in full and allows the access, or -1. */
  find(page: Page, offset: number, length: number, write: boolean): number {
    const request = this.request(page, offset, length, write)
    const slot = this.table.find(request)
    return slot < 0 ? -1 : this.use(slot, request)
  }

  /** Maps what a request needs, with a miss if need be (reference 2.2). */
  *acquire(page: Page, offset: number, length: number, write: boolean): Miss<Page> {
    if (this.closed) throw new ClosedError(this.name)
    if (write && this.backend.access === 'read-only') throw new ReadOnlyError(this.name)
    let target = page
    let translated = this.translate === undefined
    for (;;) {
      const request = this.request(target, offset, length, write)
      const slot = yield* this.provide(request)
      if (slot >= 0) return this.use(slot, request)
      if (!translated) {
        translated = true
        const translation = this.translate?.(target, request.lastPage - request.firstPage + 1)
        if (translation !== undefined) {
          target = this.backend.page(translation)
          continue
        }
      }
      if (this.guestArriving && !this.backend.pinned) {
        return this.use(this.insertDummy(request), request)
      }
      throw this.missing(request)
    }
  }

  /** Maps a list of pages into one entry of its own. */
  *acquireList(pages: readonly Page[], write: boolean): Miss<Page> {
    if (this.closed) throw new ClosedError(this.name)
    if (write && this.backend.access === 'read-only') throw new ReadOnlyError(this.name)
    const writable = this.isWritable(write)
    const bucketCount = Math.ceil(pages.length / this.pagesPerBucket)
    for (;;) {
      const slot = this.takeSlots(bucketCount, -1)
      const step = this.step(slot, pages, writable)
      const current = yield* this.attempt(step, slot, bucketCount)
      if (!current) continue
      const bad = step.errors.findIndex((errno) => errno !== 0)
      if (bad >= 0) {
        this.discard(slot, bucketCount, pages.length)
        throw this.missingPage(pages[bad]!, step.errors[bad]!)
      }
      this.table.insertList(slot, pages, writable ? WRITABLE : 0, this.epoch)
      this.noteAdded(slot)
      return asWindowPage(slot * this.pagesPerBucket)
    }
  }

  /** Drives a miss with the backend's synchronous calls. */
  runSync(miss: Miss<Page>): WindowPage {
    let next = miss.next()
    while (next.done !== true) {
      const { windowPage, pages, writable, errors } = next.value
      let failure: unknown
      let failed = false
      try {
        this.backend.mapAt(windowPage, pages, writable, errors)
      } catch (error) {
        failure = error
        failed = true
      }
      next = failed ? miss.throw(failure) : miss.next()
    }
    return next.value
  }

  /** Drives a miss with the backend's asynchronous calls. */
  async runAsync(miss: Miss<Page>): Promise<WindowPage> {
    let next = miss.next()
    while (next.done !== true) {
      const { windowPage, pages, writable, errors } = next.value
      let failure: unknown
      let failed = false
      try {
        // oxlint-disable-next-line no-await-in-loop -- a miss is a sequence: each call depends on the last
        await this.backend.mapAtAsync(windowPage, pages, writable, errors)
      } catch (error) {
        failure = error
        failed = true
      }
      next = failed ? miss.throw(failure) : miss.next()
    }
    return next.value
  }

  /**
   * Runs `start` unless the same bucket is being mapped already; then waits for that and returns
   * undefined, so that the caller looks again.
   */
  async single<T>(
    page: Page,
    offset: number,
    length: number,
    write: boolean,
    start: () => Promise<T>,
  ): Promise<T | undefined> {
    const { index, bucketCount } = this.request(page, offset, length, write)
    const key = `${index}:${bucketCount}:${this.isWritable(write)}`
    const running = this.inFlight.get(key)
    if (running !== undefined) {
      // Its failure is its own caller's to report; this caller tries again and gets its own.
      await running.catch(() => undefined)
      return undefined
    }
    const promise = start()
    this.inFlight.set(key, promise)
    try {
      return await promise
    } finally {
      this.inFlight.delete(key)
    }
  }

  /** True when the loss of its last lock changes nothing for an entry. */
  settled(slot: number): boolean {
    return !this.goesWithLastLock(slot) && this.mappedPages <= this.budgetPages
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
    try {
      this.unmap(slot)
    } catch (error) {
      if (!(error instanceof UnmapFailedError)) throw error
    }
  }

  /**
   * Unmaps an entry.
   *
   * @throws UnmapFailedError `ERR_XMC_UNMAP_FAILED`
   */
  unmap(slot: number): void {
    const entry = this.detach(slot)
    try {
      this.noteRemoved(entry.windowPage, entry.pageCount)
    } finally {
      this.count(COUNTER.unmapCalls)
      try {
        if (entry.dummy) this.backend.window.reset(entry.windowPage, entry.pageCount)
        else this.backend.unmapAt(entry.windowPage, entry.pageCount)
        this.slots.free(slot, entry.bucketCount)
      } catch (error) {
        this.lose(slot, entry.bucketCount, entry.pageCount, error)
      }
    }
  }

  /** As `unmap`, with the backend's asynchronous call. */
  async unmapAsync(slot: number): Promise<void> {
    const entry = this.detach(slot)
    try {
      this.noteRemoved(entry.windowPage, entry.pageCount)
    } finally {
      this.count(COUNTER.unmapCalls)
      try {
        if (entry.dummy) this.backend.window.reset(entry.windowPage, entry.pageCount)
        else await this.backend.unmapAtAsync(entry.windowPage, entry.pageCount)
        this.slots.free(slot, entry.bucketCount)
      } catch (error) {
        this.lose(slot, entry.bucketCount, entry.pageCount, error)
      }
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
  }

  /** Maps other pages in the place of an entry (reference 2.7); its locks and pointers stay. */
  replace(slot: number, firstPage: Page): void {
    if (this.filling.has(slot)) {
      throw new RefusedError(
        `${this.name}: pages of this mapping are being mapped: replace it after`,
      )
    }
    const flags = this.table.flags[slot]!
    const pageCount = this.table.pageCount(slot)
    const step = this.step(slot, { first: firstPage, count: pageCount }, (flags & WRITABLE) !== 0)
    this.noteMapCall(bucketOf(firstPage, this.pagesPerBucket), pageCount)
    this.hide(slot)
    try {
      this.backend.mapAt(step.windowPage, step.pages, step.writable, step.errors)
    } catch (error) {
      // The place holds anonymous pages now: to its holders it is a dummy.
      this.table.moveTo(slot, this.table.firstPage[slot]!, flags | DUMMY, undefined)
      throw error
    }
    this.strict?.vacate(bucketOf(this.table.firstPage[slot]!, this.pagesPerBucket), slot)
    this.strict?.occupy(bucketOf(firstPage, this.pagesPerBucket), slot)
    this.table.moveTo(slot, firstPage, flags & ~DUMMY, holesOf(step.errors))
    this.expose(slot)
  }

  /** Tries once more to unmap what could not be unmapped; throws the first failure. */
  recoverLost(): void {
    const failures: unknown[] = []
    for (const entry of this.lost.splice(0)) {
      const { slot, bucketCount, pageCount } = entry
      this.count(COUNTER.unmapCalls)
      try {
        this.backend.unmapAt(asWindowPage(slot * this.pagesPerBucket), pageCount)
        this.slots.free(slot, bucketCount)
        this.lostPages -= pageCount
      } catch (error) {
        this.lost.push(entry)
        failures.push(error)
      }
    }
    const [first] = failures
    const [entry] = this.lost
    if (first !== undefined && entry !== undefined) {
      const windowPage = entry.slot * this.pagesPerBucket
      throw new UnmapFailedError(this.name, windowPage, entry.pageCount, first)
    }
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

  /** Head slot of an entry that serves the request, mapping it if need be; -1 when pages are missing. */
  private *provide(request: BucketRequest): Generator<MapStep<Page>, number, void> {
    const found = this.table.find(request)
    if (found >= 0) return found
    this.count(COUNTER.misses)
    // Strict mode maps a bucket with holes anew each time, as the original does (S21, S23).
    if (request.partial >= 0 && this.strict === undefined) {
      return yield* this.fillHoles(request.partial, request)
    }
    return yield* this.mapBuckets(request)
  }

  private *mapBuckets(request: BucketRequest): Generator<MapStep<Page>, number, void> {
    const { index, bucketCount } = request
    const first = this.backend.page(index * this.pagesPerBucket)
    const pages = { first, count: bucketCount * this.pagesPerBucket }
    const writable = this.isWritable(request.write)
    for (;;) {
      const slot = this.takeSlots(bucketCount, index)
      const step = this.step(slot, pages, writable)
      const current = yield* this.attempt(step, slot, bucketCount)
      if (!current) continue
      const other = this.table.find(request)
      if (other >= 0) {
        this.discard(slot, bucketCount, pages.count)
        return other
      }
      const complete = noMissing(step.errors, request)
      const holes = holesOf(step.errors)
      if (holes?.every((errno) => errno !== 0) === true) {
        this.discard(slot, bucketCount, pages.count)
        return -1
      }
      this.table.insertRun(slot, pages, writable ? WRITABLE : 0, this.epoch, holes)
      this.strict?.occupy(index, slot)
      this.noteAdded(slot)
      return complete ? slot : -1
    }
  }

  /** Maps the requested pages that an entry lacks, in their places; the others stay untouched (S24). */
  private *fillHoles(slot: number, request: BucketRequest): Generator<MapStep<Page>, number, void> {
    const holes = this.table.holes.get(slot)
    if (holes === undefined) return slot
    const writable = (this.table.flags[slot]! & WRITABLE) !== 0
    const firstPage = this.table.firstPage[slot]!
    const place = slot * this.pagesPerBucket
    const { generation } = this
    this.hold(slot)
    try {
      for (const [start, end] of runsOfHoles(holes, request)) {
        const pages = { first: this.backend.page(firstPage + start), count: end - start }
        const errors = new Int32Array(pages.count)
        const windowPage = asWindowPage(place + start)
        this.noteMapCall(bucketOf(firstPage, this.pagesPerBucket), pages.count)
        yield { windowPage, pages, writable, errors }
        holes.set(errors, start)
      }
    } finally {
      this.letGo(slot)
    }
    if (this.closed) throw new ClosedError(this.name)
    if (generation !== this.generation) return yield* this.provide(request)
    if (holes.every((errno) => errno === 0)) {
      this.table.holes.delete(slot)
      this.expose(slot)
    }
    return noMissing(holes, request) ? slot : -1
  }

  /** Keeps an entry from being evicted, or moved to another address, while a call for it is under way. */
  private hold(slot: number): void {
    this.table.locks[slot] = this.table.locks[slot]! + 1
    this.filling.set(slot, (this.filling.get(slot) ?? 0) + 1)
  }

  private letGo(slot: number): void {
    const calls = this.filling.get(slot)! - 1
    if (calls === 0) this.filling.delete(slot)
    else this.filling.set(slot, calls)
    const left = this.table.locks[slot]! - 1
    this.table.locks[slot] = left
    if (left === 0 && (this.table.flags[slot]! & RETIRED) !== 0) this.unmap(slot)
  }

  /** Yields one backend call. False when it must be made again; the slots are free then. */
  private *attempt(
    step: MapStep<Page>,
    slot: number,
    bucketCount: number,
  ): Generator<MapStep<Page>, boolean, void> {
    const pageCount = countPages(step.pages)
    const first = isPageList(step.pages) ? step.pages[0] : step.pages.first
    this.noteMapCall(bucketOf(first ?? 0, this.pagesPerBucket), pageCount)
    const { generation } = this
    try {
      yield step
    } catch (error) {
      this.slots.free(slot, bucketCount)
      throw error
    }
    if (generation === this.generation && !this.closed) return true
    this.discard(slot, bucketCount, pageCount)
    if (this.closed) throw new ClosedError(this.name)
    return false
  }

  /** Contiguous free slots, after whatever must give way for them. */
  private takeSlots(bucketCount: number, bucketIndex: number): number {
    if (this.strict !== undefined && bucketIndex >= 0) {
      const { flags, locks } = this.table
      const isUnlocked = (slot: number): boolean => flags[slot] !== 0 && locks[slot] === 0
      const victim = this.strict.victim(bucketIndex, isUnlocked)
      if (victim >= 0) this.evict(victim)
    }
    const pageCount = bucketCount * this.pagesPerBucket
    while (this.keeps && this.mappedPages + pageCount > this.budgetPages) {
      const victim = this.victims.next()
      if (victim < 0) break
      this.evict(victim)
    }
    for (;;) {
      const slot = this.slots.allocate(bucketCount)
      if (slot >= 0) {
        this.epoch++
        return slot
      }
      const victim = this.victims.next()
      if (victim < 0) throw new WindowFullError(this.name, pageCount, this.backend.window.pageCount)
      this.evict(victim)
    }
  }

  private insertDummy(request: BucketRequest): number {
    const { index, bucketCount } = request
    const slot = this.takeSlots(bucketCount, index)
    const pageCount = bucketCount * this.pagesPerBucket
    this.backend.window.reset(asWindowPage(slot * this.pagesPerBucket), pageCount)
    const first = index * this.pagesPerBucket
    this.table.insertRun(slot, { first, count: pageCount }, DUMMY | WRITABLE, this.epoch, undefined)
    this.strict?.occupy(index, slot)
    this.noteAdded(slot)
    return slot
  }

  private use(slot: number, request: BucketRequest): WindowPage {
    this.table.stamp[slot] = this.epoch
    // Another bucket or mapping may have taken the row meanwhile.
    this.expose(slot)
    return asWindowPage(slot * this.pagesPerBucket + request.firstPage)
  }

  private goesWithLastLock(slot: number): boolean {
    const flags = this.table.flags[slot]!
    return !this.keeps || (flags & (LIST | RETIRED)) !== 0
  }

  private isWritable(write: boolean): boolean {
    const { access } = this.backend
    return access === 'as-requested' ? write : access === 'read-write'
  }

  /** Lets hits find an entry, if it is one that hits may find. */
  private expose(slot: number): void {
    const { bucketCount, flags, firstPage, holes } = this.table
    if (bucketCount[slot] !== 1 || holes.has(slot) || (flags[slot]! & (LIST | RETIRED)) !== 0)
      return
    const bucketIndex = bucketOf(firstPage[slot]!, this.pagesPerBucket)
    this.rows.enter(bucketIndex, slot * this.pagesPerBucket, (flags[slot]! & WRITABLE) !== 0)
  }

  private hide(slot: number): void {
    const bucketIndex = bucketOf(this.table.firstPage[slot]!, this.pagesPerBucket)
    this.rows.leave(bucketIndex, slot * this.pagesPerBucket)
  }

  /** Takes an entry out of all books. */
  private detach(slot: number): {
    windowPage: WindowPage
    pageCount: number
    bucketCount: number
    dummy: boolean
  } {
    const { table } = this
    const bucketCount = table.bucketCount[slot]!
    const entry = {
      windowPage: asWindowPage(slot * this.pagesPerBucket),
      pageCount: table.pageCount(slot),
      bucketCount,
      dummy: (table.flags[slot]! & DUMMY) !== 0,
    }
    this.hide(slot)
    this.strict?.vacate(bucketOf(table.firstPage[slot]!, this.pagesPerBucket), slot)
    table.remove(slot)
    this.mappedPages -= bucketCount * this.pagesPerBucket
    return entry
  }

  private lose(slot: number, bucketCount: number, pageCount: number, cause: unknown): never {
    this.lost.push({ slot, bucketCount, pageCount })
    this.lostPages += pageCount
    this.count(COUNTER.unmapFailures)
    const windowPage = slot * this.pagesPerBucket
    const error = new UnmapFailedError(this.name, windowPage, pageCount, cause)
    if (traceChannels.unmapFailed.hasSubscribers) {
      traceChannels.unmapFailed.publish({ cache: this.name, windowPage, pageCount, error })
    }
    throw error
  }

  /** Removes a mapping that never became an entry. */
  private discard(slot: number, bucketCount: number, pageCount: number): void {
    this.count(COUNTER.unmapCalls)
    try {
      this.backend.unmapAt(asWindowPage(slot * this.pagesPerBucket), pageCount)
    } catch (error) {
      this.lose(slot, bucketCount, pageCount, error)
    }
    this.slots.free(slot, bucketCount)
  }

  private step(slot: number, pages: Pages<Page>, writable: boolean): MapStep<Page> {
    const windowPage = asWindowPage(slot * this.pagesPerBucket)
    return { windowPage, pages, writable, errors: new Int32Array(countPages(pages)) }
  }

  private missing(request: BucketRequest): Error {
    const page = request.index * this.pagesPerBucket + request.missingPage
    return this.missingPage(page, request.missingErrno)
  }

  private missingPage(page: number, errno: number): Error {
    return errno === ENOENT
      ? new PagedOutError(this.name, page)
      : new PagesMissingError(this.name, page, errno)
  }

  private noteMapCall(bucketIndex: number, pages: number): void {
    this.count(COUNTER.mapCalls)
    this.counters[COUNTER.pagesRequested] = this.counters[COUNTER.pagesRequested]! + pages
    if (traceChannels.remapBucket.hasSubscribers) {
      traceChannels.remapBucket.publish({ cache: this.name, index: bucketIndex, pages })
    }
  }

  private noteAdded(slot: number): void {
    this.mappedPages += this.table.bucketCount[slot]! * this.pagesPerBucket
    const windowPage = asWindowPage(slot * this.pagesPerBucket)
    for (const listener of this.listeners) listener.added(windowPage, this.table.pageCount(slot))
  }

  private noteRemoved(windowPage: WindowPage, pageCount: number): void {
    for (const listener of this.listeners) listener.removed(windowPage, pageCount)
  }
}

function bucketOf(page: number, pagesPerBucket: number): number {
  return Math.floor(page / pagesPerBucket)
}

function holesOf(errors: Int32Array): Int32Array | undefined {
  return errors.some((errno) => errno !== 0) ? errors : undefined
}

/** Runs of missing pages within a request, as [start, end) from the start of the entry. */
function runsOfHoles(holes: Int32Array, request: BucketRequest): [number, number][] {
  const runs: [number, number][] = []
  for (let page = request.firstPage; page <= request.lastPage; page++) {
    if (holes[page] === 0) continue
    const last = runs.at(-1)
    if (last !== undefined && last[1] === page) last[1] = page + 1
    else runs.push([page, page + 1])
  }
  return runs
}
