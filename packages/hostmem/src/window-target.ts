import { constants } from 'node:os'
import {
  ClosedError,
  errnoOf,
  InvalidArgumentError,
  SystemCallError,
  type TargetWindow,
  windowPage,
} from '@xmc/interface'

/**
 * Checks that `pageCount` pages from `page` on lie in the window.
 *
 * @throws InvalidArgumentError `ERR_XMC_ARGUMENT`
 */
export function checkTarget(window: TargetWindow, page: number, pageCount: number): void {
  windowPage(page)
  if (pageCount > window.pageCount - page) {
    const expected = `at most ${window.pageCount - page} pages, up to the end of the window`
    throw new InvalidArgumentError('pages', expected, pageCount)
  }
}

/**
 * Puts anonymous pages in place after a map that failed with `error`. Returns what is to be thrown:
 * `error`, or an error with both as its cause when that fails, too.
 */
export function errorAfterReset(
  error: unknown,
  window: TargetWindow,
  page: number,
  pageCount: number,
): unknown {
  try {
    window.reset(windowPage(page), pageCount)
    return error
  } catch (resetError) {
    const errno = errnoOf(resetError) ?? constants.errno.EIO
    const detail = `anonymous pages could not be put back at window page ${page} after a map that failed: do not touch the ${pageCount} pages, reset them`
    const cause = new AggregateError([error, resetError], 'a map, and the reset after it')
    return new SystemCallError('mmap', errno, detail, { cause })
  }
}

/** Makes a call that maps or unmaps in a window in another turn or thread; the window is not closed meanwhile. */
export async function whileHeld<Result>(
  window: TargetWindow,
  call: () => Promise<Result>,
): Promise<Result> {
  window.hold?.()
  try {
    return await call()
  } finally {
    window.letGo?.()
  }
}

/** Puts anonymous pages in place, unless the window's owner closed it before: it has none mapped then. */
export function resetUnlessClosed(mapping: {
  readonly window: TargetWindow
  readonly windowPage: number
  readonly pageCount: number
}): void {
  try {
    mapping.window.reset(windowPage(mapping.windowPage), mapping.pageCount)
  } catch (error) {
    if (!(error instanceof ClosedError)) throw error
  }
}
