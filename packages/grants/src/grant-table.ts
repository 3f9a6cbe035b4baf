import type { Pages, TargetWindow, WindowPage } from '@xmc/core'
import type { DomainId, GrantReference } from './grant-reference.ts'

/** The most references that one map request can hold (gntdev's limit per map). */
export const MAX_REFERENCES_PER_MAP = 65_536

/** The most mappings of one kind, reading or writing, that Xen allows of one reference at once. */
export const MAX_MAPPINGS_PER_REFERENCE = 128

/** One request to map references of a domain. */
export interface GrantMapRequest {
  /** Who granted. */
  readonly domain: DomainId
  /** Where to: a window of host memory. */
  readonly window: TargetWindow
  /** First page of the target; the references follow contiguously. */
  readonly windowPage: WindowPage
  /** References, 1 to {@link MAX_REFERENCES_PER_MAP}, in any order; one may occur twice. */
  readonly references: Pages<GrantReference>
  /** Whether stores through the mapping are allowed. */
  readonly writable: boolean
}

/** What happens to a mapped page when its mapping goes, even if the mapper is killed. */
export interface UnmapNotify {
  /** Offset in the page, 0 to 4095, of a byte that is set to zero. The page must be writable. */
  readonly clearByte?: number | undefined
  /** Local port of an event channel that is signalled. */
  readonly eventChannel?: number | undefined
}

/** One copy between local memory and a granted page, at most to the end of that page. */
export interface GrantCopySegment {
  /** Who granted. */
  readonly domain: DomainId
  /** The granted page. */
  readonly reference: GrantReference
  /** Offset in the granted page, 0 to 4095. */
  readonly offset: number
  /** Local bytes: read from, or written to, in full. `offset + bytes.length` is at most 4096. */
  readonly bytes: Uint8Array
  /** Whether the granted page is the source or the target. */
  readonly direction: 'from-grant' | 'to-grant'
}

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
