import type { MapBackend } from './backend.ts'
import type { CacheUser, CacheUserOptions } from './cache-user.ts'
import {
  BusyError,
  ClosedError,
  InvalidArgumentError,
  LockLimitError,
  NotLockedError,
  NotMappedError,
  PagesMissingError,
  RefusedError,
  WrongCacheError,
} from './errors.ts'
import { BucketEngine } from './internal/bucket-engine.ts'
import { CacheUsers } from './internal/cache-users.ts'
import { invalidateEngine } from './internal/invalidate.ts'
import { LeakTracker } from './internal/leak-tracker.ts'
import { FULL_RECORD, MAX_LOCKS_PER_POINTER } from './internal/lock-records.ts'
import { UnlockedAccess } from './internal/unlocked-access.ts'
import { asWindowPage } from './internal/window-page.ts'
import type { InvalidationReport } from './invalidation.ts'
import { LOCK_DMA, LOCK_WRITE } from './lock-flags.ts'
import { Mapping } from './mapping.ts'
import { PAGE_SIZE, type WindowPage } from './page.ts'
import type { RamListener } from './ram-listener.ts'
import { checkRetention, DEFAULT_BUDGET_BYTES, type Retention } from './retention.ts'
import { type CacheStatistics, COUNTER } from './statistics.ts'
import { traceChannels } from './trace.ts'

/** What a {@link MapCache} is made from. */
export interface MapCacheOptions<Page extends number, Backend extends MapBackend<Page>> {
  /** Maps pages; brings the window. */
  readonly backend: Backend
  /** Name for errors, traces and reports; the backend's kind by default. */
  readonly name?: string | undefined
  /**
   * What happens to mappings that nobody has locked. By default a cache over pinned pages unmaps
   * at once, and any other keeps up to {@link DEFAULT_BUDGET_BYTES}.
   */
  readonly retention?: Retention | undefined
  /** Bytes that must be freed after a place in the window before it is used again; 4 MiB by default. */
  readonly quarantineBytes?: number | undefined
  /**
   * Called once for a request that cannot be mapped where it is: gives the guest page to try
   * instead, or undefined (the original's `phys_offset_to_gaddr`, S45).
   */
  readonly translate?: ((page: Page, pageCount: number) => number | undefined) | undefined
  /** Remembers the stack that took each handle, and reports handles that are lost; costs microseconds each. */
  readonly leakTracking?: boolean | undefined
}

/** How memory is to be mapped for a handle. */
export interface MapOptions {
  /** Allow stores; false by default. */
  readonly write?: boolean | undefined
  /** A transfer will be under way: a full invalidation warns of it. */
  readonly dma?: boolean | undefined
  /** Who holds the mapping, for reports. */
  readonly user?: CacheUser | undefined
}

/**
 * A cache of mappings of one guest's pages, in one window of host memory.
 *
 * The page surface (`lock`, `unlock`, `pageOf`, `load…`, `store…`) works on integers and allocates
 * nothing on a hit; a pointer is a window page and an offset in it, at byte
 * `windowPage * 4096 + offset` of `view`. The handle surface (`map`) is built on it.
 *
 * A page is whatever the backend maps: a guest frame, or a grant reference. A cache belongs to one
 * thread. No call here ends the process, whatever the guest does: failures are errors with a code.
 *
 * # Limits
 * Offsets are 0 to 4095, lengths 0 to 2^31 − 1; one pointer has at most 524,287 locks. A mapping must
 * fit the window in one piece.
 */
export class MapCache<Page extends number, Backend extends MapBackend<Page> = MapBackend<Page>> {
  readonly name: string
  readonly backend: Backend
  /** The whole window: byte `windowPage * 4096 + offset`. What is not mapped reads as zeros. */
  readonly view: DataView

  // Copies of the engine's arrays: a hit then follows one reference for each.
  private readonly rows: Int32Array
  private readonly records: Int32Array
  private readonly tags: Int32Array
  private readonly entryLocks: Float64Array
  private readonly stamps: Float64Array
  private readonly owner: Int32Array
  private readonly entryPage: Float64Array
  private readonly counters: Float64Array
  private readonly rowMask: number
  private readonly pageMask: number
  private readonly pageShift: number
  private readonly bucketBytes: number

  private readonly engine: BucketEngine<Page>
  private readonly access: UnlockedAccess<Page>
  private readonly users: CacheUsers = new CacheUsers()
  private readonly leaks: LeakTracker | undefined
  private idleTimer: NodeJS.Timeout | undefined

  constructor(options: MapCacheOptions<Page, Backend>) {
    const { backend } = options
    this.backend = backend
    this.name = options.name ?? backend.kind
    const retention = checkRetention(
      options.retention ??
        (backend.pinned
          ? { kind: 'at-once' }
          : { kind: 'keep', budgetBytes: DEFAULT_BUDGET_BYTES }),
    )
    const engine = new BucketEngine<Page>(backend, {
      name: this.name,
      retention,
      quarantineBytes: checkBytes('quarantineBytes', options.quarantineBytes ?? 4 * 2 ** 20),
      translate: options.translate,
    })
    this.engine = engine
    const { buffer, byteOffset, pageCount } = backend.window
    this.view = new DataView(buffer, byteOffset, pageCount * PAGE_SIZE)
    this.access = new UnlockedAccess(engine, this.view)
    this.rows = engine.rows.rows
    this.rowMask = engine.rows.mask
    this.records = engine.locks.records
    this.tags = engine.locks.tags
    this.entryLocks = engine.table.locks
    this.stamps = engine.table.stamp
    this.owner = engine.table.owner
    this.entryPage = engine.table.firstPage
    this.counters = engine.counters
    this.pageMask = engine.pagesPerBucket - 1
    this.pageShift = backend.bucketShift - 12
    this.bucketBytes = engine.pagesPerBucket * PAGE_SIZE
    if (options.leakTracking === true) this.leaks = this.trackLeaks()
    if (retention.kind === 'keep' && retention.idleMilliseconds !== undefined) {
      this.idleTimer = this.sweepIdle(retention.idleMilliseconds)
    }
    if (traceChannels.init.hasSubscribers) {
      const buckets = Math.floor(pageCount / engine.pagesPerBucket)
      traceChannels.init.publish({ cache: this.name, buckets, bytes: pageCount * PAGE_SIZE })
    }
  }

  /**
   * Maps `length` bytes from `offset` in `page` and locks them: the mapping stays in place until the
   * matching `unlock`. Returns the window page of the first byte; the offset in it is `offset`, and the
   * pages of the range follow contiguously. Length 0 asks for the page alone (S17).
   *
   * `flags` is 0 or {@link LOCK_WRITE}, with {@link LOCK_DMA} and a user's `lockFlags` if wanted.
   *
   * @throws PagesMissingError `ERR_XMC_PAGES_MISSING`: the guest has no memory there (S21, S25)
   * @throws PagedOutError `ERR_XMC_PAGED_OUT`: use `lockAsync`
   * @throws LockLimitError `ERR_XMC_LOCK_LIMIT` (S33); WindowFullError `ERR_XMC_WINDOW_FULL`
   * @throws XmcError of the backend when it could map nothing
   */
  lock(page: Page, offset: number, length: number, flags: number): WindowPage {
    const inBucket = page & this.pageMask
    if (
      (page & 0x7fff_ffff) === page &&
      (offset & 4095) === offset &&
      (length & 0x7fff_ffff) === length &&
      inBucket * 4096 + offset + length <= this.bucketBytes &&
      !traceChannels.map.hasSubscribers &&
      !traceChannels.mapReturn.hasSubscribers
    ) {
      const index = page >> this.pageShift
      const row = ((index & this.rowMask) << 2) | ((flags & LOCK_WRITE) << 1)
      if (this.rows[row] === ~index) {
        const windowPage = this.rows[row + 1]! + inBucket
        const record = this.records[windowPage]!
        if (record === 0) {
          this.records[windowPage] = 4096 | offset
          this.tags[windowPage] = flags
        } else if ((record & 4095) === offset && record < FULL_RECORD) {
          this.records[windowPage] = record + 4096
          if ((flags & LOCK_DMA) !== 0) this.tags[windowPage] = flags
        } else {
          return this.lockSlowly(page, offset, length, flags)
        }
        const slot = windowPage >> this.pageShift
        this.entryLocks[slot] = this.entryLocks[slot]! + 1
        this.stamps[slot] = this.engine.epoch
        this.counters[COUNTER.requests] = this.counters[COUNTER.requests]! + 1
        return asWindowPage(windowPage)
      }
    }
    return this.lockSlowly(page, offset, length, flags)
  }

  /** As `lock`, without blocking the event loop; waits for pages that are paged out. */
  async lockAsync(page: Page, offset: number, length: number, flags: number): Promise<WindowPage> {
    const write = (flags & LOCK_WRITE) !== 0
    this.startRequest(page, offset, length)
    for (;;) {
      const found = this.engine.find(page, offset, length, write)
      if (found >= 0) return this.takeLock(page, asWindowPage(found), offset, flags)
      // oxlint-disable-next-line no-await-in-loop -- another miss on the bucket ends first
      const mapped = await this.engine.single(page, offset, length, write, async () => {
        const miss = this.engine.acquire(page, offset, length, write)
        const windowPage = await this.engine.runAsync(miss)
        // In the same turn as the map: an eviction in between would leave a stale pointer.
        return this.takeLock(page, windowPage, offset, flags)
      })
      if (mapped !== undefined) return mapped
    }
  }

  /**
   * Takes back one lock, given exactly the window page and offset of a `lock`. With the last lock of
   * a mapping it is unmapped, or kept, as the cache's retention says.
   *
   * @throws NotLockedError `ERR_XMC_NOT_LOCKED`: unknown, or released already; nothing is changed (M13)
   * @throws UnmapFailedError `ERR_XMC_UNMAP_FAILED`: the lock is gone, the place is not used again (S60)
   */
  unlock(windowPage: WindowPage, offset: number): void {
    const record = this.records[windowPage]!
    if (record >= 4096 && (record & 4095) === offset) {
      this.records[windowPage] = record < 8192 ? 0 : record - 4096
    } else {
      this.unlockSide(windowPage, offset)
    }
    const slot = this.owner[windowPage >> this.pageShift]!
    const left = this.entryLocks[slot]! - 1
    this.entryLocks[slot] = left
    if (left === 0) {
      this.stamps[slot] = this.engine.epoch
      if (!this.engine.settled(slot)) this.engine.unlocked(slot)
    }
  }

  /**
   * As `unlock`, off the caller's turn and without blocking the event loop: resolves when the mapping is
   * gone, if this was its last lock, and listeners have been told (S34). The lock itself goes at once.
   */
  async unlockAsync(windowPage: WindowPage, offset: number): Promise<void> {
    this.unlockSide(windowPage, offset)
    const slot = this.owner[windowPage >> this.pageShift]!
    // The lock on the entry is kept until the later turn, so that nobody else unmaps it before.
    await new Promise<void>((resolve) => {
      setImmediate(resolve)
    })
    const left = this.entryLocks[slot]! - 1
    this.entryLocks[slot] = left
    if (left > 0) return
    this.stamps[slot] = this.engine.epoch
    await this.engine.unlockedAsync(slot)
  }

  /**
   * The guest page behind a window page of a locked mapping: its first page or any other (S27).
   *
   * @throws NotLockedError `ERR_XMC_NOT_LOCKED`: nothing is locked there (S28)
   */
  pageOf(windowPage: WindowPage): Page {
    const slot = this.owner[windowPage >> this.pageShift]!
    const page = this.entryPage[slot]! + (windowPage - (slot << this.pageShift))
    // A list has NaN for its first page, and is looked up below.
    if (this.entryLocks[slot]! > 0 && page === page) {
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the backend checked the page when it was mapped
      return page as Page
    }
    return this.pageOfList(windowPage)
  }

  /** Maps `length` bytes from `offset` in `page` and returns a handle; otherwise as `lock`. */
  map(page: Page, offset: number, length: number, options: MapOptions = {}): Mapping<Page> {
    this.engine.epoch++
    const windowPage = this.lock(page, offset, length, flagsOf(options))
    return this.handle(windowPage, offset, length, options)
  }

  /** As `map`, without blocking the event loop; waits for pages that are paged out. */
  async mapAsync(
    page: Page,
    offset: number,
    length: number,
    options: MapOptions = {},
  ): Promise<Mapping<Page>> {
    this.engine.epoch++
    const windowPage = await this.lockAsync(page, offset, length, flagsOf(options))
    return this.handle(windowPage, offset, length, options)
  }

  /** As `map`, with a 64-bit address in the space of the backend's pages: page × 4096 + offset. */
  mapAddress(address: bigint, length: number, options: MapOptions = {}): Mapping<Page> {
    const page = this.backend.page(Number(address >> 12n))
    return this.map(page, Number(address & 4095n), length, options)
  }

  /**
   * Maps pages in any order into one contiguous mapping, by one call to the backend, and returns a
   * handle. Such a mapping is nobody else's: it is not found by other requests and goes with its release.
   *
   * @throws as `map`; a list in which any page fails is not mapped at all
   */
  mapList(pages: readonly Page[], options: MapOptions = {}): Mapping<Page> {
    this.checkList(pages)
    const flags = flagsOf(options)
    const miss = this.engine.acquireList(pages, (flags & LOCK_WRITE) !== 0)
    const windowPage = this.engine.runSync(miss)
    return this.lockedList(windowPage, pages, options)
  }

  /** As `mapList`, without blocking the event loop; waits for pages that are paged out. */
  async mapListAsync(pages: readonly Page[], options: MapOptions = {}): Promise<Mapping<Page>> {
    this.checkList(pages)
    const copy = [...pages]
    const miss = this.engine.acquireList(copy, (flagsOf(options) & LOCK_WRITE) !== 0)
    const windowPage = await this.engine.runAsync(miss)
    return this.lockedList(windowPage, copy, options)
  }

  /**
   * Guest address (page × 4096 + offset) of a handle, or of the first byte of a view into the window,
   * interior ones too.
   *
   * @throws NotLockedError `ERR_XMC_NOT_LOCKED`; WrongCacheError `ERR_XMC_WRONG_CACHE`; ReleasedError
   */
  addressOf(target: Mapping<Page> | ArrayBufferView): bigint {
    const { windowPage, offset } = this.pointerOf(target)
    return (BigInt(this.pageOf(windowPage)) << 12n) | BigInt(offset)
  }

  /**
   * Window page and offset of a handle, or of the first byte of a view into the window.
   *
   * @throws WrongCacheError `ERR_XMC_WRONG_CACHE`: it belongs to another cache or is no window memory
   */
  pointerOf(target: Mapping<Page> | ArrayBufferView): { windowPage: WindowPage; offset: number } {
    if (target instanceof Mapping) {
      if (target.cache !== this) throw new WrongCacheError(this.name, 'the handle')
      return target.pointer()
    }
    const { buffer, byteOffset, pageCount } = this.backend.window
    const at = target.byteOffset - byteOffset
    if (target.buffer !== buffer || at < 0 || at >= pageCount * PAGE_SIZE) {
      throw new WrongCacheError(this.name, 'the view')
    }
    return { windowPage: asWindowPage(Math.floor(at / PAGE_SIZE)), offset: at % PAGE_SIZE }
  }

  /** Releases a handle, or takes back one lock at the first byte of a view (as `unlock`). */
  release(target: Mapping<Page> | ArrayBufferView): void {
    const { windowPage, offset } = this.pointerOf(target)
    if (target instanceof Mapping) target.release()
    else this.unlock(windowPage, offset)
  }

  /** Reads an unsigned byte of guest memory, without a lock. Pages are mapped or copied as needed. */
  loadUint8(page: Page, offset: number): number {
    const at = this.hit(page, offset, 1, 0)
    return at >= 0 ? this.view.getUint8(at) : this.access.load(page, offset, 1).getUint8(0)
  }

  /** Reads 2 bytes as an unsigned integer, little-endian by default; may cross pages. */
  loadUint16(page: Page, offset: number, littleEndian: boolean = true): number {
    const at = this.hit(page, offset, 2, 0)
    if (at >= 0) return this.view.getUint16(at, littleEndian)
    return this.access.load(page, offset, 2).getUint16(0, littleEndian)
  }

  /** Reads 4 bytes as an unsigned integer, little-endian by default; may cross pages. */
  loadUint32(page: Page, offset: number, littleEndian: boolean = true): number {
    const at = this.hit(page, offset, 4, 0)
    if (at >= 0) return this.view.getUint32(at, littleEndian)
    return this.access.load(page, offset, 4).getUint32(0, littleEndian)
  }

  /** Reads 8 bytes as an unsigned bigint, little-endian by default; may cross pages. */
  loadBigUint64(page: Page, offset: number, littleEndian: boolean = true): bigint {
    const at = this.hit(page, offset, 8, 0)
    if (at >= 0) return this.view.getBigUint64(at, littleEndian)
    return this.access.load(page, offset, 8).getBigUint64(0, littleEndian)
  }

  /** Writes the low byte of `value` to guest memory, without a lock. */
  storeUint8(page: Page, offset: number, value: number): void {
    const at = this.hit(page, offset, 1, 2)
    if (at >= 0) this.view.setUint8(at, value)
    else this.access.store(page, offset, 1, (bytes) => bytes.setUint8(0, value))
  }

  /** Writes the low 2 bytes of `value`, little-endian by default; may cross pages. */
  storeUint16(page: Page, offset: number, value: number, littleEndian: boolean = true): void {
    const at = this.hit(page, offset, 2, 2)
    if (at >= 0) this.view.setUint16(at, value, littleEndian)
    else this.access.store(page, offset, 2, (bytes) => bytes.setUint16(0, value, littleEndian))
  }

  /** Writes the low 4 bytes of `value`, little-endian by default; may cross pages. */
  storeUint32(page: Page, offset: number, value: number, littleEndian: boolean = true): void {
    const at = this.hit(page, offset, 4, 2)
    if (at >= 0) this.view.setUint32(at, value, littleEndian)
    else this.access.store(page, offset, 4, (bytes) => bytes.setUint32(0, value, littleEndian))
  }

  /** Writes the low 8 bytes of `value`, little-endian by default; may cross pages. */
  storeBigUint64(page: Page, offset: number, value: bigint, littleEndian: boolean = true): void {
    const at = this.hit(page, offset, 8, 2)
    if (at >= 0) this.view.setBigUint64(at, value, littleEndian)
    else this.access.store(page, offset, 8, (bytes) => bytes.setBigUint64(0, value, littleEndian))
  }

  /** Copies guest memory from `offset` in `page` into `target`, over as many pages as it takes. */
  read(page: Page, offset: number, target: Uint8Array): void {
    this.access.read(page, offset, target)
  }

  /** Copies `source` into guest memory from `offset` in `page` on. */
  write(page: Page, offset: number, source: Uint8Array): void {
    this.access.write(page, offset, source)
  }

  /**
   * While true, pages that cannot be mapped are given as zero pages, dummies, for `replace` to make
   * real (S41). Has no effect over pinned pages. False at first.
   */
  get guestArriving(): boolean {
    return this.engine.guestArriving
  }

  set guestArriving(arriving: boolean) {
    this.engine.guestArriving = arriving
  }

  /**
   * Puts the guest pages from `newPage` on in the place of the mapping that was made for `pageCount`
   * pages from `oldPage` on. Pointers and locks stay; lookups give the new address (S42, S43).
   *
   * @throws NotMappedError `ERR_XMC_NOT_MAPPED` (S44); RefusedError `ERR_XMC_REFUSED` over pinned pages
   * @throws PagesMissingError `ERR_XMC_PAGES_MISSING`: replaced, but a page of it is missing
   */
  replace(oldPage: Page, newPage: Page, pageCount: number): WindowPage {
    const { engine, name } = this
    if (!Number.isInteger(pageCount) || pageCount < 1 || pageCount > 0x7_ffff) {
      throw new InvalidArgumentError('pageCount', 'an integer from 1 to 524287', pageCount)
    }
    if (this.backend.pinned) {
      throw new RefusedError(`${name}: pinned pages cannot be replaced: release and map them again`)
    }
    const { pagesPerBucket } = engine
    if (oldPage % pagesPerBucket !== newPage % pagesPerBucket) {
      const expected = 'a page at the same place in its bucket as oldPage, so that pointers stay'
      throw new InvalidArgumentError('newPage', expected, newPage)
    }
    if (traceChannels.replaceDummy.hasSubscribers) {
      traceChannels.replaceDummy.publish({ cache: name, oldPage, newPage })
    }
    const request = engine.request(oldPage, 0, pageCount * PAGE_SIZE, false)
    const found = engine.table.find(request)
    const slot = found >= 0 ? found : request.partial
    if (slot < 0) {
      if (traceChannels.replaceMiss.hasSubscribers) {
        traceChannels.replaceMiss.publish({ cache: name, oldPage })
      }
      throw new NotMappedError(name, oldPage, pageCount)
    }
    engine.replace(slot, this.backend.page(newPage - request.firstPage))
    const missing = engine.request(newPage, 0, pageCount * PAGE_SIZE, false)
    if (!engine.table.covers(slot, missing)) {
      if (traceChannels.replaceFailed.hasSubscribers) {
        traceChannels.replaceFailed.publish({ cache: name, oldPage })
      }
      const page = newPage - request.firstPage + missing.missingPage
      throw new PagesMissingError(name, page, missing.missingErrno)
    }
    return asWindowPage(slot * pagesPerBucket + request.firstPage)
  }

  /**
   * Drops everything the guest may have changed: drains the registered users, then unmaps every
   * unlocked mapping and hides the locked ones from new requests until they are released.
   * Mappings of pinned pages are left alone (S36–S40).
   */
  async invalidateAll(): Promise<InvalidationReport> {
    const drainFailures = await this.users.drain()
    return invalidateEngine(this.engine, this.users, this.leaks, drainFailures)
  }

  /** Registers somebody whose transfers must end before a full invalidation. */
  registerUser(options: CacheUserOptions): CacheUser {
    return this.users.register(options)
  }

  /** Adds a listener for memory that appears in the window and goes; returns how to remove it. */
  addRamListener(listener: RamListener): () => void {
    this.engine.listeners.add(listener)
    return () => {
      this.engine.listeners.delete(listener)
    }
  }

  /** Counters so far, and what is mapped now. */
  get statistics(): CacheStatistics {
    const { counters, engine } = this
    const of = (counter: number): number => counters[counter] ?? 0
    const locked = engine.table.entries.filter((slot) => this.entryLocks[slot]! > 0)
    return {
      hits: Math.max(0, of(COUNTER.requests) - of(COUNTER.misses)),
      misses: of(COUNTER.misses),
      mapCalls: of(COUNTER.mapCalls),
      unmapCalls: of(COUNTER.unmapCalls),
      pagesRequested: of(COUNTER.pagesRequested),
      copyCalls: of(COUNTER.copyCalls),
      evictions: of(COUNTER.evictions),
      invalidations: of(COUNTER.invalidations),
      unmapFailures: of(COUNTER.unmapFailures),
      leaks: of(COUNTER.leaks),
      searchSteps: engine.table.steps,
      entries: engine.table.entries.length,
      lockedEntries: locked.length,
      locks: locked.reduce((sum, slot) => sum + this.entryLocks[slot]!, 0),
      mappedPages: engine.mappedPages,
      lostPages: engine.lostPages,
    }
  }

  /** True after `close`. */
  get closed(): boolean {
    return this.engine.closed
  }

  /** Unmaps every mapping that nobody has locked, of pinned pages too. Returns how many. */
  flush(): number {
    const unlocked = this.engine.table.entries.filter((slot) => this.entryLocks[slot] === 0)
    for (const slot of unlocked) this.engine.evict(slot)
    return unlocked.length
  }

  /**
   * Unmaps everything and ends the cache; the second call does nothing. With `force`, locks are
   * ignored, and their handles are released.
   *
   * @throws BusyError `ERR_XMC_BUSY`: locks are outstanding and `force` is not given; nothing was done
   * @throws UnmapFailedError `ERR_XMC_UNMAP_FAILED`: the cache is closed, but something may still be mapped
   */
  close(options: { readonly force?: boolean | undefined } = {}): void {
    const { engine } = this
    if (engine.closed) return
    const { locks } = this.statistics
    if (locks > 0 && options.force !== true) throw new BusyError(this.name, locks)
    clearInterval(this.idleTimer)
    for (const slot of engine.table.entries.slice()) {
      engine.locks.clear(slot * engine.pagesPerBucket, engine.table.pageCount(slot))
      this.entryLocks[slot] = 0
      engine.evict(slot)
    }
    engine.closed = true
    engine.recoverLost()
  }

  [Symbol.dispose](): void {
    this.close({ force: true })
  }

  /** @internal Takes a handle off the leak tracker. */
  forget(handle: Mapping<Page>, leakId: number): void {
    this.leaks?.released(handle, leakId)
  }

  /** Byte in `view` of a range of up to 8 bytes that is mapped and does not cross its page, or -1. */
  private hit(page: Page, offset: number, size: number, writeRow: number): number {
    if ((page & 0x7fff_ffff) === page && (offset & 4095) === offset && offset + size <= PAGE_SIZE) {
      const index = page >> this.pageShift
      const row = ((index & this.rowMask) << 2) | writeRow
      if (this.rows[row] === ~index) {
        const windowPage = this.rows[row + 1]! + (page & this.pageMask)
        this.stamps[windowPage >> this.pageShift] = this.engine.epoch
        return windowPage * 4096 + offset
      }
    }
    return -1
  }

  private lockSlowly(page: Page, offset: number, length: number, flags: number): WindowPage {
    this.startRequest(page, offset, length)
    const miss = this.engine.acquire(page, offset, length, (flags & LOCK_WRITE) !== 0)
    return this.takeLock(page, this.engine.runSync(miss), offset, flags)
  }

  /** Checks and counts a request that the hit path did not serve. */
  private startRequest(page: Page, offset: number, length: number): void {
    if (this.engine.closed) throw new ClosedError(this.name)
    this.backend.page(page)
    checkOffset(offset)
    if ((length & 0x7fff_ffff) !== length) {
      throw new InvalidArgumentError('length', 'an integer from 0 to 2147483647', length)
    }
    this.engine.count(COUNTER.requests)
    if (traceChannels.map.hasSubscribers) {
      traceChannels.map.publish({ cache: this.name, page, offset })
    }
  }

  private takeLock(
    page: number,
    windowPage: WindowPage,
    offset: number,
    flags: number,
  ): WindowPage {
    const slot = this.owner[windowPage >> this.pageShift]!
    if (!this.engine.locks.add(windowPage, offset, flags)) {
      throw new LockLimitError(this.name, page, MAX_LOCKS_PER_POINTER)
    }
    this.entryLocks[slot] = this.entryLocks[slot]! + 1
    if (traceChannels.mapReturn.hasSubscribers) {
      traceChannels.mapReturn.publish({ cache: this.name, windowPage, offset })
    }
    return windowPage
  }

  private unlockSide(windowPage: WindowPage, offset: number): void {
    if (this.engine.locks.remove(windowPage, offset)) return
    if (traceChannels.invalidateNotFound.hasSubscribers) {
      traceChannels.invalidateNotFound.publish({ cache: this.name, windowPage, offset })
    }
    throw new NotLockedError(this.name, windowPage, offset)
  }

  private pageOfList(windowPage: WindowPage): Page {
    const slot = this.owner[windowPage >> this.pageShift] ?? -1
    const pages = this.engine.table.lists.get(slot)
    const page = pages?.[windowPage - slot * this.engine.pagesPerBucket]
    if (page === undefined || this.entryLocks[slot] === 0) {
      if (traceChannels.addressNotFound.hasSubscribers) {
        traceChannels.addressNotFound.publish({ cache: this.name, windowPage })
      }
      throw new NotLockedError(this.name, windowPage, 0)
    }
    return this.backend.page(page)
  }

  private checkList(pages: readonly Page[]): void {
    if (this.engine.closed) throw new ClosedError(this.name)
    if (pages.length === 0 || pages.length > 0x7_ffff) {
      throw new InvalidArgumentError('pages', '1 to 524287 pages', pages.length)
    }
    for (const page of pages) this.backend.page(page)
    this.engine.count(COUNTER.requests)
    this.engine.count(COUNTER.misses)
  }

  private lockedList(
    windowPage: WindowPage,
    pages: readonly Page[],
    options: MapOptions,
  ): Mapping<Page> {
    this.takeLock(pages[0] ?? 0, windowPage, 0, flagsOf(options))
    return this.handle(windowPage, 0, pages.length * PAGE_SIZE, options)
  }

  private handle(
    windowPage: WindowPage,
    offset: number,
    length: number,
    options: MapOptions,
  ): Mapping<Page> {
    const write = options.write === true
    const mapping = new Mapping<Page>(this, windowPage, offset, length, write)
    if (this.leaks !== undefined) {
      mapping.leakId = this.leaks.taken(mapping, windowPage, offset, length)
    }
    return mapping
  }

  private trackLeaks(): LeakTracker {
    return new LeakTracker(({ windowPage, offset, length, stack }) => {
      this.engine.count(COUNTER.leaks)
      const page = this.pageOf(asWindowPage(windowPage))
      const report = { cache: this.name, page, offset, length, stack }
      if (traceChannels.leak.hasSubscribers) traceChannels.leak.publish(report)
      const where = `page 0x${page.toString(16)}, ${length} bytes`
      process.emitWarning(`${this.name}: a mapping of ${where} was lost without release`, {
        type: 'XmcLeakWarning',
        code: 'WARN_XMC_LEAK',
        detail: stack,
      })
    })
  }

  /** Unmaps what was not used for `milliseconds`, looking twice in that time. */
  private sweepIdle(milliseconds: number): NodeJS.Timeout {
    const { engine } = this
    let previous = 0
    let last = 0
    const timer = setInterval(() => {
      const idle = engine.table.entries.filter(
        (slot) => this.entryLocks[slot] === 0 && this.stamps[slot]! <= previous,
      )
      for (const slot of idle) engine.evict(slot)
      previous = last
      last = engine.epoch++
    }, milliseconds / 2)
    return timer.unref()
  }
}

function flagsOf(options: MapOptions): number {
  return (
    (options.write === true ? LOCK_WRITE : 0) |
    (options.dma === true ? LOCK_DMA : 0) |
    (options.user?.lockFlags ?? 0)
  )
}

function checkOffset(offset: number): void {
  if ((offset & 4095) !== offset) {
    throw new InvalidArgumentError('offset', 'an integer from 0 to 4095', offset)
  }
}

function checkBytes(field: string, value: number): number {
  if (!Number.isSafeInteger(value) || value < 0) {
    throw new InvalidArgumentError(field, 'a safe integer, 0 or more', value)
  }
  return value
}
