/**
 * Hands out contiguous slots of a window.
 *
 * A freed slot is used again only after `quarantine` more have been freed, oldest first, so that a
 * stale view meets zeros rather than somebody else's memory; slots that were never used come next,
 * and a slot still in quarantine only when nothing else is left.
 */
export class SlotAllocator {
  readonly slotCount: number
  private readonly quarantine: number
  /** Slots from here on were never used. */
  private fresh = 0
  private freed = 0
  /** When a slot was freed, as a count of frees; 0 while it is in use or fresh. */
  private readonly freedAt: Float64Array
  // Freed slots, oldest first, as a doubly linked list of slot + 1.
  private readonly next: Int32Array
  private readonly previous: Int32Array
  private oldest = 0
  private newest = 0
  /** Where the search for several contiguous slots goes on. */
  private cursor = 0

  constructor(slotCount: number, quarantine: number) {
    this.slotCount = slotCount
    this.quarantine = quarantine
    this.freedAt = new Float64Array(slotCount)
    this.next = new Int32Array(slotCount)
    this.previous = new Int32Array(slotCount)
  }

  /**
   * First of `count` contiguous slots that are now in use, or -1 when there are none. With `again`, a single
   * slot is the one that was freed last, if any, whether it has rested or not.
   */
  allocate(count: number, again: boolean = false): number {
    if (count !== 1) return this.allocateRun(count)
    return again && this.newest !== 0 ? this.takeFreed(this.newest - 1) : this.allocateOne()
  }

  /** Gives `count` slots from `slot` on back. They must be in use. */
  free(slot: number, count: number): void {
    for (let at = slot; at < slot + count; at++) {
      this.freedAt[at] = ++this.freed
      this.previous[at] = this.newest
      this.next[at] = 0
      if (this.newest === 0) this.oldest = at + 1
      else this.next[this.newest - 1] = at + 1
      this.newest = at + 1
    }
  }

  private allocateOne(): number {
    const oldest = this.oldest - 1
    if (oldest >= 0 && this.hasRested(oldest)) return this.takeFreed(oldest)
    if (this.fresh < this.slotCount) return this.fresh++
    return oldest < 0 ? -1 : this.takeFreed(oldest)
  }

  private allocateRun(count: number): number {
    let start = this.findFreedRun(count, true)
    if (start < 0 && this.slotCount - this.fresh >= count) {
      start = this.fresh
      this.fresh += count
      return start
    }
    if (start < 0) start = this.findFreedRun(count, false)
    if (start < 0) return -1
    for (let at = start; at < start + count; at++) {
      if (at >= this.fresh) this.fresh = at + 1
      else this.takeFreed(at)
    }
    this.cursor = start + count
    return start
  }

  private findFreedRun(count: number, rested: boolean): number {
    // Without regard to rest, a run may reach into the slots that were never used.
    const end = rested ? this.fresh : this.slotCount
    const from = Math.min(this.cursor, end)
    const found = this.scan(from, end, count, rested)
    return found >= 0 ? found : this.scan(0, Math.min(end, from + count - 1), count, rested)
  }

  private scan(from: number, end: number, count: number, rested: boolean): number {
    let run = 0
    for (let at = from; at < end; at++) {
      const usable = at >= this.fresh || (this.freedAt[at] !== 0 && (!rested || this.hasRested(at)))
      run = usable ? run + 1 : 0
      if (run === count) return at - count + 1
    }
    return -1
  }

  private hasRested(slot: number): boolean {
    return this.freed - this.freedAt[slot]! >= this.quarantine
  }

  private takeFreed(slot: number): number {
    const before = this.previous[slot]!
    const after = this.next[slot]!
    if (before === 0) this.oldest = after
    else this.next[before - 1] = after
    if (after === 0) this.newest = before
    else this.previous[after - 1] = before
    this.freedAt[slot] = 0
    return slot
  }
}
