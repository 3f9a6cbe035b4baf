import type { MemorySection } from '../memory-section.ts'
import { FlatRange } from './flat-range.ts'
import { PAGE_LIMIT } from './page.ts'

/**
 * What is seen where in one address space: ranges in order of addresses, never changed once made.
 */
export class FlatView {
  readonly ranges: readonly FlatRange[]
  /** For the search: start page, start offset, end page, end offset of each range. */
  private readonly bounds: Float64Array

  constructor(sections: readonly MemorySection[]) {
    const ranges = sections.map((section) => new FlatRange(section))
    this.ranges = ranges
    this.bounds = new Float64Array(ranges.length * 4)
    for (const [i, { startPage, startOffset, endPage, endOffset }] of ranges.entries()) {
      this.bounds.set([startPage, startOffset, endPage, endOffset], i * 4)
    }
  }

  /** Index of the range that has the address, or −1. Looks at range `last` first. */
  find(page: number, offset: number, last: number): number {
    if (last < this.ranges.length && this.compare(last, page, offset) === 0) return last
    let low = 0
    let high = this.ranges.length
    while (low < high) {
      const middle = (low + high) >>> 1
      const side = this.compare(middle, page, offset)
      if (side === 0) return middle
      if (side < 0) high = middle
      else low = middle + 1
    }
    return -1
  }

  /** Bytes from an address that no range has to the next range, or to 2^64. */
  gap(page: number, offset: number): number {
    const next = this.ranges.find(
      ({ startPage, startOffset }) =>
        startPage > page || (startPage === page && startOffset > offset),
    )
    const endPage = next?.startPage ?? PAGE_LIMIT
    return (endPage - page) * 4096 + (next?.startOffset ?? 0) - offset
  }

  /** −1 when the address lies before range `i`, 1 behind it, 0 in it. */
  private compare(i: number, page: number, offset: number): number {
    const { bounds } = this
    const at = i * 4
    const startPage = bounds[at]!
    if (page < startPage || (page === startPage && offset < bounds[at + 1]!)) return -1
    const endPage = bounds[at + 2]!
    return page < endPage || (page === endPage && offset < bounds[at + 3]!) ? 0 : 1
  }
}
