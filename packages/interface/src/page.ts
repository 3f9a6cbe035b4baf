import { InvalidArgumentError } from './errors.ts'

/** Bytes of a page. Xen's interfaces count in 4 KiB pages even where the kernel's are larger. */
export const PAGE_SIZE = 4096

/** Binary logarithm of {@link PAGE_SIZE}. */
export const PAGE_SHIFT = 12

/** Number of a page inside a window of host memory, from 0. */
export type WindowPage = number & { readonly __xmc: 'WindowPage' }

/** A run of consecutive guest pages: frames or grant references. */
export interface PageRun<Page extends number> {
  /** First page. */
  readonly first: Page
  /** Number of pages, at least 1. */
  readonly count: number
}

/** Guest pages that become one contiguous mapping: a run, or a list in any order. */
export type Pages<Page extends number> = PageRun<Page> | readonly Page[]

/** Number of pages in `pages`. */
export function countPages<Page extends number>(pages: Pages<Page>): number {
  return isPageList(pages) ? pages.length : pages.count
}

/** True when `pages` is a list rather than a run. */
export function isPageList<Page extends number>(pages: Pages<Page>): pages is readonly Page[] {
  return Array.isArray(pages)
}

/**
 * Checks that `value` is a window page: an integer from 0 to 2^31 − 1.
 *
 * @throws InvalidArgumentError `ERR_XMC_ARGUMENT`
 */
export function windowPage(value: number): WindowPage {
  if (!isWindowPage(value)) {
    throw new InvalidArgumentError('windowPage', 'an integer from 0 to 2147483647', value)
  }
  return value
}

function isWindowPage(value: number): value is WindowPage {
  return (value & 0x7fffffff) === value
}
