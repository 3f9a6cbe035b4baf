import {
  ClosedError,
  InvalidArgumentError,
  PAGE_SIZE,
  ReadOnlyError,
  type WindowPage,
} from '@xmc/interface'
import type { MapBackend } from './backend.ts'
import { LockLimitError, NotLockedError } from './errors.ts'
import { BucketEngine, type EngineOptions } from './internal/bucket-engine.ts'
import { createHitPath } from './internal/hit-path.ts'
import { MAX_LOCKS_PER_POINTER } from './internal/lock-records.ts'
import { Misses, NO_WRITES, type Translate } from './internal/misses.ts'
import { checkLastPage } from './internal/page-range.ts'
import { UnlockedAccess } from './internal/unlocked-access.ts'
import { asWindowPage } from './internal/window-page.ts'
import { LOCK_WRITE } from './lock-flags.ts'
import type { PageOperations } from './page-operations.ts'
import { COUNTER } from './statistics.ts'
import { traceChannels } from './trace.ts'

/**
 * The page surface of a cache: locks and loads by page number. Integers in and out, and no allocation
 * on a hit, for devices on their hot path.
 *
 * A pointer is a window page and an offset in it, at byte `windowPage * 4096 + offset` of `view`. A page
 * is whatever the backend maps: a guest frame, or a grant reference.
 */
export class PageSurface<Page extends number> implements PageOperations<Page> {
  /** Name for errors, traces and reports. */
  readonly name: string
  /** The whole window: byte `windowPage * 4096 + offset`. What is not mapped reads as zeros. */
  readonly view: DataView
  /** {@inheritDoc PageOperations.lock} */
  readonly lock: PageOperations<Page>['lock']
  /** {@inheritDoc PageOperations.unlock} */
  readonly unlock: PageOperations<Page>['unlock']
  /** {@inheritDoc PageOperations.pageOf} */
  readonly pageOf: PageOperations<Page>['pageOf']
  /** {@inheritDoc PageOperations.loadUint8} */
  readonly loadUint8: PageOperations<Page>['loadUint8']
  /** {@inheritDoc PageOperations.loadUint16} */
  readonly loadUint16: PageOperations<Page>['loadUint16']
  /** {@inheritDoc PageOperations.loadUint32} */
  readonly loadUint32: PageOperations<Page>['loadUint32']
  /** {@inheritDoc PageOperations.loadBigUint64} */
  readonly loadBigUint64: PageOperations<Page>['loadBigUint64']
  /** {@inheritDoc PageOperations.storeUint8} */
  readonly storeUint8: PageOperations<Page>['storeUint8']
  /** {@inheritDoc PageOperations.storeUint16} */
  readonly storeUint16: PageOperations<Page>['storeUint16']
  /** {@inheritDoc PageOperations.storeUint32} */
  readonly storeUint32: PageOperations<Page>['storeUint32']
  /** {@inheritDoc PageOperations.storeBigUint64} */
  readonly storeBigUint64: PageOperations<Page>['storeBigUint64']
  /** @internal */
  protected readonly engine: BucketEngine<Page>
  /** @internal */
  protected readonly misses: Misses<Page>
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
    const hits = createHitPath(engine, this.view, {
      lock: (page, offset, length, flags) => this.lockSlowly(page, offset, length, flags),
      takeBack: (windowPage, offset) => this.takeBack(windowPage, offset),
      pageOf: (windowPage) => this.pageOfList(windowPage),
      locate: (page, offset, size, write) => this.access.locate(page, offset, size, write),
      load: (page, offset, size) => this.access.load(page, offset, size),
      store: (page, offset, size, fill) => this.access.store(page, offset, size, fill),
    })
    this.lock = hits.lock
    this.unlock = hits.unlock
    this.pageOf = hits.pageOf
    this.loadUint8 = hits.loadUint8
    this.loadUint16 = hits.loadUint16
    this.loadUint32 = hits.loadUint32
    this.loadBigUint64 = hits.loadBigUint64
    this.storeUint8 = hits.storeUint8
    this.storeUint16 = hits.storeUint16
    this.storeUint32 = hits.storeUint32
    this.storeBigUint64 = hits.storeBigUint64
  }

  /** Pages of a slot in the window, which is what a lock takes of it at least: those of a bucket. */
  get pagesPerSlot(): number {
    return this.engine.pagesPerBucket
  }

  /** As `lock`, without blocking the event loop; waits for pages that are paged out. */
  async lockAsync(page: Page, offset: number, length: number, flags: number): Promise<WindowPage> {
    const write = (flags & LOCK_WRITE) !== 0
    this.startRequest(page, offset, length, write)
    for (let waited = false; ; waited = true) {
      const found = this.engine.find(page, offset, length, write)
      if (found >= 0) return this.takeLock(page, asWindowPage(found), offset, flags)
      // oxlint-disable-next-line no-await-in-loop -- another miss on the bucket ends first
      const mapped = await this.misses.single(page, offset, length, write, waited, async () => {
        const miss = this.misses.acquire(page, offset, length, write)
        return this.misses.runAsync(miss, (at) => this.takeLock(page, at, offset, flags))
      })
      if (mapped !== undefined) return mapped
    }
  }

  /**
   * As `unlock`, off the caller's turn and without blocking the event loop: resolves when the mapping is
   * gone, if this was its last lock, and listeners have been told. The lock itself goes at once.
   */
  async unlockAsync(windowPage: WindowPage, offset: number): Promise<void> {
    this.takeBack(windowPage, offset)
    const slot = this.engine.entryAt(windowPage)
    this.engine.park(slot)
    await new Promise<void>((resolve) => {
      setImmediate(resolve)
    })
    await this.engine.unpark(slot)
  }

  /** Copies guest memory from `offset` in `page` into `target`, over as many pages as it takes. */
  read(page: Page, offset: number, target: Uint8Array): void {
    this.access.read(page, offset, target)
  }

  /** Copies `source` into guest memory from `offset` in `page` on. */
  write(page: Page, offset: number, source: Uint8Array): void {
    this.access.write(page, offset, source)
  }

  private lockSlowly(page: Page, offset: number, length: number, flags: number): WindowPage {
    const write = (flags & LOCK_WRITE) !== 0
    this.startRequest(page, offset, length, write)
    const found = this.engine.find(page, offset, length, write)
    if (found >= 0) return this.takeLock(page, asWindowPage(found), offset, flags)
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
    checkLastPage(this.engine.backend, page, offset, length)
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
    const slot = this.engine.entryAt(windowPage)
    if (!this.engine.locks.add(windowPage, offset, flags)) {
      throw new LockLimitError(this.name, page, MAX_LOCKS_PER_POINTER)
    }
    const { locks } = this.engine.table
    locks[slot] = locks[slot]! + 1
    if (traceChannels.mapReturn.hasSubscribers) {
      traceChannels.mapReturn.publish({ cache: this.name, windowPage, offset })
    }
    return windowPage
  }

  private takeBack(windowPage: WindowPage, offset: number): void {
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
    for (const slot of table.entries.slice()) {
      const place = slot * pagesPerBucket
      // All of them before the first is told: whoever is told may release the others.
      const found = [...locks.within(place, table.pageCount(slot))]
      const first = found.map(({ windowPage }) => this.pageOf(asWindowPage(windowPage)))
      for (const [nth, { windowPage, offset, count }] of found.entries()) {
        publish({ cache: this.name, page: first[nth], windowPage, offset, locks: count })
      }
    }
  }

  private pageOfList(windowPage: WindowPage): Page {
    const { lists, locks } = this.engine.table
    const slot = this.engine.entryAt(windowPage)
    const pages = lists.get(slot)
    const page = pages?.[windowPage - slot * this.engine.pagesPerBucket]
    if (page === undefined || locks[slot] === 0) {
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
