/** A range of addresses, both ends included. */
export interface AddressRange {
  readonly start: bigint
  readonly end: bigint
}

/** Disjoint ranges of addresses, in order; neighbours that touch are one range. */
export class RangeSet {
  #ranges: AddressRange[] = []

  get ranges(): readonly AddressRange[] {
    return this.#ranges
  }

  /** True when one range holds all of `start` to `end`. */
  contains(start: bigint, end: bigint): boolean {
    return this.#ranges.some((range) => range.start <= start && end <= range.end)
  }

  /** True when a range holds any of `start` to `end`. */
  overlaps(start: bigint, end: bigint): boolean {
    return this.#ranges.some((range) => range.start <= end && start <= range.end)
  }

  /** Adds a range that overlaps none. */
  add(start: bigint, end: bigint): void {
    const before = this.#ranges.filter((range) => range.end < start)
    const after = this.#ranges.filter((range) => range.start > end)
    const left = before.at(-1)?.end === start - 1n ? before.pop() : undefined
    const right = after[0]?.start === end + 1n ? after.shift() : undefined
    this.#ranges = [...before, { start: left?.start ?? start, end: right?.end ?? end }, ...after]
  }

  /** Removes a range that one range contains; what is left of that one stays. */
  remove(start: bigint, end: bigint): void {
    this.#ranges = this.#ranges.flatMap((range) => {
      if (end < range.start || range.end < start) return [range]
      const rest: AddressRange[] = []
      if (range.start < start) rest.push({ start: range.start, end: start - 1n })
      if (end < range.end) rest.push({ start: end + 1n, end: range.end })
      return rest
    })
  }
}
