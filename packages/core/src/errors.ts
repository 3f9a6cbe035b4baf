import { constants } from 'node:os'
import { addressHint, countOf, nameOfErrno, type Shortage, XmcError } from '@xmc/interface'

const { ENOMEM } = constants.errno

/**
 * `ERR_XMC_PAGES_MISSING`: a requested page of the guest could not be mapped. A `passing` shortage with the errno
 * `ENOMEM`: the guest has the page, and the host no memory for mapping it.
 */
export class PagesMissingError extends XmcError {
  /** Name of the cache. */
  readonly cache: string
  /** First page of the request that is missing. */
  readonly page: number
  /** Positive errno for that page. */
  readonly errno: number
  /** The errno by name. */
  readonly errnoName: string

  constructor(cache: string, page: number, errno: number) {
    const errnoName = nameOfErrno(errno)
    super(
      'ERR_XMC_PAGES_MISSING',
      () =>
        `${cache}: page ${hex(page)} cannot be mapped (${errnoName}): ` +
        (errno === ENOMEM
          ? 'the host has no memory for it: wait until other mappings are released'
          : `the guest has no memory there, or is gone${addressHint(page)}`),
      { shortage: errno === ENOMEM ? 'passing' : undefined },
    )
    this.cache = cache
    this.page = page
    this.errno = errno
    this.errnoName = errnoName
  }
}

/** `ERR_XMC_PAGED_OUT`: a requested page is paged out, and stayed so as long as the call waits. */
export class PagedOutError extends XmcError {
  /** Name of the cache. */
  readonly cache: string
  /** First page of the request that is paged out. */
  readonly page: number

  constructor(cache: string, page: number) {
    super(
      'ERR_XMC_PAGED_OUT',
      () =>
        `${cache}: page ${hex(page)} is paged out: use the asynchronous form, which waits for it, or try again later`,
    )
    this.cache = cache
    this.page = page
  }
}

/** `ERR_XMC_NOT_LOCKED`: no lock is outstanding at a pointer that was to be released or looked up. */
export class NotLockedError extends XmcError {
  /** Window page of the pointer. */
  readonly windowPage: number
  /** Byte offset in that page. */
  readonly offset: number

  constructor(cache: string, windowPage: number, offset: number) {
    super(
      'ERR_XMC_NOT_LOCKED',
      `${cache}: no lock is outstanding at window page ${windowPage}, offset ${offset}: it was released before, or never handed out`,
    )
    this.windowPage = windowPage
    this.offset = offset
  }
}

/** `ERR_XMC_WRONG_CACHE`: a handle or view belongs to another cache. */
export class WrongCacheError extends XmcError {
  constructor(cache: string, what: string) {
    super('ERR_XMC_WRONG_CACHE', `${cache}: ${what} belongs to another cache: give it to that one`)
  }
}

/** `ERR_XMC_LOCK_LIMIT`: one pointer has as many locks as a lock record can count. */
export class LockLimitError extends XmcError {
  /** The largest number of locks on one pointer. */
  readonly limit: number

  constructor(cache: string, page: number, limit: number) {
    super(
      'ERR_XMC_LOCK_LIMIT',
      () =>
        `${cache}: page ${hex(page)} already has ${countOf(limit, 'lock')} at one offset, the limit: release some`,
    )
    this.limit = limit
  }
}

/** What takes the room of a window that is full. */
export interface WindowUsage {
  /** Pages of mappings that are locked, or that a call under way needs. */
  readonly lockedPages: number
  /** Pages whose unmap failed, and which are tried again. */
  readonly lostPages: number
  /** `lasting` for more than the whole window. */
  readonly shortage: Shortage
}

/**
 * `ERR_XMC_WINDOW_FULL`: too few contiguous pages of the window are neither locked nor lost. Its `shortage` is
 * `passing` where releases, or unmaps that succeed at last, make room, and `lasting` where the request is
 * larger than the window.
 */
export class WindowFullError extends XmcError {
  /** Pages the request needs in one piece. */
  readonly requestedPages: number
  /** Pages of the whole window. */
  readonly windowPages: number
  /** Pages of mappings that are locked, or that a call under way needs. */
  readonly lockedPages: number
  /** Pages whose unmap failed, and which are tried again. */
  readonly lostPages: number

  constructor(cache: string, requestedPages: number, windowPages: number, usage: WindowUsage) {
    const { lockedPages, lostPages, shortage } = usage
    super(
      'ERR_XMC_WINDOW_FULL',
      () =>
        shortage === 'lasting'
          ? `${cache}: ${requestedPages} contiguous pages do not fit a window of ${windowPages}: ask for less, or make the window larger`
          : `${cache}: no ${requestedPages} contiguous pages are free in a window of ${windowPages}: ${lockedPages} are locked, ${lostPages} could not be unmapped: release mappings${lostPages > 0 ? ', see why unmaps fail,' : ''} or make the window larger`,
      { shortage },
    )
    this.requestedPages = requestedPages
    this.windowPages = windowPages
    this.lockedPages = lockedPages
    this.lostPages = lostPages
  }
}

/**
 * `ERR_XMC_UNMAP_FAILED`: a mapping could not be removed; its place in the window is not used until that has
 * succeeded. It is tried again every now and then, before the window counts as full, by `flush` and by `close`.
 */
export class UnmapFailedError extends XmcError {
  /** First window page of the mapping. */
  readonly windowPage: number
  /** Pages of the mapping. */
  readonly pageCount: number

  constructor(cache: string, windowPage: number, pageCount: number, cause: unknown) {
    super(
      'ERR_XMC_UNMAP_FAILED',
      `${cache}: ${countOf(pageCount, 'page')} at window page ${windowPage} could not be unmapped: the place is out of use until they are; flush() and close() try again`,
      { cause },
    )
    this.windowPage = windowPage
    this.pageCount = pageCount
  }
}

/** `ERR_XMC_NOT_MAPPED`: there is no mapping to replace at that address and size. */
export class NotMappedError extends XmcError {
  constructor(cache: string, page: number, pageCount: number) {
    super(
      'ERR_XMC_NOT_MAPPED',
      `${cache}: nothing is mapped at page ${hex(page)} with ${countOf(pageCount, 'page')}: give the address and length of the mapping to replace`,
    )
  }
}

function hex(value: number): string {
  return `0x${value.toString(16)}`
}
