import { markAsUntransferable } from 'node:worker_threads'
import {
  BusyError,
  ClosedError,
  InvalidArgumentError,
  PAGE_SIZE,
  RefusedError,
  SystemCallError,
  type TargetWindow,
  type WindowPage,
} from '@xmc/interface'
import { type Allocation, allocate } from './internal/allocation.ts'
import { MAPPED, NO_RESERVE, type PageStates, PLAIN } from './internal/page-states.ts'
import {
  ENOMEM,
  MADV_DODUMP,
  MADV_DONTDUMP,
  MADV_DONTNEED,
  MAP_ANONYMOUS,
  MAP_FIXED,
  MAP_NORESERVE,
  MAP_PRIVATE,
  MAP_SHARED,
  PROT_READ,
  PROT_WRITE,
  type SystemCalls,
  systemCalls,
} from './internal/system-calls.ts'
import { memoryAreas, type WindowShare } from './memory-areas.ts'
import {
  checkWindowOptions,
  WindowAllocationError,
  type WindowOptions,
  type WindowSizeReason,
} from './window-options.ts'

/**
 * Opens a window of host memory that reads as zeros. It takes address space only: the kernel commits
 * a page when it is first written. Where the size is refused, half of it is tried, and so on down to
 * `minimumPages`: compare `pageCount` with `requestedPages`. Under a finite RLIMIT_AS a size counts
 * as refused unless it leaves 512 MiB to the rest of the process.
 *
 * @throws UnsupportedPlatformError `ERR_XMC_UNSUPPORTED_PLATFORM`
 * @throws NativeLibraryError `ERR_XMC_NATIVE_LIBRARY` when koffi is not installed
 * @throws InvalidArgumentError `ERR_XMC_ARGUMENT`
 * @throws WindowAllocationError `ERR_XMC_WINDOW_ALLOCATION` when `minimumPages` are refused, too
 */
export function openWindow(options: WindowOptions): HostMemoryWindow {
  const { requestedPages, minimumPages, shared, areaLimit } = checkWindowOptions(options)
  const calls = systemCalls()
  const allocation = allocate(requestedPages, minimumPages, shared)
  if (typeof allocation === 'string') {
    throw new WindowAllocationError(requestedPages, minimumPages, allocation)
  }
  const share = (options.areaAccount ?? memoryAreas()).open(areaLimit)
  return new HostMemoryWindow(calls, allocation, requestedPages, share)
}

/** Areas that the page behind a window makes: its own, and the rest of the buffer's. */
const SPARE_AREAS = 2

/**
 * Buffers with live mappings. If one were collected, its mappings would go with it under whoever
 * counts on them (a hypervisor expects them to be unmapped in order).
 */
const pinned = new Set<ArrayBuffer | SharedArrayBuffer>()

/**
 * A window of host memory: one buffer, made once, whose pages are replaced in place by pages of files
 * and devices. Made by {@link openWindow}; meets `TargetWindow` of `@xmc/interface`.
 *
 * Anonymous pages stand wherever nothing is mapped, so a read through a stale view never ends the
 * process. While a page is mapped, the buffer is not collected.
 *
 * # Limitations
 *
 * What ends the process all the same: a store to a page that is mapped read-only (SIGSEGV), and
 * touching a mapped page that lies beyond the end of its file (SIGBUS). Pages mapped through
 * `hostAddress` by others are not known here. A window belongs to the thread that opened it.
 */
class HostMemoryWindow implements TargetWindow {
  /**
   * The buffer that the window lies in, not all of which belongs to the window. It never moves. It is marked as
   * not transferable; Node 22 moves it by `transfer()` all the same, and the window then refuses every call.
   */
  readonly buffer: ArrayBuffer | SharedArrayBuffer
  /** Where window page 0 starts in `buffer`, in bytes: a page boundary of the host's memory, not of the buffer. */
  readonly byteOffset: number
  /** Pages of the window, 4096 bytes each. */
  readonly pageCount: number
  /** Pages that were asked for. */
  readonly requestedPages: number
  /** Why `pageCount` is what it is. */
  readonly reason: WindowSizeReason
  /** Host virtual address of window page 0: a multiple of 4096 below 2^52. */
  readonly hostAddress: number
  /** The memory areas of the window: how many it takes, and may take. */
  readonly areas: WindowShare
  readonly #calls: SystemCalls
  readonly #states: PageStates
  /** Shows by its length whether the buffer is still where it was. */
  readonly #firstByte: Uint8Array
  #closed = false
  /** Calls under way that map or unmap here. */
  #holds = 0

  constructor(
    calls: SystemCalls,
    allocation: Allocation,
    requestedPages: number,
    areas: WindowShare,
  ) {
    const { buffer, pageCount, states, refusal } = allocation
    // Node 20 copies an ArrayBuffer that is marked so instead of moving its memory to another owner, later ones
    // throw; only transfer() of Node 22 moves it.
    if (buffer instanceof ArrayBuffer) markAsUntransferable(buffer)
    const firstByte = new Uint8Array(buffer, 0, 1)
    const address = calls.memcpy(firstByte, firstByte, 0)
    this.hostAddress = Math.ceil(address / PAGE_SIZE) * PAGE_SIZE
    this.buffer = buffer
    this.byteOffset = this.hostAddress - address
    this.pageCount = pageCount
    this.requestedPages = requestedPages
    this.reason = refusal ?? 'as-requested'
    this.#calls = calls
    this.#states = states
    this.areas = areas
    this.#firstByte = firstByte
    this.#keepSpareArea(true)
    this.areas.note(SPARE_AREAS, 0, 0)
  }

  /**
   * Pages that hold a file's page: those mapped here and not reset since. A page whose anonymous page
   * could not be put back counts, too.
   */
  get mappedPages(): number {
    return this.#states.mappedPages
  }

  /**
   * Maps `pageCount` pages of the file `fd` from byte `fileOffset` at `page`, shared and in place, over
   * whatever was there. When the kernel refuses, anonymous pages are in place before the error is thrown.
   * The caller guarantees that the pages lie inside the file, and makes no store to pages mapped read-only.
   *
   * @param page first page, 0 to `pageCount` − 1 of the window
   * @param pageCount at least 1, up to the end of the window
   * @param fd a descriptor, at least 0; it may be closed afterwards
   * @param fileOffset a multiple of 4096, 0 to 2^53 − 4096
   * @param writable whether stores are allowed
   * @throws ClosedError `ERR_XMC_CLOSED`
   * @throws InvalidArgumentError `ERR_XMC_ARGUMENT`; nothing was changed
   * @throws SystemCallError `ERR_XMC_SYSTEM_CALL`: `EBADF` for a descriptor that is not open, `EACCES` for one
   * that is not open for the access, `ENODEV` for one that cannot be mapped, `ENOMEM` most likely for
   * the number of memory areas, whatever a device says
   * @throws MemoryAreasError `ERR_XMC_MEMORY_AREAS` when the map would take more areas than the window, or
   * the process, may have; nothing was changed
   */
  map(
    page: WindowPage,
    pageCount: number,
    fd: number,
    fileOffset: number,
    writable: boolean,
  ): void {
    this.#checkMap(page, pageCount, fd, fileOffset, writable)
    this.#admit(page, pageCount)
    const address = this.#calls.mmap(
      this.hostAddress + page * PAGE_SIZE,
      pageCount * PAGE_SIZE,
      writable ? PROT_READ | PROT_WRITE : PROT_READ,
      MAP_SHARED | MAP_FIXED,
      fd,
      fileOffset,
    )
    if (address === -1) {
      const errno = this.#calls.errno()
      this.#refuse(errno, page, pageCount, `fd ${fd} at offset ${fileOffset}`)
    }
    this.#note(page, pageCount, MAPPED)
  }

  /**
   * As `map`, on another thread, for a device whose map waits. Nobody touches the pages, and nothing
   * else is done to them here, until the promise settles; the descriptor stays open until then, and the window
   * cannot be closed.
   *
   * @throws ClosedError `ERR_XMC_CLOSED`
   * @throws InvalidArgumentError `ERR_XMC_ARGUMENT`; nothing was changed
   * @throws SystemCallError `ERR_XMC_SYSTEM_CALL` as `map`
   */
  async mapAsync(
    page: WindowPage,
    pageCount: number,
    fd: number,
    fileOffset: number,
    writable: boolean,
  ): Promise<void> {
    this.#checkMap(page, pageCount, fd, fileOffset, writable)
    this.#admit(page, pageCount)
    // From here on the buffer must not be collected.
    this.#note(page, pageCount, MAPPED)
    this.hold()
    let errno: number
    try {
      errno = await this.#calls.mmapAsync(
        this.hostAddress + page * PAGE_SIZE,
        pageCount * PAGE_SIZE,
        writable ? PROT_READ | PROT_WRITE : PROT_READ,
        MAP_SHARED | MAP_FIXED,
        fd,
        fileOffset,
      )
    } finally {
      this.letGo()
    }
    if (errno !== 0) this.#refuse(errno, page, pageCount, `fd ${fd} at offset ${fileOffset}`)
  }

  /**
   * Puts anonymous zero pages at `page` and the `pageCount − 1` that follow, whatever was there.
   *
   * @param page first page, 0 to `pageCount` − 1 of the window
   * @param pageCount at least 1, up to the end of the window
   * @throws ClosedError `ERR_XMC_CLOSED`
   * @throws InvalidArgumentError `ERR_XMC_ARGUMENT`; nothing was changed
   * @throws SystemCallError `ERR_XMC_SYSTEM_CALL` when the kernel refuses: the pages count as mapped and
   * must not be touched, since some may be missing; reset them again. `EINVAL` for a part of one mapping of
   * a device that does not allow it
   */
  reset(page: WindowPage, pageCount: number): void {
    this.#check(page, pageCount)
    const errno = this.#restore(page, pageCount)
    if (errno !== 0) throw restoreError(errno, page, pageCount)
  }

  /**
   * Gives the memory of anonymous pages back to the kernel; they read as zeros again.
   *
   * @param page first page, 0 to `pageCount` − 1 of the window
   * @param pageCount at least 1, up to the end of the window
   * @throws ClosedError `ERR_XMC_CLOSED`
   * @throws InvalidArgumentError `ERR_XMC_ARGUMENT`
   * @throws RefusedError `ERR_XMC_REFUSED` when any of the pages is mapped; nothing was changed
   * @throws SystemCallError `ERR_XMC_SYSTEM_CALL` when the kernel refuses: `EINVAL` for pages locked in memory
   */
  discard(page: WindowPage, pageCount: number): void {
    this.#check(page, pageCount)
    if (this.#states.hasMapped(page, pageCount)) {
      throw new RefusedError(
        `discard takes anonymous pages only, and some of the ${pageCount} pages from window page ${page} are mapped: reset them`,
      )
    }
    if (this.#drop(page, pageCount) !== 0) {
      const detail = `${pageCount} pages at window page ${page}`
      throw new SystemCallError('madvise', this.#calls.errno(), detail)
    }
  }

  /**
   * Puts anonymous pages in the whole window, gives its memory back and lets the buffer be collected.
   * Views stay usable: they read as zeros. `map`, `reset` and `discard` throw from then on; a second
   * `close` does nothing. Calls that map or unmap here must have ended: those of a cache have when its
   * `closeAsync` has resolved.
   *
   * @throws BusyError `ERR_XMC_BUSY` while calls are under way, which would map into memory that is free, or
   * somebody else's; nothing was done
   * @throws SystemCallError `ERR_XMC_SYSTEM_CALL` when the kernel refuses: the window stays open, close it again
   */
  close(): void {
    if (this.#closed) return
    if (this.#holds > 0) throw new BusyError('the window of host memory', 0, this.#holds)
    this.#checkBuffer()
    // One call for all pages: it leaves one memory area where there may be thousands.
    const errno = this.#restore(0, this.pageCount)
    if (errno !== 0) throw restoreError(errno, 0, this.pageCount)
    this.#closed = true
  }

  /** Notes a call that maps or unmaps here; `close` is refused until {@link HostMemoryWindow.letGo} was called as often. */
  hold(): void {
    this.#holds++
  }

  /** Ends a {@link HostMemoryWindow.hold}. */
  letGo(): void {
    this.#holds--
  }

  /** The same as {@link HostMemoryWindow.close}. */
  [Symbol.dispose](): void {
    this.close()
  }

  #check(page: number, pageCount: number): void {
    if (this.#closed) throw new ClosedError('the window of host memory')
    this.#checkBuffer()
    if (!isNonNegativeInt32(page) || page >= this.pageCount) {
      const expected = `an integer from 0 to ${this.pageCount - 1}`
      throw new InvalidArgumentError('page', expected, page)
    }
    if (!Number.isInteger(pageCount) || pageCount < 1 || pageCount > this.pageCount - page) {
      const expected = `an integer from 1 to ${this.pageCount - page}, up to the end of the window`
      throw new InvalidArgumentError('pageCount', expected, pageCount)
    }
  }

  #checkMap(
    page: number,
    pageCount: number,
    fd: number,
    fileOffset: number,
    writable: boolean,
  ): void {
    this.#check(page, pageCount)
    if (!isNonNegativeInt32(fd)) {
      throw new InvalidArgumentError('fd', 'an integer from 0 to 2147483647', fd)
    }
    if (!Number.isSafeInteger(fileOffset) || fileOffset < 0 || fileOffset % PAGE_SIZE !== 0) {
      throw new InvalidArgumentError(
        'fileOffset',
        'a multiple of 4096 from 0 to 2^53 - 4096',
        fileOffset,
      )
    }
    if (typeof writable !== 'boolean') {
      throw new InvalidArgumentError('writable', 'true or false', writable)
    }
  }

  /** Refuses a map that would take too many memory areas. */
  #admit(page: number, pageCount: number): void {
    const areas = this.#states.areasForMap(page, pageCount)
    this.areas.admit(areas, this.#states.alternationsIn(page, pageCount))
  }

  /** The memory of a detached buffer may belong to somebody else, or be free. */
  #checkBuffer(): void {
    if (this.#firstByte.length === 0) {
      throw new RefusedError(
        'the buffer of a window of host memory was detached: do not transfer it, share it by opening the window with { shared: true }',
      )
    }
  }

  /** Throws for a map that failed, after anonymous pages are back: the failed call may have removed what was there. */
  #refuse(errno: number, page: number, pageCount: number, what: string): never {
    const restoreErrno = this.#restore(page, pageCount)
    const detail = describe(errno, page, pageCount, what)
    if (restoreErrno === 0) throw new SystemCallError('mmap', errno, detail)
    const cause = restoreError(restoreErrno, page, pageCount)
    throw new SystemCallError(
      'mmap',
      errno,
      `${detail}; nor could anonymous pages be put back: do not touch the pages, reset them`,
      { cause },
    )
  }

  /** Puts anonymous zero pages in place; returns 0, or the errno when pages may be missing. */
  #restore(page: number, pageCount: number): number {
    let kind = this.#states.fillerFor(page, pageCount, this.areas.isTight)
    if (!this.#fill(page, pageCount, kind)) {
      const errno = this.#calls.errno()
      // At the limit of memory areas the kernel refuses before it removes anything, and pages that were
      // anonymous still are. madvise succeeds only where no page is missing.
      if (!this.#states.hasMapped(page, pageCount) && this.#drop(page, pageCount) === 0) return 0
      // Without a charge for memory, and with one memory area less elsewhere, it may be possible.
      kind = NO_RESERVE
      this.#keepSpareArea(false)
      const filled = this.#fill(page, pageCount, kind)
      this.#keepSpareArea(true)
      if (!filled) {
        this.#note(page, pageCount, MAPPED)
        return errno
      }
    }
    this.#note(page, pageCount, kind)
    return 0
  }

  /**
   * Makes the page behind the window a memory area of its own, or part of the one beside it. A process
   * with one area too many can map nothing at all, not even over a mapping; giving this one up lets
   * it unmap. Whether that works shows in the call that follows, so the result does not matter.
   */
  #keepSpareArea(keep: boolean): void {
    const address = this.hostAddress + this.pageCount * PAGE_SIZE
    this.#calls.madvise(address, PAGE_SIZE, keep ? MADV_DONTDUMP : MADV_DODUMP)
  }

  #fill(page: number, pageCount: number, kind: typeof PLAIN | typeof NO_RESERVE): boolean {
    const address = this.#calls.mmap(
      this.hostAddress + page * PAGE_SIZE,
      pageCount * PAGE_SIZE,
      PROT_READ | PROT_WRITE,
      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | (kind === NO_RESERVE ? MAP_NORESERVE : 0),
      -1,
      0,
    )
    return address !== -1
  }

  #drop(page: number, pageCount: number): number {
    const address = this.hostAddress + page * PAGE_SIZE
    return this.#calls.madvise(address, pageCount * PAGE_SIZE, MADV_DONTNEED)
  }

  #note(
    page: number,
    pageCount: number,
    state: typeof PLAIN | typeof NO_RESERVE | typeof MAPPED,
  ): void {
    const states = this.#states
    const before = states.mappedPages
    states.set(page, pageCount, state)
    this.areas.note(states.areas + SPARE_AREAS, states.alternations, states.mappedPages)
    if (before === 0) {
      if (states.mappedPages > 0) pinned.add(this.buffer)
    } else if (states.mappedPages === 0) {
      pinned.delete(this.buffer)
    }
  }
}

export type { HostMemoryWindow }

function isNonNegativeInt32(value: number): boolean {
  return typeof value === 'number' && (value & 0x7fffffff) === value
}

function restoreError(errno: number, page: number, pageCount: number): SystemCallError {
  const detail = describe(errno, page, pageCount, 'anonymous memory')
  return new SystemCallError('mmap', errno, detail)
}

function describe(errno: number, page: number, pageCount: number, what: string): string {
  const place = `${what} to ${pageCount} pages at window page ${page}`
  if (errno !== ENOMEM) return place
  return (
    `${place}; likely the process has as many memory areas as vm.max_map_count allows (65530 by default): ` +
    'raise it with sysctl, or keep fewer separate mappings'
  )
}
