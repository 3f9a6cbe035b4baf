import type { ForeignMapRequest, TargetWindow, WindowPage } from '@xmc/interface'

/**
 * The port to foreign memory: frames of another domain mapped into this process.
 * Met by the simulator and by real Xen (privcmd's batch map).
 *
 * A frame that fails leaves an anonymous zero page in its place. A request that throws leaves
 * anonymous pages in all of its target.
 */
export interface ForeignMemory {
  /**
   * Maps in one attempt; a paged-out frame gets `ENOENT` in `errors`.
   *
   * @throws SystemCallError `ERR_XMC_SYSTEM_CALL` when nothing was mapped: no such domain or the
   * caller's own (`ESRCH`), or any bad frame when `errors` is absent
   */
  map(request: ForeignMapRequest): void
  /**
   * As `map`, but retries paged-out frames with timers until they settle, without blocking the
   * event loop; a frame that stays paged out gets `ENOENT`.
   */
  mapAsync(request: ForeignMapRequest): Promise<void>
  /**
   * Removes every mapping in `pageCount` pages from `windowPage` on and puts anonymous pages there.
   * The range may cover several mappings and pages that failed, and splits none.
   *
   * @throws SystemCallError `ERR_XMC_SYSTEM_CALL` when the kernel refuses
   */
  unmap(window: TargetWindow, windowPage: WindowPage, pageCount: number): void
}
