/**
 * A stretch of guest memory that a device may touch until it releases it.
 *
 * A range that was mapped for reading must not be stored into: its pages may be read-only, and then
 * the process dies.
 */
export interface GuestRange {
  /** The memory itself; never longer than asked, and shorter where it is not contiguous. */
  readonly bytes: Uint8Array
  /**
   * Whether the bytes are a copy that reaches the guest with the release, as of what is not RAM; false by
   * default. No ring can be there.
   */
  readonly bounced?: boolean | undefined
  /**
   * Says that the range stays mapped for long, as a ring does, so that nobody waits for its release.
   * Optional.
   */
  keep?(): void
  /**
   * Reports that `length` bytes from `offset` on were stored into a range that was mapped for writing and that
   * stays mapped, to whoever follows what is written. Costs little when nobody does. Optional.
   */
  wrote?(offset: number, length: number): void
  /**
   * Gives the memory back, exactly once. `accessed` is the number of bytes from the start that were
   * really written (0 for a range mapped for reading).
   */
  release(accessed: number): void
}

/**
 * The port to the guest's memory, by device address: 4 KiB page number and offset in the page. A page
 * number is below 2^52, so that 64-bit addresses, grant addresses with bit 63 set among them, are
 * exact. Met by an address space.
 */
export interface GuestMemory {
  /**
   * Maps up to `length` bytes (at least 1) for reading or writing, at least one of them.
   *
   * @throws Error with a `code`, when the first byte is not memory or the guest withdrew it;
   * `ERR_XMC_PAGED_OUT` where `mapAsync` would wait; with `shortage: 'passing'` where the host has no
   * room until others release what they hold
   */
  map(page: number, offset: number, length: number, write: boolean): GuestRange
  /** As `map`, without blocking the event loop; waits for pages that are paged out. */
  mapAsync(page: number, offset: number, length: number, write: boolean): Promise<GuestRange>
  /**
   * Copies all of `target.length` bytes out of guest memory, as a grant copy does: for the few bytes
   * of headers and tables, where a mapping would cost more. Optional; used only beside `write`.
   *
   * @throws as `map`
   */
  read?(page: number, offset: number, target: Uint8Array): void
  /** Copies all of `source` into guest memory. Optional; used only beside `read`. */
  write?(page: number, offset: number, source: Uint8Array): void
  /**
   * Calls `client` once, when something was released that may make room for a map that failed with
   * `shortage: 'passing'`; never from within this call. Whoever waits has released first what it holds for that
   * request. Optional: without it a transport looks again from time to time.
   *
   * @returns how to give up waiting; undefined when waiting does not help, since nobody holds anything
   * that would be released: the request could never fit
   */
  awaitRoom?(client: () => void): (() => void) | undefined
}
