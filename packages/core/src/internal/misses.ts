import {
  ClosedError,
  countPages,
  isPageList,
  type Pages,
  ReadOnlyError,
  type WindowPage,
  XmcError,
} from '@xmc/interface'
import type { MapBackend } from '../backend.ts'
import { PagedOutError, PagesMissingError } from '../errors.ts'
import { COUNTER } from '../statistics.ts'
import { isShortOfAreas } from './area-room.ts'
import type { BucketEngine } from './bucket-engine.ts'
import {
  type BucketRequest,
  bucketOf,
  DUMMY,
  holesOf,
  noMissing,
  WRITABLE,
} from './bucket-table.ts'
import { fillHoles } from './hole-filling.ts'
import type { MapStep } from './map-step.ts'
import { checkLastPage } from './page-range.ts'
import { takeSlots } from './take-slots.ts'
import { asWindowPage } from './window-page.ts'

/** What to do about a store through a cache that only reads. */
export const NO_WRITES = 'make the cache with access for writing'

/** A miss under way: yields the backend calls it needs, ends with the window page of the request. */
export type Miss<Page extends number> = Generator<MapStep<Page>, WindowPage, void>

/** Linux's number for a frame that is paged out, as the foreign map reports it. */
const ENOENT = 2

/** Gives the guest page to try instead of one that cannot be mapped, or undefined. */
export type Translate<Page extends number> = (page: Page, pageCount: number) => number | undefined

/**
 * What happens when a request finds its pages unmapped: map, fill holes, translate, give a dummy, or
 * fail. Each miss is told once, as a generator of backend calls, and driven synchronously or not.
 */
export class Misses<Page extends number> {
  private readonly engine: BucketEngine<Page>
  private readonly backend: MapBackend<Page>
  private readonly translate: Translate<Page> | undefined
  private readonly inFlight: Map<string, Promise<unknown>> = new Map()
  /** Errors of a map that had none, for the next of its size: memory outside V8's heap is dear to make. */
  private spareErrors: Int32Array | undefined

  constructor(engine: BucketEngine<Page>, translate: Translate<Page> | undefined) {
    this.engine = engine
    this.backend = engine.backend
    this.translate = translate
  }

  /**
   * Maps what a request needs, with a miss if need be.
   *
   * @param isAccess whether it is an access without a lock, which may be refused for what is known to be missing
   */
  *acquire(
    page: Page,
    offset: number,
    length: number,
    write: boolean,
    isAccess: boolean = false,
  ): Miss<Page> {
    if (this.engine.closed) throw new ClosedError(this.engine.name)
    let target = page
    let missed = false
    let translated = this.translate === undefined
    for (;;) {
      const request = this.engine.request(target, offset, length, write)
      let slot = this.engine.table.find(request)
      if (slot < 0) {
        if (!missed) this.engine.count(COUNTER.misses)
        missed = true
        if (isAccess && this.isKnownToMiss(request)) throw this.missing(request)
        slot = yield* this.supply(request)
      }
      if (slot >= 0) return this.engine.use(slot, request)
      if (!translated) {
        translated = true
        const translation = this.translate?.(target, request.lastPage - request.firstPage + 1)
        if (translation !== undefined) {
          target = this.backend.page(translation)
          checkLastPage(this.backend, target, offset, length)
          continue
        }
      }
      if (this.engine.guestArriving && !this.backend.pinned) {
        return this.engine.use(this.insertDummy(request), request)
      }
      this.engine.knownHoles.refused(request, isAccess)
      throw this.missing(request)
    }
  }

  /** Maps a list of pages into one entry of its own. */
  *acquireList(pages: readonly Page[], write: boolean): Miss<Page> {
    if (this.engine.closed) throw new ClosedError(this.engine.name)
    if (write && this.backend.access === 'read-only')
      throw new ReadOnlyError(this.engine.name, NO_WRITES)
    const writable = this.engine.isWritable(write)
    const bucketCount = Math.ceil(pages.length / this.engine.pagesPerBucket)
    for (;;) {
      const slot = takeSlots(this.engine, bucketCount, -1)
      const step = this.step(slot, pages, writable)
      const current = yield* this.attempt(step, slot, bucketCount)
      if (!current) continue
      const bad = step.errors.findIndex((errno) => errno !== 0)
      if (bad >= 0) {
        this.engine.slots.tryClear({ slot, bucketCount, pageCount: pages.length, dummy: false })
        throw this.missingPage(pages[bad]!, step.errors[bad]!)
      }
      this.engine.insertList(slot, pages, writable ? WRITABLE : 0)
      return asWindowPage(slot * this.engine.pagesPerBucket)
    }
  }

  /** Drives a miss with the backend's synchronous calls. */
  runSync(miss: Miss<Page>): WindowPage {
    this.engine.calls.begin()
    try {
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
    } finally {
      this.engine.calls.end()
    }
  }

  /**
   * Drives a miss with the backend's asynchronous calls. `take` locks what was mapped, in the same
   * microtask: an eviction in between would leave a stale pointer.
   */
  async runAsync<T>(miss: Miss<Page>, take: (windowPage: WindowPage) => T): Promise<T> {
    this.engine.calls.begin()
    try {
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
      return take(next.value)
    } finally {
      this.engine.calls.end()
    }
  }

  /**
   * Runs `start` unless the same bucket is being mapped already; then waits for that and returns
   * undefined, so that the caller looks again.
   *
   * @param waited whether the caller has waited before. What it waits for now began after its request did, so
   * that a failure is its own as well: else everybody who waits would try in turn
   * @throws what was waited for failed with
   */
  async single<T>(
    page: Page,
    offset: number,
    length: number,
    write: boolean,
    waited: boolean,
    start: () => Promise<T>,
  ): Promise<T | undefined> {
    const request = this.engine.request(page, offset, length, write)
    const { index, bucketCount } = request
    const key = `${index}:${bucketCount}:${this.engine.isWritable(write)}`
    const running = this.inFlight.get(key)
    if (running !== undefined) {
      try {
        await running
      } catch (error) {
        if (waited && this.engine.table.find(request) < 0 && this.concerns(error, request)) {
          throw error
        }
      }
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

  /** Whether what a request for the same buckets failed with holds for another: it may have asked for other pages. */
  private concerns(error: unknown, { index, firstPage, lastPage }: BucketRequest): boolean {
    if (!(error instanceof PagesMissingError || error instanceof PagedOutError)) return true
    const page = error.page - index * this.engine.pagesPerBucket
    return page >= firstPage && page <= lastPage
  }

  /**
   * Whether an access is to be refused without a call. Otherwise a bucket that is to be asked for as a whole,
   * since more of it than these pages may have come, is given up for that.
   */
  private isKnownToMiss(request: BucketRequest): boolean {
    const { engine } = this
    if (engine.mapsWholeRanges || this.translate !== undefined || engine.guestArriving) return false
    if (request.bucketCount !== 1 || this.backend.pinned) return false
    const { partial } = request
    const answer = engine.knownHoles.consult(request, engine.table.holes.get(partial))
    if (answer === 'refuse') engine.count(COUNTER.missingRemembered)
    else if (answer === 'ask-bucket' && partial >= 0 && engine.table.isFree(partial)) {
      engine.tryUnmap(partial)
      request.partial = -1
    }
    return answer === 'refuse'
  }

  /** Maps what a request lacks; gives the head slot of an entry that serves it, or -1 when pages are missing. */
  private *supply(request: BucketRequest): Generator<MapStep<Page>, number, void> {
    // Strict mode maps a bucket with holes anew each time, as the original does.
    // Nor is an entry filled twice at a time: the call that ends last might fail, and take pages away.
    const { partial } = request
    try {
      if (partial >= 0 && !this.engine.mapsWholeRanges && !this.engine.isFilling(partial)) {
        return yield* this.fillHoles(partial, request)
      }
      return yield* this.mapBuckets(request)
    } catch (error) {
      const pageCount = request.lastPage - request.firstPage + 1
      const isAll = pageCount === request.bucketCount * this.engine.pagesPerBucket
      if (!isShortOfAreas(error) || isAll || this.backend.pinned) throw error
      return yield* this.mapRequested(request, pageCount)
    }
  }

  /**
   * Maps the requested pages alone, in an entry of their own that goes with its last lock: what is left
   * where the bucket around them takes more memory areas than there are.
   */
  private *mapRequested(
    request: BucketRequest,
    pageCount: number,
  ): Generator<MapStep<Page>, number, void> {
    const { index, firstPage, lastPage } = request
    const { pagesPerBucket } = this.engine
    const first = index * pagesPerBucket + firstPage
    const pages = Array.from({ length: pageCount }, (_, nth) => this.backend.page(first + nth))
    const writable = this.engine.isWritable(request.write)
    const bucketCount = Math.ceil(pageCount / pagesPerBucket)
    for (;;) {
      const slot = takeSlots(this.engine, bucketCount, -1)
      const step = this.step(slot, { first: pages[0]!, count: pageCount }, writable)
      const current = yield* this.attempt(step, slot, bucketCount)
      if (!current) continue
      const bad = step.errors.findIndex((errno) => errno !== 0)
      if (bad >= 0) {
        request.missingPage = Math.min(firstPage + bad, lastPage)
        request.missingErrno = step.errors[bad]!
        this.engine.slots.tryClear({ slot, bucketCount, pageCount, dummy: false })
        return -1
      }
      this.engine.insertList(slot, pages, writable ? WRITABLE : 0)
      return slot
    }
  }

  private *mapBuckets(request: BucketRequest): Generator<MapStep<Page>, number, void> {
    const { index, bucketCount } = request
    const first = this.backend.page(index * this.engine.pagesPerBucket)
    const pages = { first, count: bucketCount * this.engine.pagesPerBucket }
    const writable = this.engine.isWritable(request.write)
    for (;;) {
      const slot = takeSlots(this.engine, bucketCount, index)
      const step = this.step(slot, pages, writable)
      const current = yield* this.attempt(step, slot, bucketCount)
      if (!current) continue
      const other = this.engine.table.find(request)
      if (other >= 0) {
        this.engine.slots.tryClear({ slot, bucketCount, pageCount: pages.count, dummy: false })
        // Whoever was told that it failed may have made the other one give way.
        const still = this.engine.table.find(request)
        if (still >= 0) return still
        continue
      }
      const complete = noMissing(step.errors, request)
      const holes = holesOf(step.errors)
      if (holes === undefined) this.spareErrors = step.errors
      if (bucketCount === 1) this.engine.knownHoles.asked(index, holes)
      const isEmpty = holes?.every((errno) => errno !== 0) === true
      // A pinned mapping that nobody locks would stay. A bucket without any page is not worth its room,
      // but strict mode keeps it until its place is needed, as the original does.
      if (isEmpty ? !this.engine.mapsWholeRanges : !complete && this.backend.pinned) {
        this.engine.slots.tryClear({ slot, bucketCount, pageCount: pages.count, dummy: false })
        return -1
      }
      this.engine.insertRun(slot, pages, writable ? WRITABLE : 0, holes)
      return complete ? slot : -1
    }
  }

  /** Maps the requested pages that an entry lacks, in their places; the others stay untouched. */
  private *fillHoles(slot: number, request: BucketRequest): Generator<MapStep<Page>, number, void> {
    const holes = this.engine.table.holes.get(slot)
    if (holes === undefined) return slot
    const { generation } = this.engine
    yield* fillHoles(this.engine, slot, holes, request)
    if (this.engine.closed) throw new ClosedError(this.engine.name)
    // The entry may be gone, and another one in its place.
    const isSame = this.engine.table.holes.get(slot) === holes
    if (generation !== this.engine.generation || !isSame) {
      const other = this.engine.table.find(request)
      return other >= 0 ? other : yield* this.supply(request)
    }
    if (holes.every((errno) => errno === 0)) {
      this.engine.table.holes.delete(slot)
      this.engine.expose(slot)
    }
    return noMissing(holes, request) ? slot : -1
  }

  /** Yields one backend call. False when it must be made again; the slots are free then. */
  private *attempt(
    step: MapStep<Page>,
    slot: number,
    bucketCount: number,
  ): Generator<MapStep<Page>, boolean, void> {
    const pageCount = countPages(step.pages)
    const first = isPageList(step.pages) ? step.pages[0] : step.pages.first
    this.engine.noteMapCall(bucketOf(first ?? 0, this.engine.pagesPerBucket), pageCount)
    const { generation } = this.engine
    try {
      yield step
    } catch (error) {
      // A failed MAP_FIXED has removed what was there; not every backend may have put pages back.
      this.engine.slots.tryClear({ slot, bucketCount, pageCount, dummy: !mayBeMapped(error) })
      if (!this.engine.closed && this.engine.areaRoom.relieve(error, pageCount)) return false
      throw this.engine.areaRoom.explain(error)
    }
    if (generation === this.engine.generation && !this.engine.closed) return true
    const place = { slot, bucketCount, pageCount, dummy: false }
    if (this.engine.closed) {
      // Nobody will try again: who asked must learn that something may still be mapped.
      this.engine.slots.clear(place)
      throw new ClosedError(this.engine.name)
    }
    this.engine.slots.tryClear(place)
    return false
  }

  private step(slot: number, pages: Pages<Page>, writable: boolean): MapStep<Page> {
    const windowPage = asWindowPage(slot * this.engine.pagesPerBucket)
    const count = countPages(pages)
    const spare = this.spareErrors
    if (spare?.length !== count) {
      return { windowPage, pages, writable, errors: new Int32Array(count) }
    }
    this.spareErrors = undefined
    return { windowPage, pages, writable, errors: spare.fill(0) }
  }

  private insertDummy(request: BucketRequest): number {
    const { index, bucketCount } = request
    const slot = takeSlots(this.engine, bucketCount, index)
    const pageCount = bucketCount * this.engine.pagesPerBucket
    try {
      // The pages are anonymous, but a stale view may have stored there.
      this.backend.window.reset(asWindowPage(slot * this.engine.pagesPerBucket), pageCount)
    } catch (error) {
      this.engine.slots.free(slot, bucketCount)
      throw error
    }
    const first = index * this.engine.pagesPerBucket
    const pages = { first: this.backend.page(first), count: pageCount }
    const writable = this.backend.access !== 'read-only'
    const flags = DUMMY | (writable ? WRITABLE : 0)
    this.engine.insertRun(slot, pages, flags, undefined)
    return slot
  }

  private missing(request: BucketRequest): Error {
    const page = request.index * this.engine.pagesPerBucket + request.missingPage
    return this.missingPage(page, request.missingErrno)
  }

  private missingPage(page: number, errno: number): Error {
    return errno === ENOENT
      ? new PagedOutError(this.engine.name, page)
      : new PagesMissingError(this.engine.name, page, errno)
  }
}

/** Whether a backend that failed to map says that something may be mapped all the same. */
function mayBeMapped(error: unknown): boolean {
  return error instanceof XmcError && 'mayBeMapped' in error && error.mayBeMapped === true
}
