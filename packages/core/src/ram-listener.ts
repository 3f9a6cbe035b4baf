import type { WindowPage } from '@xmc/interface'

/**
 * Told of every stretch of guest memory that appears in a window, and exactly once when it
 * goes. A replacement in place is silent.
 *
 * A listener may use the cache: what is being announced stays until everybody was told of it, and what goes is
 * not found any more. It may not `replace` what is being announced (`ERR_XMC_REFUSED`). It may close the cache;
 * the operation under way fails then.
 *
 * A listener that throws makes the operation throw that was under way, after the other listeners were
 * told. What appeared is unmapped again then, unless somebody has locked it, and what goes is gone. What several
 * throw, and what reaches nobody, becomes a process warning, `WARN_XMC_LISTENER`, the first time.
 */
export interface RamListener {
  /** `pageCount` pages of guest memory are at `windowPage` from now on. */
  added(windowPage: WindowPage, pageCount: number): void
  /** They are about to be unmapped. */
  removed(windowPage: WindowPage, pageCount: number): void
}
