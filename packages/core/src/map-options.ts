import type { MapBackend } from './backend.ts'
import type { CacheUser } from './cache-user.ts'
import { LOCK_DMA, LOCK_WRITE } from './lock-flags.ts'
import type { Retention } from './retention.ts'

/** What a `MapCache` is made from. */
export interface MapCacheOptions<Page extends number, Backend extends MapBackend<Page>> {
  /** Maps pages; brings the window. */
  readonly backend: Backend
  /** Name for errors, traces and reports; the backend's kind by default. */
  readonly name?: string | undefined
  /**
   * What happens to mappings that nobody has locked. By default a cache over pinned pages unmaps
   * at once, and any other keeps up to `DEFAULT_BUDGET_BYTES`.
   */
  readonly retention?: Retention | undefined
  /** Bytes that must be freed after a place in the window before it is used again; 4 MiB by default. */
  readonly quarantineBytes?: number | undefined
  /**
   * Called once for a request that cannot be mapped where it is: gives the guest page to try
   * instead, or undefined (the original's `phys_offset_to_gaddr`).
   */
  readonly translate?: ((page: Page, pageCount: number) => number | undefined) | undefined
  /**
   * How long an access without a lock is refused, without asking, for a page that was missing when its bucket
   * was mapped: in a pass, while such accesses are refused one after the other, and once for each page.
   * Locked mappings always ask, and so does everybody after a full invalidation. 0 to 2^31 − 1; 0 asks each time.
   *
   * @default 100
   */
  readonly rememberMissingMilliseconds?: number | undefined
  /** Remembers the stack that took each handle, and reports handles that are lost; costs microseconds each. */
  readonly leakTracking?: boolean | undefined
}

/** How memory is to be mapped for a handle. */
export interface MapOptions {
  /** Allow stores; false by default. */
  readonly write?: boolean | undefined
  /** A transfer will be under way: a full invalidation warns of it. */
  readonly dma?: boolean | undefined
  /** Who holds the mapping, for reports. */
  readonly user?: CacheUser | undefined
}

/** @internal The lock flags of a handle's options. */
export function flagsOf(options: MapOptions): number {
  return (
    (options.write === true ? LOCK_WRITE : 0) |
    (options.dma === true ? LOCK_DMA : 0) |
    (options.user?.lockFlags ?? 0)
  )
}
