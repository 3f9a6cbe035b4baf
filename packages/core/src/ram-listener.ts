import type { WindowPage } from './page.ts'

/**
 * Told of every stretch of guest memory that appears in a window, and exactly once when it goes
 * (S12, S40, S42). A replacement in place is silent.
 *
 * A listener that throws makes the operation throw that was under way, after the other listeners were
 * told. What appeared is unmapped again then, and what goes is gone.
 */
export interface RamListener {
  /** `pageCount` pages of guest memory are at `windowPage` from now on. */
  added(windowPage: WindowPage, pageCount: number): void
  /** They are about to be unmapped. */
  removed(windowPage: WindowPage, pageCount: number): void
}
