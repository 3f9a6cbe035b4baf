import type { WindowPage } from '@xmc/interface'
import type { UnmapFailedError } from './errors.ts'

/** A lock for DMA that was outstanding while everything was invalidated. */
export interface LockedDmaMapping {
  /** Guest page: a frame or a grant reference. */
  readonly page: number
  /** Where it is in the window. */
  readonly windowPage: WindowPage
  /** Offset in the page. */
  readonly offset: number
  /** Locks outstanding at that pointer. */
  readonly locks: number
  /** Name of the user who holds it, or `unnamed`. */
  readonly holder: string
  /** Where it was taken: one stack for each handle, when leak tracking is on. */
  readonly stacks: readonly string[]
}

/** A user whose `drain` failed. */
export interface DrainFailure {
  readonly user: string
  readonly error: unknown
}

/** What a full invalidation did. */
export interface InvalidationReport {
  /** Mappings that were removed. */
  readonly unmapped: number
  /**
   * Mappings that are locked, or needed by a call under way, and stay until that ends; new requests do not use
   * them any more. Those of earlier invalidations do not count again.
   */
  readonly retired: number
  /** Locks for DMA among those, and in dummies: transfers that may hit pages the guest has given away. */
  readonly lockedDma: readonly LockedDmaMapping[]
  /** Users that could not be drained. */
  readonly drainFailures: readonly DrainFailure[]
  /** Mappings that could not be removed. */
  readonly unmapFailures: readonly UnmapFailedError[]
}
