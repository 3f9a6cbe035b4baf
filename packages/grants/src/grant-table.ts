import type {
  GrantCopySegment,
  GrantMapRequest,
  TargetWindow,
  UnmapNotify,
  WindowPage,
} from '@xmc/interface'

/**
 * The port to grant tables of other domains: granted pages mapped into this process, and copied.
 * Met by the simulator and by real Xen (gntdev).
 *
 * A map request is all or nothing; when it throws, anonymous pages are in all of its target.
 */
export interface GrantTable {
  /**
   * Maps in one attempt.
   *
   * @throws SystemCallError `ERR_XMC_SYSTEM_CALL`: `EINVAL` for any bad reference, wrong domain, refused
   * access or exhausted limit, without saying which; `EAGAIN` for a page that is paged out
   */
  map(request: GrantMapRequest): void
  /** As `map`, but waits for paged-out pages without blocking the event loop. */
  mapAsync(request: GrantMapRequest): Promise<void>
  /**
   * Removes one mapping: `windowPage` and `pageCount` must be those it was made with.
   *
   * @throws SystemCallError `ERR_XMC_SYSTEM_CALL`: `EINVAL` for any other start or count (the mapping stays)
   */
  unmap(window: TargetWindow, windowPage: WindowPage, pageCount: number): void
  /** As `unmap`, without blocking the event loop. */
  unmapAsync(window: TargetWindow, windowPage: WindowPage, pageCount: number): Promise<void>
  /**
   * Arranges what happens when the one-page mapping at `windowPage` goes; the last call counts.
   *
   * @throws SystemCallError `ERR_XMC_SYSTEM_CALL`: `ENOENT` without a mapping there, `EINVAL` for a byte of a
   * read-only mapping
   */
  setUnmapNotify(window: TargetWindow, windowPage: WindowPage, notify: UnmapNotify): void
  /**
   * Copies each segment and returns a GNTST status for each: 0, or negative (−3 for a bad
   * reference, and so on). A refused segment moves nothing; the others are still done.
   *
   * @throws SystemCallError `ERR_XMC_SYSTEM_CALL` when the call as a whole is refused
   */
  copy(segments: readonly GrantCopySegment[]): Int16Array
}
