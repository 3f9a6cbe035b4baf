import type { MapBackend } from './backend.ts'
import {
  ClosedError,
  InvalidArgumentError,
  LockLimitError,
  NotLockedError,
  ReadOnlyError,
} from './errors.ts'
import { BucketEngine, type EngineOptions } from './internal/bucket-engine.ts'
import { FULL_RECORD, MAX_LOCKS_PER_POINTER } from './internal/lock-records.ts'
import { Misses, NO_WRITES, type Translate } from './internal/misses.ts'
import { UnlockedAccess } from './internal/unlocked-access.ts'
import { asWindowPage } from './internal/window-page.ts'
import { LOCK_DMA, LOCK_WRITE } from './lock-flags.ts'
import { PAGE_SIZE, type WindowPage } from './page.ts'
import { COUNTER } from './statistics.ts'
import { traceChannels } from './trace.ts'

/**
 * The page surface of a cache: locks and loads by page number. Integers in and out, and no allocation
 * on a hit, for devices on their hot path.
 *
 * A pointer is a window page and an offset in it, at byte `windowPage * 4096 + offset` of `view`. A page
 * is whatever the backend maps: a guest frame, or a grant reference.
 */
export class PageSurface<Page extends number> {
  /** Name for errors, traces and reports. */
  readonly name: string
  /** The whole window: byte `windowPage * 4096 + offset`. What is not mapped reads as zeros. */
  readonly view: DataView
  /** @internal */
  protected readonly engine: BucketEngine<Page>
  /** @internal */
  protected readonly misses: Misses<Page>

  // Copies of the engine's arrays: a hit then follows one reference for each.
  private readonly rows: Int32Array
  private readonly records: Int32Array
  private readonly tags: Int32Array
  private readonly entryLocks: Float64Array
  private readonly stamps: Float64Array
  private readonly owner: Int32Array
  private readonly entryPage: Float64Array
  private readonly bucketCount: Int32Array
  private readonly counters: Float64Array
  private readonly rowMask: number
  private readonly pageMask: number
  private readonly pageShift: number
  private readonly bucketBytes: number

  private readonly access: UnlockedAccess<Page>

  /** @internal */
  protected constructor(
    backend: MapBackend<Page>,
    options: EngineOptions,
    translate: Translate<Page> | undefined,
  ) {
    this.name = options.name
    const { buffer, byteOffset, pageCount } = backend.window
    this.view = new DataView(buffer, byteOffset, pageCount * PAGE_SIZE)
    const engine = new BucketEngine(backend, options)
    this.engine = engine
    this.misses = new Misses(engine, translate)
    this.access = new UnlockedAccess(engine, this.misses, this.view)
    this.rows = engine.rows.rows
    this.rowMask = engine.rows.mask
    this.records = engine.locks.records
    this.tags = engine.locks.tags
    this.entryLocks = engine.table.locks
    this.stamps = engine.table.stamp
    this.owner = engine.table.owner
    this.entryPage = engine.table.firstPage
    this.bucketCount = engine.table.bucketCount
    this.counters = engine.counters
    this.pageMask = engine.pagesPerBucket - 1
    this.pageShift = backend.bucketShift - 12
    this.bucketBytes = engine.pagesPerBucket * PAGE_SIZE
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
    this.startRequest(page, offset, length, write)
    for (;;) {
      const found = this.engine.find(page, offset, length, write)
      if (found >= 0) return this.takeLock(page, asWindowPage(found), offset, flags)
      // oxlint-disable-next-line no-await-in-loop -- another miss on the bucket ends first
      const mapped = await this.misses.single(page, offset, length, write, async () => {
        const miss = this.misses.acquire(page, offset, length, write)
        return this.misses.runAsync(miss, (at) => this.takeLock(page, at, offset, flags))
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
    // A close by force has taken every lock, and unmapped.
    if (this.engine.closed) return
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
    const at = windowPage >> this.pageShift
    const slot = this.owner[at]!
    const page = this.entryPage[slot]! + (windowPage - (slot << this.pageShift))
    // The owner is stale where no entry is any more. A list has NaN for its first page, and is looked up below.
    if (at - slot < this.bucketCount[slot]! && this.entryLocks[slot]! > 0 && page === page) {
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the backend checked the page when it was mapped
      return page as Page
    }
    return this.pageOfList(windowPage)
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
    const write = (flags & LOCK_WRITE) !== 0
    this.startRequest(page, offset, length, write)
    const miss = this.misses.acquire(page, offset, length, write)
    return this.takeLock(page, this.misses.runSync(miss), offset, flags)
  }

  /** Checks and counts a request that the hit path did not serve. */
  private startRequest(page: Page, offset: number, length: number, write: boolean): void {
    if (this.engine.closed) throw new ClosedError(this.name)
    this.engine.backend.page(page)
    checkOffset(offset)
    if ((length & 0x7fff_ffff) !== length) {
      throw new InvalidArgumentError('length', 'an integer from 0 to 2147483647', length)
    }
    if (write && this.engine.backend.access === 'read-only')
      throw new ReadOnlyError(this.name, NO_WRITES)
    this.engine.count(COUNTER.requests)
    if (traceChannels.map.hasSubscribers) {
      traceChannels.map.publish({ cache: this.name, page, offset })
    }
  }

  /** @internal Counts a lock on a mapping that is there. */
  protected takeLock(
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
    if (traceChannels.invalidateFound.hasSubscribers) {
      this.traceLocks((lock) => traceChannels.invalidateFound.publish(lock))
    }
    throw new NotLockedError(this.name, windowPage, offset)
  }

  /** Tells of every lock that is outstanding, as the original lists them when it finds none. */
  private traceLocks(publish: (lock: object) => void): void {
    const { locks, pagesPerBucket, table } = this.engine
    for (const slot of table.entries) {
      const place = slot * pagesPerBucket
      for (const { windowPage, offset, count } of locks.within(place, table.pageCount(slot))) {
        const page = this.pageOf(asWindowPage(windowPage))
        publish({ cache: this.name, page, windowPage, offset, locks: count })
      }
    }
  }

  private pageOfList(windowPage: WindowPage): Page {
    const slot = this.owner[windowPage >> this.pageShift] ?? -1
    const pages = this.engine.table.lists.get(slot)
    const page = pages?.[windowPage - slot * this.engine.pagesPerBucket]
    if (page === undefined || this.entryLocks[slot] === 0) {
      if (traceChannels.addressNotFound.hasSubscribers) {
        traceChannels.addressNotFound.publish({ cache: this.name, windowPage })
      }
      if (traceChannels.addressFound.hasSubscribers) {
        this.traceLocks((lock) => traceChannels.addressFound.publish(lock))
      }
      throw new NotLockedError(this.name, windowPage, 0)
    }
    return this.engine.backend.page(page)
  }
}

function checkOffset(offset: number): void {
  if ((offset & 4095) !== offset) {
    throw new InvalidArgumentError('offset', 'an integer from 0 to 4095', offset)
  }
}
