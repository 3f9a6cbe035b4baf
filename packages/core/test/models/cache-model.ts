import assert from 'node:assert/strict'
import diagnostics from 'node:diagnostics_channel'
import { MapCache, type MapCacheOptions, type RamListener } from '@xmc/core'
import { type WindowPage, windowPage, XmcError } from '@xmc/interface'
import { GuestDouble, HOLE, type TestPage } from '../doubles/guest-double.ts'

/** Pages of a bucket. */
export const BUCKET = 4
/** Buckets of the window. */
const SLOTS = 6

/** What a page that somebody has locked must hold. */
interface Expected {
  page: number
  /** The guest's page, zeros, or either, since the page may be mapped again by a later request. */
  state: 'guest' | 'zeros' | 'either'
}

/** A lock that was given and not taken back. */
export interface Lock {
  readonly place: WindowPage
  readonly offset: number
  readonly contents: Expected[]
  /** Slots of the window that its mapping takes. */
  readonly slot: number
  readonly slotCount: number
  /** Number of its first bucket; -1 for a list. */
  index: number
  /** Hidden by a full invalidation; maybe, if one ran while the lock was asked for. */
  retired: 'yes' | 'no' | 'maybe'
  readonly flags: number
}

/** What a lock is asked for. */
export interface Range {
  readonly page: number
  readonly offset: number
  readonly length: number
  readonly flags: number
}

/** Pages of a range. */
export function countOf({ offset, length }: Range): number {
  return length === 0 ? 1 : Math.floor((offset + length - 1) / 4096) + 1
}

/** How a cache under test is made. */
export interface Kind {
  readonly access: 'read-write' | 'as-requested'
  readonly pinned: boolean
  /** Buckets to keep, or at once. */
  readonly keep: number | undefined
  readonly translate: boolean
}

/**
 * Runs a cache over a guest, and knows what must be true of it: what is locked where, and what those
 * pages hold. It knows nothing of buckets that nobody has locked, of hits and of eviction.
 */
export class CacheModel {
  readonly cache: MapCache<TestPage, GuestDouble>
  readonly double: GuestDouble
  readonly locks: Lock[] = []
  /** Pointers whose last lock was taken back. */
  readonly released: { place: WindowPage; offset: number }[] = []
  private readonly kind: Kind
  private readonly lost: { windowPage: number; pageCount: number }[] = []
  private readonly present: Map<number, number> = new Map()
  /** Asynchronous requests were made: several at a time may have gone beyond the budget together. */
  hasAsynchronous = false
  /** Full invalidations so far. */
  invalidations = 0
  private everArrived = false
  private unbalanced = 0

  constructor(kind: Kind) {
    this.kind = kind
    this.double = new GuestDouble({
      windowPages: SLOTS * BUCKET,
      bucketShift: 14,
      access: kind.access,
      pinned: kind.pinned,
    })
    const options: MapCacheOptions<TestPage, GuestDouble> = {
      backend: this.double,
      quarantineBytes: 2 * BUCKET * 4096,
      retention:
        kind.keep === undefined
          ? { kind: 'at-once' }
          : { kind: 'keep', budgetBytes: kind.keep * BUCKET * 4096 },
      translate: kind.translate ? (page) => page + 100 * BUCKET : undefined,
    }
    this.cache = new MapCache(options)
    const listener: RamListener = {
      added: (place, pageCount) => {
        if (this.present.has(place)) this.unbalanced++
        this.present.set(place, pageCount)
      },
      removed: (place, pageCount) => {
        if (this.present.get(place) !== pageCount) this.unbalanced++
        this.present.delete(place)
      },
    }
    this.cache.addRamListener(listener)
    diagnostics.subscribe('xmc_unmap_failed', this.noteLost)
  }

  /** Lets dummies be given from now on, or no more. */
  setArriving(arriving: boolean): void {
    this.cache.guestArriving = arriving
    if (arriving) this.everArrived = true
  }

  /**
   * Notes a lock on a run, and what its pages hold, which must be right. `asked` are the invalidations
   * when it was asked for.
   */
  took(place: WindowPage, range: Range, asked: number = this.invalidations): void {
    const { page, offset, flags } = range
    const count = countOf(range)
    const first = this.cache.pageOf(place)
    // A translation keeps the place in the bucket.
    assert.ok(first === page || (this.kind.translate && first === page + 100 * BUCKET))
    const contents = Array.from({ length: count }, (_, nth) => this.seen(place + nth, first + nth))
    if (!this.everArrived || this.kind.pinned) {
      assert.ok(contents.every(({ state }) => state === 'guest'))
    }
    const inBucket = first % BUCKET
    const slotCount = Math.ceil((inBucket + count) / BUCKET)
    const slot = (place - inBucket) / BUCKET
    const index = (first - inBucket) / BUCKET
    const retired = asked === this.invalidations ? 'no' : 'maybe'
    this.locks.push({ place, offset, contents, slot, slotCount, index, retired, flags })
  }

  /** Notes a lock on a list. */
  tookList(place: WindowPage, pages: readonly number[], flags: number): void {
    const contents = pages.map((page, nth) => this.seen(place + nth, page))
    assert.ok(contents.every(({ state }) => state === 'guest'))
    const slotCount = Math.ceil(pages.length / BUCKET)
    const slot = place / BUCKET
    this.locks.push({
      place,
      offset: 0,
      contents,
      slot,
      slotCount,
      index: -1,
      retired: 'no',
      flags,
    })
  }

  /** Takes the nth lock off the books. */
  takeBack(nth: number): Lock | undefined {
    const [lock] = this.locks.splice(nth % Math.max(1, this.locks.length), 1)
    if (lock === undefined) return undefined
    const same = (other: Lock): boolean =>
      other.place === lock.place && other.offset === lock.offset
    if (!this.locks.some(same)) this.released.push({ place: lock.place, offset: lock.offset })
    return lock
  }

  /** Locks whose mappings hold nothing of the guest: a full invalidation leaves them as they are (S42). */
  empty(): Lock[] {
    return this.locks.filter((lock) => !this.isMapped(lock))
  }

  /** Notes that everything was invalidated; `empty` are the locks that were empty before. */
  invalidated(empty: readonly Lock[]): void {
    if (this.kind.pinned) return
    this.invalidations++
    for (const lock of this.locks) {
      const isEmpty = !this.isMapped(lock)
      if (empty.includes(lock) !== isEmpty) lock.retired = lock.retired === 'yes' ? 'yes' : 'maybe'
      else if (!isEmpty) lock.retired = 'yes'
    }
  }

  /** Locks whose mapping a replacement at these buckets reaches, unless it is retired. */
  replaceable(index: number, slotCount: number): Lock[] {
    return this.locks.filter(
      (lock) => lock.retired !== 'yes' && lock.index === index && lock.slotCount === slotCount,
    )
  }

  /** Notes that these locks' mappings hold other pages now, missing ones among them. */
  replaced(locks: readonly Lock[], index: number): void {
    for (const lock of locks) {
      for (const expected of lock.contents) {
        expected.page += (index - lock.index) * BUCKET
        // One that is retired has not moved, and its address does not tell that if it would be the same.
        const isKept =
          index === lock.index && lock.retired === 'maybe' && expected.state !== 'guest'
        const isMissing = this.double.missing.has(expected.page)
        expected.state = isMissing || isKept ? 'either' : 'guest'
      }
      lock.index = index
    }
  }

  /** Notes that these locks' mappings were removed by a replacement that failed; they must show zeros. */
  replaceFailed(locks: readonly Lock[]): void {
    for (const lock of locks) {
      for (const [nth, expected] of lock.contents.entries()) {
        assert.equal(this.seen(lock.place + nth, expected.page).state, 'zeros')
        if (expected.state === 'guest') expected.state = 'either'
      }
    }
  }

  /** Whether there are so many contiguous slots that neither a lock nor a failed unmap holds. */
  hasRoom(slotCount: number): boolean {
    const used = Array.from({ length: SLOTS }, () => false)
    for (const lock of this.locks) used.fill(true, lock.slot, lock.slot + lock.slotCount)
    for (const place of this.lost) {
      const first = Math.floor(place.windowPage / BUCKET)
      used.fill(true, first, Math.ceil((place.windowPage + place.pageCount) / BUCKET))
    }
    return used.some((_, slot) => {
      const run = used.slice(slot, slot + slotCount)
      return run.length === slotCount && !run.includes(true)
    })
  }

  /** Whether the guest has all these pages, where they are or where they are translated to. */
  has(page: number, count: number): boolean {
    const isThere = (first: number): boolean =>
      Array.from({ length: count }, (_, nth) => first + nth).every(
        (at) => !this.double.missing.has(at),
      )
    return isThere(page) || (this.kind.translate && isThere(page + 100 * BUCKET))
  }

  /** Numbers that a page may be seen to start with when it is read. */
  mayBe(page: number): number[] {
    const guest = this.kind.translate ? [page, page + 100 * BUCKET] : [page]
    const zeros = this.everArrived && !this.kind.pinned ? [0] : []
    return [...guest.map((number) => number % 2 ** 32), ...zeros]
  }

  /** Checks everything that must be true at any moment; all of it if no request is under way. */
  check(isQuiet: boolean = true): void {
    const { cache, double } = this
    const { locks, entries, lockedEntries, mappedPages } = cache.statistics
    assert.deepEqual(double.misuse, [])
    assert.equal(this.unbalanced, 0)
    assert.equal(this.present.size, entries)
    if (isQuiet) assert.equal(locks, this.locks.length)
    else assert.ok(locks >= this.locks.length)
    for (const lock of this.locks) {
      for (const [nth, { page, state }] of lock.contents.entries()) {
        const place = windowPage(lock.place + nth)
        assert.equal(cache.pageOf(place), page)
        const seen = this.seen(place, page)
        if (state !== 'either') assert.equal(seen.state, state)
      }
    }
    for (const { place, offset } of isQuiet ? this.released : []) {
      if (this.locks.some((lock) => lock.place === place && lock.offset === offset)) continue
      assert.throws(
        () => {
          cache.unlock(place, offset)
        },
        { code: 'ERR_XMC_NOT_LOCKED' },
      )
    }
    if (this.kind.keep !== undefined && !this.hasAsynchronous) {
      // The mapping that an access without a lock has just used may be one too many, and stays beside the next
      // one where that, or what is locked, leaves no room in the budget.
      assert.ok(mappedPages <= this.kind.keep * BUCKET || entries <= lockedEntries + 2)
    } else if (this.kind.keep === undefined && this.kind.pinned && isQuiet) {
      assert.equal(entries, lockedEntries)
    }
  }

  /** Takes back every lock, closes the cache, and checks that nothing is left. */
  end(): void {
    const { cache, double } = this
    double.failNextMap = undefined
    double.failNextUnmap = false
    while (this.locks.length > 0) {
      const lock = this.takeBack(0)
      if (lock !== undefined) cache.unlock(lock.place, lock.offset)
    }
    this.check()
    cache.close()
    assert.deepEqual([...double.mapped.entries()], [])
    assert.deepEqual(double.misuse, [])
    assert.equal(this.present.size, 0)
    assert.equal(this.unbalanced, 0)
    const { entries, locks, mappedPages, lostPages } = cache.statistics
    assert.deepEqual([entries, locks, mappedPages, lostPages], [0, 0, 0, 0])
    assert.ok(new Uint8Array(double.window.buffer).every((byte) => byte === 0))
  }

  /** Stops listening. */
  dispose(): void {
    diagnostics.unsubscribe('xmc_unmap_failed', this.noteLost)
  }

  /** Whether the backend has put anything in the place of a lock's mapping that is there still. */
  private isMapped({ slot, slotCount }: Lock): boolean {
    const places = Array.from({ length: slotCount * BUCKET }, (_, nth) => slot * BUCKET + nth)
    return places.some((place) => this.double.mapped.has(place))
  }

  /** What a place of the window holds, which must be a guest page or zeros that may be there. */
  private seen(place: number, page: number): Expected {
    const content = this.cache.view.getUint32(place * 4096, true)
    if (this.double.mapped.get(place) === page) {
      assert.equal(content, page % 2 ** 32)
      return { page, state: 'guest' }
    }
    assert.equal(content, 0)
    assert.ok([undefined, HOLE].includes(this.double.mapped.get(place)))
    return { page, state: 'zeros' }
  }

  private readonly noteLost = (message: unknown): void => {
    if (!isLost(message) || message.cache !== this.cache.name) return
    this.lost.push(message)
  }
}

function isLost(
  message: unknown,
): message is { cache: string; windowPage: number; pageCount: number } {
  return typeof message === 'object' && message !== null && 'windowPage' in message
}

/** The code of an error of xmc, or the error. */
export function codeOf(error: unknown): unknown {
  return error instanceof XmcError ? error.code : error
}
