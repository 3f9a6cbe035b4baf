import { PAGE_SIZE } from '@xmc/interface'
import type { MapBackend } from '../backend.ts'

/**
 * Checks that a range ends at a page that there can be, before anything is done for it.
 *
 * @throws XmcError `ERR_XMC_ARGUMENT`
 */
export function checkLastPage<Page extends number>(
  backend: MapBackend<Page>,
  page: number,
  offset: number,
  length: number,
): void {
  if (offset + length > PAGE_SIZE) {
    backend.page(page + Math.floor((offset + length - 1) / PAGE_SIZE))
  }
}
