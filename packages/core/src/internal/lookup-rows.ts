/**
 * The direct-mapped index of a hit: for bucket `b`, row `(b & mask) * 4` holds `~b` and the window
 * page of a mapping that may be read, and the two numbers after it the same for one that may be
 * written. Only single buckets without holes are entered. Zero-filled memory means empty, since `~b`
 * is negative.
 */
export class LookupRows {
  readonly rows: Int32Array
  readonly mask: number

  constructor(slotCount: number) {
    // Four rows for a slot: guests four times as large as the window still do not collide.
    let count = 256
    while (count < slotCount * 4 && count < 65_536) count *= 2
    this.rows = new Int32Array(count * 4)
    this.mask = count - 1
  }

  /** Enters the mapping of bucket `index` at `windowPage`. Indexes beyond 2^31 are left out. */
  enter(index: number, windowPage: number, writable: boolean): void {
    if (index > 0x7fff_ffff) return
    const row = (index & this.mask) << 2
    this.rows[row] = ~index
    this.rows[row + 1] = windowPage
    if (!writable) return
    this.rows[row + 2] = ~index
    this.rows[row + 3] = windowPage
  }

  /** Takes out whatever leads to bucket `index` at `windowPage`. */
  leave(index: number, windowPage: number): void {
    const row = (index & this.mask) << 2
    for (const at of [row, row + 2]) {
      if (this.rows[at] === ~index && this.rows[at + 1] === windowPage) this.rows[at] = 0
    }
  }
}
