/**
 * Buckets that a hit can find, counted from guest address 0: 1 TiB in buckets of 1 MiB, 1,048,576 grant
 * references. A bucket beyond is found by search. Memory is committed with use.
 */
export const HIT_TABLE_BUCKETS: number = 2 ** 20

/** Set in what the table holds of a mapping, since window page 0 is one, too; zero-filled memory means none. */
export const PRESENT: number = 0x8000_0000 | 0

/**
 * The index of a hit: for each bucket the window page of a mapping that may be read, and of one that
 * may be written. Only single buckets without holes are entered.
 *
 * It is the accessed bit as well: a hit notes nothing of its own. Where the order of use matters, the
 * table is cleared with every miss, and who is used again comes back through a search, which notes it.
 */
export class HitTable {
  // Hidden from whoever compares or prints caches by their fields: these have 2 million.
  readonly #readable: Int32Array = new Int32Array(HIT_TABLE_BUCKETS)
  readonly #writable: Int32Array = new Int32Array(HIT_TABLE_BUCKETS)
  private readonly entered: Set<number> | undefined

  /** @param clears whether `clear` is to be possible */
  constructor(clears: boolean) {
    this.entered = clears ? new Set() : undefined
  }

  /** By bucket: window page | {@link PRESENT}, or 0. */
  get readable(): Int32Array {
    return this.#readable
  }

  /** The same for mappings that stores are allowed to. */
  get writable(): Int32Array {
    return this.#writable
  }

  /** Enters the mapping of bucket `index` at `windowPage`. To be read, a read-only one goes before a writable one. */
  enter(index: number, windowPage: number, writable: boolean): void {
    if (index >= HIT_TABLE_BUCKETS) return
    this.entered?.add(index)
    const readable = this.readable[index]!
    if (!writable || readable === 0 || readable === this.writable[index]) {
      this.readable[index] = windowPage | PRESENT
    }
    if (writable) this.writable[index] = windowPage | PRESENT
  }

  /** Takes out whatever leads to bucket `index` at `windowPage`. */
  leave(index: number, windowPage: number): void {
    if (this.readable[index] === (windowPage | PRESENT)) this.readable[index] = 0
    if (this.writable[index] === (windowPage | PRESENT)) this.writable[index] = 0
    if (this.entered !== undefined && this.readable[index] === 0 && this.writable[index] === 0) {
      this.entered.delete(index)
    }
  }

  /** Takes everything out. */
  clear(): void {
    if (this.entered === undefined) return
    for (const index of this.entered) {
      this.readable[index] = 0
      this.writable[index] = 0
    }
    this.entered.clear()
  }
}
