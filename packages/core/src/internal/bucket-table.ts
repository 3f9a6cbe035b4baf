import type { PageRun } from '@xmc/interface'

/** Bits of {@link BucketTable.flags}. */
export const LIVE = 1
export const WRITABLE = 2
export const DUMMY = 4
export const RETIRED = 8
export const LIST = 16

/** Errno (EIO) of pages in {@link BucketTable.holes} that a failed call removed: nothing is in their place. */
export const REMOVED = 5

/** What a request needs of an entry, and what was found to be missing. */
export interface BucketRequest {
  /** Number of the first bucket: page / pages per bucket. */
  readonly index: number
  /** Buckets that the request spans. */
  readonly bucketCount: number
  /** First requested page, counted from the start of the first bucket. */
  readonly firstPage: number
  /** Last requested page, counted likewise. */
  readonly lastPage: number
  readonly write: boolean
  /** Head slot of an entry that fits but for missing pages, or -1. */
  partial: number
  /** First missing page, counted likewise, and its positive errno; -1 and 0 when none. */
  missingPage: number
  missingErrno: number
}

/**
 * Everything known of the entries in a window: parallel arrays by slot, a slot being as many window
 * pages as a bucket has. An entry is named by its first slot, its head. Entries that can be shared
 * are also found by (index, bucket count); entries of page lists are not.
 *
 * The arrays are as long as the window and zero at first, so that memory is committed with use.
 */
export class BucketTable {
  readonly pagesPerBucket: number
  /** Head slot of the entry that a slot belongs to. Stale once the entry is gone. */
  readonly owner: Int32Array
  /** First guest page of an entry; NaN for a list. */
  readonly firstPage: Float64Array
  readonly bucketCount: Int32Array
  readonly flags: Uint8Array
  /** Locks on an entry. Doubles, since an Int32 could be filled by one page with many offsets. */
  readonly locks: Float64Array
  /** What the engine itself keeps an entry for: calls under way, announcements, releases for a later turn. */
  readonly holds: Uint32Array
  /** When an entry was last used, in epochs. */
  readonly stamp: Float64Array
  /** Memory areas that an entry takes at most: one for each run of pages, and one for each gap. */
  readonly areas: Int32Array
  /** Errno by page of entries that have holes. */
  readonly holes: Map<number, Int32Array> = new Map()
  /** Guest pages of entries that map a list. */
  readonly lists: Map<number, readonly number[]> = new Map()
  /** Entries visited by `find` so far. */
  steps = 0
  /** Whether there are read-only mappings beside writable ones of the same pages. */
  private readonly hasBothKinds: boolean

  // Chains hold slot + 1, so that zero-filled memory means empty.
  private readonly chainHead: Int32Array
  private readonly chainNext: Int32Array
  private readonly chainMask: number
  private readonly live: number[] = []
  private readonly livePosition: Int32Array

  constructor(slotCount: number, pagesPerBucket: number, hasBothKinds: boolean = false) {
    this.hasBothKinds = hasBothKinds
    this.pagesPerBucket = pagesPerBucket
    this.owner = new Int32Array(slotCount)
    this.firstPage = new Float64Array(slotCount)
    this.bucketCount = new Int32Array(slotCount)
    this.flags = new Uint8Array(slotCount)
    this.locks = new Float64Array(slotCount)
    this.holds = new Uint32Array(slotCount)
    this.stamp = new Float64Array(slotCount)
    this.areas = new Int32Array(slotCount)
    let chains = 1
    while (chains < slotCount) chains *= 2
    this.chainHead = new Int32Array(chains)
    this.chainNext = new Int32Array(slotCount)
    this.chainMask = chains - 1
    this.livePosition = new Int32Array(slotCount)
  }

  /** Head slots of all entries, retired ones too. */
  get entries(): readonly number[] {
    return this.live
  }

  /** True for an entry that is there, and that nobody has locked or holds. */
  isFree(slot: number): boolean {
    return this.flags[slot] !== 0 && this.locks[slot] === 0 && this.holds[slot] === 0
  }

  /**
   * Finds an entry that serves `request` in full, a dummy only if nothing else does, or -1; sets
   * `partial` to one that has holes there. Of a read-only and a writable mapping a read gets the read-only one,
   * so that the other, and its pin, can go with its writer.
   */
  find(request: BucketRequest): number {
    let dummy = -1
    let writable = -1
    request.partial = -1
    let slot = this.chainHead[this.hash(request.index, request.bucketCount)]! - 1
    while (slot >= 0) {
      this.steps++
      if (
        this.firstPage[slot] === request.index * this.pagesPerBucket &&
        this.bucketCount[slot] === request.bucketCount &&
        (!request.write || (this.flags[slot]! & WRITABLE) !== 0)
      ) {
        if (!this.covers(slot, request)) request.partial = slot
        else if ((this.flags[slot]! & DUMMY) !== 0) dummy = slot
        else if (this.hasBothKinds && !request.write && (this.flags[slot]! & WRITABLE) !== 0) {
          writable = slot
        } else return slot
      }
      slot = this.chainNext[slot]! - 1
    }
    return writable >= 0 ? writable : dummy
  }

  /** Every entry that `find` may find for requests of these buckets. */
  matching(index: number, bucketCount: number): number[] {
    const found: number[] = []
    let slot = this.chainHead[this.hash(index, bucketCount)]! - 1
    while (slot >= 0) {
      const isThere = this.firstPage[slot] === index * this.pagesPerBucket
      if (isThere && this.bucketCount[slot] === bucketCount) found.push(slot)
      slot = this.chainNext[slot]! - 1
    }
    return found
  }

  /** True when every requested page of the entry is mapped; else notes the first that is missing. */
  covers(slot: number, request: BucketRequest): boolean {
    const errors = this.holes.get(slot)
    return errors === undefined || noMissing(errors, request)
  }

  /** Adds the entry of a run. `errors` says which pages are holes, if any. */
  insertRun(
    slot: number,
    pages: PageRun<number>,
    flags: number,
    stamp: number,
    errors: Int32Array | undefined,
  ): void {
    const bucketCount = pages.count / this.pagesPerBucket
    this.insert(slot, bucketCount, flags, stamp)
    this.firstPage[slot] = pages.first
    if (errors !== undefined) this.holes.set(slot, errors)
    this.countAreas(slot)
    this.link(slot)
  }

  /** Adds the entry of a list, which no request finds. */
  insertList(slot: number, pages: readonly number[], flags: number, stamp: number): void {
    this.insert(slot, Math.ceil(pages.length / this.pagesPerBucket), flags | LIST, stamp)
    this.firstPage[slot] = Number.NaN
    this.lists.set(slot, pages)
  }

  /** Takes an entry out; its slots are free for another afterwards. */
  remove(slot: number): void {
    this.unlink(slot)
    this.holes.delete(slot)
    this.lists.delete(slot)
    this.flags[slot] = 0
    this.locks[slot] = 0
    this.holds[slot] = 0
    const last = this.live.pop()
    if (last !== undefined && last !== slot) {
      const position = this.livePosition[slot]!
      this.live[position] = last
      this.livePosition[last] = position
    }
  }

  /** Hides an entry from `find`; its locks stay. */
  retire(slot: number): void {
    this.unlink(slot)
    this.flags[slot] = this.flags[slot]! | RETIRED
  }

  /** Gives an entry another guest address, in the same place. */
  moveTo(slot: number, firstPage: number, flags: number, errors: Int32Array | undefined): void {
    this.unlink(slot)
    this.firstPage[slot] = firstPage
    this.flags[slot] = flags
    if (errors === undefined) this.holes.delete(slot)
    else this.holes.set(slot, errors)
    this.countAreas(slot)
    if ((flags & RETIRED) === 0) this.link(slot)
  }

  /** Counts the areas of an entry anew, after its holes have changed. */
  countAreas(slot: number): void {
    const errors = this.holes.get(slot)
    let areas = 2
    if (errors !== undefined) {
      for (let page = 1; page < errors.length; page++) {
        if ((errors[page] === 0) !== (errors[page - 1] === 0)) areas++
      }
    }
    this.areas[slot] = areas
  }

  /** Pages of an entry. */
  pageCount(slot: number): number {
    return this.lists.get(slot)?.length ?? this.bucketCount[slot]! * this.pagesPerBucket
  }

  private insert(slot: number, bucketCount: number, flags: number, stamp: number): void {
    this.owner.fill(slot, slot, slot + bucketCount)
    this.bucketCount[slot] = bucketCount
    this.flags[slot] = flags | LIVE
    this.locks[slot] = 0
    this.holds[slot] = 0
    this.stamp[slot] = stamp
    this.areas[slot] = 2
    this.livePosition[slot] = this.live.length
    this.live.push(slot)
  }

  private link(slot: number): void {
    const chain = this.chainOf(slot)
    this.chainNext[slot] = this.chainHead[chain]!
    this.chainHead[chain] = slot + 1
  }

  private unlink(slot: number): void {
    if ((this.flags[slot]! & (LIST | RETIRED)) !== 0) return
    const chain = this.chainOf(slot)
    let at = this.chainHead[chain]! - 1
    if (at === slot) {
      this.chainHead[chain] = this.chainNext[slot]!
      return
    }
    while (at >= 0) {
      const next = this.chainNext[at]! - 1
      if (next === slot) {
        this.chainNext[at] = this.chainNext[slot]!
        return
      }
      at = next
    }
  }

  private chainOf(slot: number): number {
    return this.hash(this.firstPage[slot]! / this.pagesPerBucket, this.bucketCount[slot]!)
  }

  private hash(index: number, bucketCount: number): number {
    const high = Math.floor(index / 0x1_0000_0000)
    let mixed = (index ^ Math.imul(high, 0x85eb_ca6b) ^ Math.imul(bucketCount, 0x27d4_eb2f)) | 0
    mixed = Math.imul(mixed ^ (mixed >>> 15), 0x2c1b_3c6d)
    return (mixed ^ (mixed >>> 13)) & this.chainMask
  }
}

/** True when no requested page has an errno; else notes the first that has. */
export function noMissing(errors: Int32Array, request: BucketRequest): boolean {
  for (let page = request.firstPage; page <= request.lastPage; page++) {
    const errno = errors[page]!
    if (errno !== 0) {
      request.missingPage = page
      request.missingErrno = errno
      return false
    }
  }
  return true
}

/** Number of the bucket that a page lies in. */
export function bucketOf(page: number, pagesPerBucket: number): number {
  return Math.floor(page / pagesPerBucket)
}

/** The errors of a map if any page failed. */
export function holesOf(errors: Int32Array): Int32Array | undefined {
  for (let page = 0; page < errors.length; page++) {
    if (errors[page] !== 0) return errors
  }
  return undefined
}
