import type { MmioRegion } from './mmio-region.ts'
import type { RamRegion } from './ram-region.ts'

/** A range of an address space in which one region is seen. */
export interface MemorySection {
  /** The region that answers: RAM, ROM or MMIO. Aliases and containers are resolved. */
  readonly region: RamRegion | MmioRegion
  /** First address. */
  readonly address: bigint
  /** Bytes; the last address is `address + size - 1n`. */
  readonly size: bigint
  /** Byte of the region at `address`. */
  readonly offset: bigint
  /** Whether writes are refused here: by the region, or by an alias on the way. */
  readonly readOnly: boolean
}

/**
 * Told of the ranges of an address space that come and go. After a change of the map everything that
 * went is reported before anything that came; a range that changed in any way is reported as both.
 *
 * A listener that throws makes the change throw; the map is consistent, and all listeners are called.
 */
export interface SectionListener {
  /** Accesses to the range reach the region from now on. */
  added(section: MemorySection): void
  /** Accesses no longer do. */
  removed(section: MemorySection): void
}
