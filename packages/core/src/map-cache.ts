import {
  BusyError,
  ClosedError,
  checkMethods,
  checkOptions,
  InvalidArgumentError,
  type OptionNames,
  PAGE_SIZE,
  type WindowPage,
} from '@xmc/interface'
import type { MapBackend } from './backend.ts'
import type { CacheUser, CacheUserOptions } from './cache-user.ts'
import { UnmapFailedError, WrongCacheError } from './errors.ts'
import { CacheUsers } from './internal/cache-users.ts'
import { closeEngine } from './internal/close-engine.ts'
import { collectStatistics } from './internal/collect-statistics.ts'
import { sweepIdle } from './internal/idle-sweep.ts'
import { invalidateEngine } from './internal/invalidate.ts'
import { LeakTracker } from './internal/leak-tracker.ts'
import { listen } from './internal/listen.ts'
import { replacePages } from './internal/replacement.ts'
import { SharedRuns } from './internal/shared-runs.ts'
import { asWindowPage } from './internal/window-page.ts'
import type { DrainFailure, InvalidationReport } from './invalidation.ts'
import { LOCK_WRITE } from './lock-flags.ts'
import { flagsOf, type MapCacheOptions, type MapOptions } from './map-options.ts'
import { Mapping } from './mapping.ts'
import { PageSurface } from './page-surface.ts'
import type { RamListener } from './ram-listener.ts'
import { checkRetention, DEFAULT_BUDGET_BYTES } from './retention.ts'
import { type CacheStatistics, COUNTER } from './statistics.ts'
import { traceChannels } from './trace.ts'

const OPTIONS: OptionNames<MapCacheOptions<number, MapBackend<number>>> = {
  backend: true,
  name: true,
  retention: true,
  quarantineBytes: true,
  translate: true,
  leakTracking: true,
  rememberMissingMilliseconds: true,
}

/** How a cache is to be closed. */
export interface CloseOptions {
  /** Take every lock back that is outstanding; false by default. */
  readonly force?: boolean | undefined
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
export class MapCache<
  Page extends number,
  Backend extends MapBackend<Page> = MapBackend<Page>,
> extends PageSurface<Page> {
  /** Maps the pages of this cache. */
  readonly backend: Backend
  private readonly users: CacheUsers = new CacheUsers()
  private readonly leaks: LeakTracker | undefined
  private readonly invalidations: SharedRuns<DrainFailure[], InvalidationReport>
  private readonly idleTimer: NodeJS.Timeout | undefined

  /** @throws InvalidArgumentError `ERR_XMC_ARGUMENT` for an option out of range, or that there is not */
  constructor(options: MapCacheOptions<Page, Backend>) {
    checkOptions('MapCache', options, OPTIONS)
    const { backend } = options
    checkMethods('backend', backend, ['page', 'mapAt', 'unmapAt'])
    checkMethods('backend.window', backend.window, ['reset'])
    const retention = checkRetention(
      options.retention ??
        (backend.pinned
          ? { kind: 'at-once' }
          : { kind: 'keep', budgetBytes: DEFAULT_BUDGET_BYTES }),
    )
    const quarantineBytes = checkBytes('quarantineBytes', options.quarantineBytes ?? 4 * 2 ** 20)
    const name = options.name ?? backend.kind
    const rememberMissingMilliseconds = options.rememberMissingMilliseconds ?? 100
    if (!(rememberMissingMilliseconds >= 0 && rememberMissingMilliseconds < 2 ** 31)) {
      const expected = 'a number from 0 to 2^31 - 1'
      throw new InvalidArgumentError(
        'rememberMissingMilliseconds',
        expected,
        rememberMissingMilliseconds,
      )
    }
    super(
      backend,
      { name, retention, quarantineBytes, rememberMissingMilliseconds },
      options.translate,
    )
    this.backend = backend
    if (options.leakTracking === true) this.leaks = this.trackLeaks()
    this.invalidations = new SharedRuns(
      () => this.users.drain(),
      (failures) => invalidateEngine(this.engine, this.users, this.leaks, failures),
    )
    if (retention.kind === 'keep' && retention.idleMilliseconds !== undefined) {
      this.idleTimer = sweepIdle(this.engine, retention.idleMilliseconds)
    }
    if (traceChannels.init.hasSubscribers) {
      const { pageCount } = backend.window
      const buckets = Math.floor(pageCount / this.engine.pagesPerBucket)
      traceChannels.init.publish({ cache: this.name, buckets, bytes: pageCount * PAGE_SIZE })
    }
  }

  /** Maps `length` bytes from `offset` in `page` and returns a handle; otherwise as `lock`. */
  map(page: Page, offset: number, length: number, options: MapOptions = {}): Mapping<Page> {
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
    const miss = this.misses.acquireList(pages, (flags & LOCK_WRITE) !== 0)
    const windowPage = this.misses.runSync(miss)
    return this.lockedList(windowPage, pages, options)
  }

  /** As `mapList`, without blocking the event loop; waits for pages that are paged out. */
  async mapListAsync(pages: readonly Page[], options: MapOptions = {}): Promise<Mapping<Page>> {
    this.checkList(pages)
    const copy = [...pages]
    const miss = this.misses.acquireList(copy, (flagsOf(options) & LOCK_WRITE) !== 0)
    return this.misses.runAsync(miss, (windowPage) => this.lockedList(windowPage, copy, options))
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

  /**
   * While true, pages that cannot be mapped are given as zero pages, dummies, for `replace` to make
   * real. Has no effect over pinned pages. False at first.
   */
  get guestArriving(): boolean {
    return this.engine.guestArriving
  }

  set guestArriving(arriving: boolean) {
    this.engine.guestArriving = arriving
  }

  /**
   * Puts the guest pages from `newPage` on in the place of the mapping that was made for `pageCount`
   * pages from `oldPage` on. Pointers and locks stay; lookups give the new address. Where a
   * read-only mapping is beside the writable one, both are replaced, and the place of the writable one
   * is returned.
   *
   * When the backend maps nothing, its error is thrown, and the mapping keeps its address and shows zeros: as
   * the dummy that it was, or until a replacement succeeds or a request maps its pages again. A cache that
   * unmaps at once maps them elsewhere then. So it is when a bucket is replaced by itself.
   *
   * @throws NotMappedError `ERR_XMC_NOT_MAPPED`; RefusedError `ERR_XMC_REFUSED` over pinned pages
   * @throws PagesMissingError `ERR_XMC_PAGES_MISSING`: replaced, but a page of it is missing
   */
  replace(oldPage: Page, newPage: Page, pageCount: number): WindowPage {
    return replacePages(this.engine, oldPage, newPage, pageCount)
  }

  /**
   * Drops everything the guest may have changed: drains the registered users, then unmaps every
   * unlocked mapping and hides the locked ones from new requests until they are released.
   * Mappings of pinned pages are left alone, and locked ones that hold nothing of the guest:
   * dummies, and what a failed replacement has left.
   *
   * Calls that come together are one invalidation, and get one report; so are those that come while two wait
   * for their users. A mapping is hidden, and its locks are reported, once.
   */
  async invalidateAll(): Promise<InvalidationReport> {
    return this.invalidations.run()
  }

  /** Registers somebody whose transfers must end before a full invalidation. */
  registerUser(options: CacheUserOptions): CacheUser {
    return this.users.register(options)
  }

  /** Lets the reports of this cache name a user that is registered with its group. */
  adoptUser(user: CacheUser): void {
    this.users.adopt(user)
  }

  /**
   * Adds a listener for memory that appears in the window and goes, and tells it of what is there.
   * Returns how to remove it.
   */
  addRamListener(listener: RamListener): () => void {
    return listen(this.engine, listener)
  }

  /** Counters so far, and what is mapped now. */
  get statistics(): CacheStatistics {
    return collectStatistics(this.engine)
  }

  /** True after `close`, and while it runs. */
  get closed(): boolean {
    return this.engine.closed
  }

  /**
   * Unmaps every mapping that nobody has locked, of pinned pages too, after another try for what could not be
   * unmapped before. Returns how many mappings went.
   */
  flush(): number {
    const { engine } = this
    engine.slots.recoverAll()
    let unmapped = 0
    engine.each(engine.table.entries.slice(), (slot) => {
      if (engine.table.isFree(slot) && engine.tryUnmap(slot)) unmapped++
    })
    return unmapped
  }

  /**
   * Ends the cache: refuses new requests, and unmaps everything. With `force`, locks are ignored, and their
   * handles are released. Called again, it tries once more to unmap what could not be.
   *
   * Calls under way, as of `mapAsync` and `releaseAsync`, end later; then they unmap what they have mapped, and
   * fail. Until the last of them has ended, and everything is unmapped, the window serves no other cache; and
   * before, it must not be closed: `closeAsync` waits for them.
   *
   * @throws BusyError `ERR_XMC_BUSY`: locks are outstanding and `force` is not given; nothing was done
   * @throws UnmapFailedError `ERR_XMC_UNMAP_FAILED`: the cache is closed, but something may still be mapped;
   * call `close` again
   */
  close(options: CloseOptions = {}): void {
    const { engine } = this
    if (!engine.closed) {
      const { locks } = this.statistics
      if (locks > 0 && options.force !== true) throw new BusyError(this.name, locks)
      clearInterval(this.idleTimer)
      this.leaks?.clear()
    }
    closeEngine(engine)
  }

  /**
   * As `close`; resolves when no call is under way any more, after another try for what could not be unmapped
   * until then. The window may be closed, or serve another cache, when it has resolved.
   *
   * @throws as `close`
   */
  async closeAsync(options: CloseOptions = {}): Promise<void> {
    let failure: { readonly error: unknown } | undefined
    try {
      this.close(options)
    } catch (error) {
      if (!this.closed) throw error
      // What could not be unmapped is tried again below.
      if (!(error instanceof UnmapFailedError)) failure = { error }
    }
    await this.engine.calls.settled()
    this.close()
    if (failure !== undefined) throw failure.error
  }

  /** As `close` with force. */
  [Symbol.dispose](): void {
    this.close({ force: true })
  }

  /** As `closeAsync` with force. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.closeAsync({ force: true })
  }

  /** @internal Takes a handle off the leak tracker. */
  forget(handle: Mapping<Page>, leakId: number): void {
    this.leaks?.released(handle, leakId)
  }

  private checkList(pages: readonly Page[]): void {
    if (this.engine.closed) throw new ClosedError(this.name)
    if (pages.length === 0 || pages.length > 0x7_ffff) {
      throw new InvalidArgumentError('pages', '1 to 524287 pages', pages.length)
    }
    for (const page of pages) this.backend.page(page)
    this.engine.count(COUNTER.requests)
    this.engine.count(COUNTER.misses)
    if (traceChannels.map.hasSubscribers) {
      traceChannels.map.publish({ cache: this.name, page: pages[0], offset: 0 })
    }
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
    const { engine } = this
    // Handles are told apart in the order of use, since the hit that found the page notes nothing.
    engine.table.stamp[engine.entryAt(windowPage)] = ++engine.epoch
    const write = options.write === true
    const mapping = new Mapping<Page>(this, windowPage, offset, length, write)
    if (this.leaks !== undefined) {
      mapping.leakId = this.leaks.taken(mapping, windowPage, offset, length)
    }
    return mapping
  }

  private trackLeaks(): LeakTracker {
    return new LeakTracker(({ windowPage, offset, length, stack }) => {
      // Its lock was taken back by pointer: nothing leaks.
      if (!this.engine.locks.has(windowPage, offset)) return
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
}

function checkBytes(field: string, value: number): number {
  if (!Number.isSafeInteger(value) || value < 0) {
    throw new InvalidArgumentError(field, 'a safe integer, 0 or more', value)
  }
  return value
}
