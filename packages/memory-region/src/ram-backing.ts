/** Flag of a lock: stores are allowed through the mapping. */
export const LOCK_WRITE = 1

/** Flag of a lock: a transfer is under way, which a full invalidation should warn of. */
export const LOCK_DMA = 2

/**
 * The port of RAM regions to the memory behind them: pages of 4096 bytes, numbered as the provider
 * likes (guest frames, grant references). Met by the map caches over foreign memory and grants, and by
 * {@link PlainMemory}.
 *
 * A pointer is a window page and an offset in it, at byte `windowPage * 4096 + offset` of `view`.
 * Every call throws a typed error when the memory is not there; a failed `lock` leaves nothing behind.
 */
export interface RamBacking {
  /** Name for messages. */
  readonly name: string
  /** All host memory that pointers of this backing lead to. */
  readonly view: DataView
  /**
   * Pages of a slot in the window, which is what a lock takes of it at least: those of a bucket, a power of 2. Absent for
   * memory that is always there: a lock takes nothing of it from others.
   */
  readonly pagesPerSlot?: number | undefined

  /**
   * Puts `length` bytes (1 to 2^31 − 1) from `offset` in `page` into the view, contiguously, and keeps
   * them there until the matching `unlock`. Returns the window page of the first byte.
   *
   * @param flags 0, or {@link LOCK_WRITE} and {@link LOCK_DMA}
   */
  lock(page: number, offset: number, length: number, flags: number): number
  /** As `lock`, without blocking the event loop; waits for pages that are paged out. */
  lockAsync(page: number, offset: number, length: number, flags: number): Promise<number>
  /** Takes back one lock, given exactly the window page and offset of it. */
  unlock(windowPage: number, offset: number): void
  /** The page behind a window page of a locked range. */
  pageOf(windowPage: number): number

  /** Copies `target.length` bytes from `offset` in `page` on; may cross pages, as all below. */
  read(page: number, offset: number, target: Uint8Array): void
  /** Copies `source` to `offset` in `page` and on. */
  write(page: number, offset: number, source: Uint8Array): void
  /** Reads an unsigned byte. */
  loadUint8(page: number, offset: number): number
  /** Reads 2 bytes. */
  loadUint16(page: number, offset: number, littleEndian: boolean): number
  /** Reads 4 bytes. */
  loadUint32(page: number, offset: number, littleEndian: boolean): number
  /** Reads 8 bytes. */
  loadBigUint64(page: number, offset: number, littleEndian: boolean): bigint
  /** Writes the low byte of `value`. */
  storeUint8(page: number, offset: number, value: number): void
  /** Writes the low 2 bytes of `value`. */
  storeUint16(page: number, offset: number, value: number, littleEndian: boolean): void
  /** Writes the low 4 bytes of `value`. */
  storeUint32(page: number, offset: number, value: number, littleEndian: boolean): void
  /** Writes the low 8 bytes of `value`. */
  storeBigUint64(page: number, offset: number, value: bigint, littleEndian: boolean): void
}
