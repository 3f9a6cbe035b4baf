import { LOCK_DMA } from '../lock-flags.ts'

/** The most locks on one pointer: what fits above the offset in a positive Int32. */
export const MAX_LOCKS_PER_POINTER = 0x7_ffff

/** One lock more than this cannot be counted. */
export const FULL_RECORD = 0x7fff_f000

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
 * Exact records of who may release what: for every window page the offset that was handed out and
 * how often, `count << 12 | offset`, and for other offsets in the same page a small table. The
 * offsets and counts at a pointer always add up to the locks outstanding there.
 */
export class LockRecords {
  /**
   * For window page n the record at 2n, none if below 4096; beside it, so that one fetch brings both, the
   * lock flags, which mean something while there is a record.
   */
  readonly records: Int32Array
  private readonly side: Map<number, SideRecord> = new Map()

  constructor(windowPages: number) {
    this.records = new Int32Array(windowPages * 2)
  }

  /** Counts one lock more; false when the pointer has as many as can be counted. */
  add(windowPage: number, offset: number, tag: number): boolean {
    const at = windowPage * 2
    const record = this.records[at]!
    if (record < 4096) {
      this.records[at] = 4096 | offset
      this.records[at + 1] = tag
      return true
    }
    if ((record & 4095) === offset) {
      if (record >= FULL_RECORD) return false
      this.records[at] = record + 4096
      if ((tag & LOCK_DMA) !== 0) this.records[at + 1] = tag
      return true
    }
    const key = windowPage * 4096 + offset
    const side = this.side.get(key)
    if (side === undefined) {
      this.side.set(key, { count: 1, tag })
      return true
    }
    if (side.count >= MAX_LOCKS_PER_POINTER) return false
    side.count++
    if ((tag & LOCK_DMA) !== 0) side.tag = tag
    return true
  }

  /** Counts one lock less; false when none is outstanding at exactly this pointer. */
  remove(windowPage: number, offset: number): boolean {
    const at = windowPage * 2
    const record = Number.isInteger(windowPage) ? this.records[at] : undefined
    // Beyond these the key below would be another pointer's.
    if (record === undefined || (offset & 4095) !== offset) return false
    if (record >= 4096 && (record & 4095) === offset) {
      this.records[at] = record - 4096
      return true
    }
    const key = windowPage * 4096 + offset
    const side = this.side.get(key)
    if (side === undefined) return false
    side.count--
    if (side.count === 0) this.side.delete(key)
    return true
  }

  /** True when a lock is outstanding at exactly this pointer. */
  has(windowPage: number, offset: number): boolean {
    const record = (Number.isInteger(windowPage) ? this.records[windowPage * 2] : 0) ?? 0
    if (record >= 4096 && (record & 4095) === offset) return true
    return this.side.has(windowPage * 4096 + offset)
  }

  /** Every pointer with locks in `pageCount` pages from `windowPage` on. */
  *within(windowPage: number, pageCount: number): Generator<LockRecord> {
    const end = windowPage + pageCount
    for (let page = windowPage; page < end; page++) {
      const record = this.records[page * 2]!
      if (record < 4096) continue
      const offset = record & 4095
      const tag = this.records[page * 2 + 1]!
      // An offset that was the page's second goes on in the page's own record once that is free.
      const side = this.side.get(page * 4096 + offset)
      if (side === undefined) yield { windowPage: page, offset, count: record >>> 12, tag }
      else {
        const count = (record >>> 12) + side.count
        yield { windowPage: page, offset, count, tag: (tag & LOCK_DMA) !== 0 ? tag : side.tag }
      }
    }
    for (const [key, { count, tag }] of this.side) {
      const page = Math.floor(key / 4096)
      const offset = key - page * 4096
      if (page < windowPage || page >= end) continue
      const record = this.records[page * 2]!
      if (record < 4096 || (record & 4095) !== offset)
        yield { windowPage: page, offset, count, tag }
    }
  }

  /** Forgets every lock in `pageCount` pages from `windowPage` on. */
  clear(windowPage: number, pageCount: number): void {
    this.records.fill(0, windowPage * 2, (windowPage + pageCount) * 2)
    for (const key of this.side.keys()) {
      const page = Math.floor(key / 4096)
      if (page >= windowPage && page < windowPage + pageCount) this.side.delete(key)
    }
  }
}
