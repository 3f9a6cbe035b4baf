import type { DomainId, GuestFrame } from './identifiers.ts'
import type { Pages, WindowPage } from './page.ts'
import type { TargetWindow } from './window.ts'

/** One request to map frames of a domain. */
export interface ForeignMapRequest {
  /** Whose memory. */
  readonly domain: DomainId
  /** Where to: a window of host memory. */
  readonly window: TargetWindow
  /** First page of the target; the frames follow contiguously. */
  readonly windowPage: WindowPage
  /** Guest frames, at least one. */
  readonly frames: Pages<GuestFrame>
  /** Whether stores through the mapping are allowed. */
  readonly writable: boolean
  /**
   * Receives 0 or a positive errno for each frame: `EINVAL` for a hole, and for every frame of a domain
   * that is dying, which Xen does not tell apart; `ENOENT` for a frame that is paged out. At least as long as `frames`. Without it, one bad frame fails the whole request.
   */
  readonly errors?: Int32Array | undefined
}
