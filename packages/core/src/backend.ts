import type { HostWindow, Pages, WindowPage } from '@xmc/interface'

/**
 * What the engine needs of a backend: guest pages put into a window, and taken out again.
 * Met by `@xmc/foreign` (pages are guest frames) and `@xmc/grants` (pages are grant references).
 */
export interface MapBackend<Page extends number> {
  /** Short name of the kind of memory, as `foreign` or `grants`: for messages and traces. */
  readonly kind: string
  /** The window this backend maps into. One window serves one cache. */
  readonly window: HostWindow
  /** Binary logarithm of the bytes mapped at a time, from 12 (one page) to 30. */
  readonly bucketShift: number
  /**
   * How a mapping's write access follows from the request: every mapping is writable, none is, or
   * each is what was asked for.
   */
  readonly access: 'read-write' | 'read-only' | 'as-requested'
  /**
   * True when a mapping pins the guest's pages, as a grant does: it is removed with its last lock,
   * a full invalidation leaves it alone, and it cannot be replaced.
   */
  readonly pinned: boolean

  /**
   * Checks that `value` can be a page of this backend.
   *
   * @throws XmcError `ERR_XMC_ARGUMENT`
   */
  page(value: number): Page

  /**
   * Maps `pages` contiguously from `windowPage` on, in one attempt. Sets `errors[i]` to 0 or to the
   * positive errno of page `i`. A page that failed reads as zeros.
   *
   * @throws XmcError when nothing was mapped; anonymous pages are in place then. With the field `mayBeMapped: true` when
   *   something may be mapped all the same: then it is unmapped as any mapping is.
   */
  mapAt(windowPage: WindowPage, pages: Pages<Page>, writable: boolean, errors: Int32Array): void

  /** As {@link MapBackend.mapAt}, without blocking the event loop; waits for paged-out pages. */
  mapAtAsync(
    windowPage: WindowPage,
    pages: Pages<Page>,
    writable: boolean,
    errors: Int32Array,
  ): Promise<void>

  /**
   * Removes what `mapAt` put at `windowPage`, all `pageCount` pages of it, and puts anonymous pages there.
   *
   * @throws XmcError when the mapping, or a part of it, may still be there
   */
  unmapAt(windowPage: WindowPage, pageCount: number): void

  /** As {@link MapBackend.unmapAt}, without blocking the event loop. */
  unmapAtAsync(windowPage: WindowPage, pageCount: number): Promise<void>

  /**
   * Copies guest memory without mapping it, where the backend can: `target.length` bytes from
   * `offset` in `page`, not over the end of the page. Used for unlocked access to pinned pages.
   *
   * @throws XmcError when the guest's page refuses
   */
  copyFrom?(page: Page, offset: number, target: Uint8Array): void

  /** Copies `source` to guest memory without mapping it; the counterpart of `copyFrom`. */
  copyTo?(page: Page, offset: number, source: Uint8Array): void
}
