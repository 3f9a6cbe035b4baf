import { LOCK_DMA } from '../lock-flags.ts'

/** The most locks on one pointer: what fits above the offset in a positive Int32. */
export const MAX_LOCKS_PER_POINTER = 0x7_ffff

/** One lock more than this cannot be counted; its bits are those of the count. */
export const FULL_RECORD = 0x7fff_f000

/** Set in the record of a page that has locks at other offsets, too. Such a record is negative. */
const SHARED = 0x8000_0000 | 0

interface SideRecord {
  count: number
  tag: number
}

/** Locks outstanding at one pointer. */
export interface LockRecord {
  readonly windowPage: number
  readonly offset: number
  readonly count: number
  /** Flags of the lock that was taken first, or of the last one for DMA. */
  readonly tag: number
}

/**
 * Exact records of who may release what: for every window page one offset that was handed out and
 * how often, `count << 12 | offset`, and for other offsets of the page a table of its own. All locks of a
 * pointer are counted in one of the two places, with their flags, until the last of them goes.
 */
export class LockRecords {
  /**
   * For window page n the record at 2n: no lock where the bits of the count are 0, and {@link SHARED} while
   * the page has a table. Beside it, so that one fetch brings both, the lock flags, which mean something
   * while there is a lock.
   */
  readonly records: Int32Array
  private readonly side: Map<number, Map<number, SideRecord>> = new Map()

  constructor(windowPages: number) {
    this.records = new Int32Array(windowPages * 2)
  }

  /** Counts one lock more; false when the pointer has as many as can be counted. */
  add(windowPage: number, offset: number, tag: number): boolean {
    const at = windowPage * 2
    const record = this.records[at]!
    const counted = record & FULL_RECORD
    if (counted !== 0 && (record & 4095) === offset) {
      if (counted === FULL_RECORD) return false
      this.records[at] = record + 4096
      if ((tag & LOCK_DMA) !== 0) this.records[at + 1] = tag
      return true
    }
    const sides = this.side.get(windowPage)
    const side = sides?.get(offset)
    if (side !== undefined) {
      if (side.count >= MAX_LOCKS_PER_POINTER) return false
      side.count++
      if ((tag & LOCK_DMA) !== 0) side.tag = tag
      return true
    }
    if (counted === 0) {
      this.records[at] = (record & SHARED) | 4096 | offset
      this.records[at + 1] = tag
    } else if (sides === undefined) {
      this.side.set(windowPage, new Map([[offset, { count: 1, tag }]]))
      this.records[at] = record | SHARED
    } else {
      sides.set(offset, { count: 1, tag })
    }
    return true
  }

  /** Counts one lock less; false when none is outstanding at exactly this pointer. */
  remove(windowPage: number, offset: number): boolean {
    const at = windowPage * 2
    const record = Number.isInteger(windowPage) ? this.records[at] : undefined
    // The record would take another number for an offset that is like it in its low bits.
    if (record === undefined || (offset & 4095) !== offset) return false
    if ((record & FULL_RECORD) !== 0 && (record & 4095) === offset) {
      this.records[at] = record - 4096
      return true
    }
    const sides = this.side.get(windowPage)
    const side = sides?.get(offset)
    if (sides === undefined || side === undefined) return false
    side.count--
    if (side.count > 0) return true
    sides.delete(offset)
    if (sides.size === 0) {
      this.side.delete(windowPage)
      this.records[at] = record & ~SHARED
    }
    return true
  }

  /** True when a lock is outstanding at exactly this pointer. */
  has(windowPage: number, offset: number): boolean {
    const record = (Number.isInteger(windowPage) ? this.records[windowPage * 2] : 0) ?? 0
    if ((record & FULL_RECORD) !== 0 && (record & 4095) === offset) return true
    return this.side.get(windowPage)?.has(offset) === true
  }

  /** Every pointer with locks in `pageCount` pages from `windowPage` on. */
  *within(windowPage: number, pageCount: number): Generator<LockRecord> {
    for (let page = windowPage; page < windowPage + pageCount; page++) {
      const record = this.records[page * 2]!
      const counted = record & FULL_RECORD
      if (counted !== 0) {
        const tag = this.records[page * 2 + 1]!
        yield { windowPage: page, offset: record & 4095, count: counted >>> 12, tag }
      }
      if (record >= 0) continue
      for (const [offset, { count, tag }] of this.side.get(page) ?? []) {
        yield { windowPage: page, offset, count, tag }
      }
    }
  }

  /** Forgets every lock in `pageCount` pages from `windowPage` on. */
  clear(windowPage: number, pageCount: number): void {
    for (let page = windowPage; page < windowPage + pageCount; page++) {
      if (this.records[page * 2]! < 0) this.side.delete(page)
    }
    this.records.fill(0, windowPage * 2, (windowPage + pageCount) * 2)
  }
}
