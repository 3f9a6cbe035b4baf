import { checkOptions, InvalidArgumentError, PAGE_SIZE, XmcError } from '@xmc/interface'
import type { Refusal } from './internal/allocation.ts'
import type { MemoryAreaAccount } from './memory-areas.ts'

/** The most pages of a window: a window page is an integer from 0 to 2^31 − 1. */
const MAXIMUM_PAGES = 2 ** 31

/** How large a window to open; exactly one of `pageCount` and `bytes`. */
export interface WindowOptions {
  /** Pages of 4096 bytes, 1 to 2^31. */
  readonly pageCount?: number | undefined
  /** The same in bytes, 1 to 2^43, rounded up to whole pages. */
  readonly bytes?: number | undefined
  /** Whether the window lies in a SharedArrayBuffer, which other threads can read and write. Default false. */
  readonly shared?: boolean | undefined
  /** The fewest pages to be content with. Default 4096 (16 MiB), or the size asked for where that is less. */
  readonly minimumPages?: number | undefined
  /**
   * Memory areas that the window's mappings may take, at least 1: a stretch of pages that one call
   * mapped is one, and so is a gap. Default a quarter of the account's budget; never more than that.
   */
  readonly memoryAreas?: number | undefined
  /** The account that the areas are taken from. Default the one of the process: `memoryAreas()`. */
  readonly areaAccount?: MemoryAreaAccount | undefined
}

/**
 * Why a window has the size it has: the size asked for; less, since RLIMIT_AS leaves no room for more;
 * or less, since V8 or the kernel refused more.
 */
export type WindowSizeReason = 'as-requested' | Refusal

/** The options of a window, checked and complete. */
export interface CheckedWindowOptions {
  readonly requestedPages: number
  readonly minimumPages: number
  readonly shared: boolean
  /** Areas that the window may take; undefined for the account's part. */
  readonly areaLimit: number | undefined
}

/**
 * Checks the options of a window.
 *
 * @throws InvalidArgumentError `ERR_XMC_ARGUMENT`
 */
export function checkWindowOptions(options: WindowOptions): CheckedWindowOptions {
  checkOptions('openWindow', options, {
    pageCount: true,
    bytes: true,
    shared: true,
    minimumPages: true,
    memoryAreas: true,
    areaAccount: true,
  })
  const requestedPages = requestedPageCount(options)
  const { shared = false, minimumPages = Math.min(requestedPages, 4096) } = options
  if (typeof shared !== 'boolean') {
    throw new InvalidArgumentError('shared', 'true or false', shared)
  }
  if (!Number.isInteger(minimumPages) || minimumPages < 1 || minimumPages > requestedPages) {
    throw new InvalidArgumentError(
      'minimumPages',
      `an integer from 1 to ${requestedPages}, the pages asked for`,
      minimumPages,
    )
  }
  const { memoryAreas: areaLimit } = options
  if (areaLimit !== undefined && !(Number.isSafeInteger(areaLimit) && areaLimit > 0)) {
    throw new InvalidArgumentError('memoryAreas', 'a positive integer', areaLimit)
  }
  return { requestedPages, minimumPages, shared, areaLimit }
}

/** `ERR_XMC_WINDOW_ALLOCATION`: not even the smallest window that was to be accepted can be had. */
export class WindowAllocationError extends XmcError {
  /** Pages that were asked for. */
  readonly requestedPages: number
  /** The fewest pages that would have been accepted. */
  readonly minimumPages: number
  /** Why they were refused. */
  readonly reason: Refusal

  constructor(requestedPages: number, minimumPages: number, reason: Refusal) {
    const why =
      reason === 'address-space-limit'
        ? 'RLIMIT_AS leaves no room: raise it'
        : 'V8 or the kernel refuses the memory: ask for fewer pages or look at vm.overcommit_memory'
    super(
      'ERR_XMC_WINDOW_ALLOCATION',
      `a window of ${requestedPages} pages cannot be had, nor one of ${minimumPages}, the fewest to be accepted; ${why}`,
    )
    this.requestedPages = requestedPages
    this.minimumPages = minimumPages
    this.reason = reason
  }
}

function requestedPageCount(options: WindowOptions): number {
  const { pageCount, bytes } = options
  if (bytes === undefined) {
    if (
      !Number.isInteger(pageCount) ||
      pageCount === undefined ||
      pageCount < 1 ||
      pageCount > MAXIMUM_PAGES
    ) {
      const expected = `an integer from 1 to ${MAXIMUM_PAGES}, or the option bytes instead`
      throw new InvalidArgumentError('pageCount', expected, pageCount)
    }
    return pageCount
  }
  if (pageCount !== undefined) {
    throw new InvalidArgumentError('bytes', 'nothing beside the option pageCount', bytes)
  }
  if (!Number.isInteger(bytes) || bytes < 1 || bytes > MAXIMUM_PAGES * PAGE_SIZE) {
    const expected = `an integer from 1 to ${MAXIMUM_PAGES * PAGE_SIZE}`
    throw new InvalidArgumentError('bytes', expected, bytes)
  }
  return Math.ceil(bytes / PAGE_SIZE)
}
