import { type HostWindow, RefusedError } from '@xmc/interface'

// Two caches would map over each other's pages. Windows are not held by this.
const claimed: WeakSet<HostWindow> = new WeakSet()

/**
 * Notes that a cache uses a window.
 *
 * @throws RefusedError `ERR_XMC_REFUSED` when another cache does
 */
export function claimWindow(window: HostWindow, cache: string): void {
  if (claimed.has(window)) {
    throw new RefusedError(`${cache}: the window serves another cache: open one for each cache`)
  }
  claimed.add(window)
}

/** Notes that the cache of a window is closed and has left nothing there. */
export function disclaimWindow(window: HostWindow): void {
  claimed.delete(window)
}
