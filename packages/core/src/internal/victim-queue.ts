import type { BucketTable } from './bucket-table.ts'

/**
 * Names unlocked entries, least recently used first.
 *
 * The unlocked entries are sorted once and consumed until none is left; one that was used since is
 * passed over by its stamp. An entry whose use was noted since the sort is younger than every entry of
 * the sort, so the order is exact but for hits between two misses, which are not noted
 * (`BucketEngine.advance`).
 */
export class VictimQueue {
  private readonly table: BucketTable
  private slots: number[] = []
  private stamps: number[] = []
  private position = 0

  constructor(table: BucketTable) {
    this.table = table
  }

  /** Head slot of the least recently used unlocked entry, or -1. */
  next(): number {
    const found = this.take()
    if (found >= 0) return found
    this.sort()
    return this.take()
  }

  private take(): number {
    while (this.position < this.slots.length) {
      const slot = this.slots[this.position]!
      const stamp = this.stamps[this.position]!
      this.position++
      if (this.table.isFree(slot) && this.table.stamp[slot] === stamp) return slot
    }
    return -1
  }

  private sort(): void {
    const { entries, stamp } = this.table
    this.slots = entries.filter((slot) => this.table.isFree(slot))
    this.slots.sort((a, b) => stamp[a]! - stamp[b]! || a - b)
    this.stamps = this.slots.map((slot) => stamp[slot]!)
    this.position = 0
  }
}
