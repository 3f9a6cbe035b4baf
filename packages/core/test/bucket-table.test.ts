import { describe, expect, it } from 'vitest'
import {
  type BucketRequest,
  BucketTable,
  bucketOf,
  DUMMY,
  holesOf,
  LIST,
  LIVE,
  noMissing,
  RETIRED,
  WRITABLE,
} from '../src/internal/bucket-table.ts'

const PAGES_PER_BUCKET = 4

function request(index: number, changes: Partial<BucketRequest> = {}): BucketRequest {
  return {
    index,
    bucketCount: 1,
    firstPage: 0,
    lastPage: 0,
    write: false,
    partial: -1,
    missingPage: -1,
    missingErrno: 0,
    ...changes,
  }
}

/** A table of 4-page buckets. */
function tableOf(slotCount = 16): BucketTable {
  return new BucketTable(slotCount, PAGES_PER_BUCKET)
}

/** Enters buckets `index` and on, `bucketCount` of them, at `slot`. */
function enter(
  table: BucketTable,
  slot: number,
  index: number,
  options: { bucketCount?: number; flags?: number; errors?: Int32Array } = {},
): void {
  const { bucketCount = 1, flags = 0, errors } = options
  const first = index * PAGES_PER_BUCKET
  table.insertRun(slot, { first, count: bucketCount * PAGES_PER_BUCKET }, flags, 0, errors)
}

describe('BucketTable', () => {
  it('finds nothing in an empty table', () => {
    const table = tableOf()
    expect(table.find(request(0))).toBe(-1)
    expect(table.entries).toEqual([])
  })

  it('finds an entry by its index and size', () => {
    const table = tableOf()
    enter(table, 2, 7)
    enter(table, 4, 7, { bucketCount: 2 })
    expect(table.find(request(7))).toBe(2)
    expect(table.find(request(7, { bucketCount: 2 }))).toBe(4)
    expect(table.find(request(7, { bucketCount: 3 }))).toBe(-1)
    expect(table.find(request(6))).toBe(-1)
  })

  it('M2 finds a writable entry for both kinds of request, a read-only one for reads', () => {
    const table = tableOf()
    enter(table, 0, 7)
    expect(table.find(request(7, { write: true }))).toBe(-1)
    expect(table.find(request(7))).toBe(0)
    enter(table, 1, 7, { flags: WRITABLE })
    expect(table.find(request(7, { write: true }))).toBe(1)
    table.remove(0)
    expect(table.find(request(7))).toBe(1)
  })

  it('M5 keeps the other entries of a chain when one goes, whichever it is', () => {
    for (const gone of [0, 1, 2]) {
      const table = tableOf(4)
      const indexes = collidingIndexes(table, 3)
      for (const [slot, index] of indexes.entries()) enter(table, slot, index)
      table.remove(gone)
      const found = indexes.map((index) => table.find(request(index)))
      expect(found).toEqual([0, 1, 2].map((slot) => (slot === gone ? -1 : slot)))
    }
  })

  it('finds indexes apart that are equal in their low 32 bits', () => {
    const table = tableOf()
    enter(table, 0, 5)
    enter(table, 1, 5 + 2 ** 32)
    enter(table, 2, 5 + 2 ** 49)
    expect(table.find(request(5))).toBe(0)
    expect(table.find(request(5 + 2 ** 32))).toBe(1)
    expect(table.find(request(5 + 2 ** 49))).toBe(2)
    expect(table.find(request(5 + 2 ** 33))).toBe(-1)
  })

  it('S22 finds an entry with holes for the pages that it has', () => {
    const table = tableOf()
    enter(table, 3, 7, { errors: Int32Array.of(0, 22, 0, 2) })
    expect(table.find(request(7, { firstPage: 2, lastPage: 2 }))).toBe(3)
    const missing = request(7, { firstPage: 0, lastPage: 3 })
    expect(table.find(missing)).toBe(-1)
    expect(missing).toMatchObject({ partial: 3, missingPage: 1, missingErrno: 22 })
    const last = request(7, { firstPage: 3, lastPage: 3 })
    expect(table.find(last)).toBe(-1)
    expect(last).toMatchObject({ partial: 3, missingPage: 3, missingErrno: 2 })
  })

  it('forgets the holes of an entry that goes', () => {
    const table = tableOf()
    enter(table, 3, 7, { errors: Int32Array.of(22, 22, 22, 22) })
    table.remove(3)
    enter(table, 3, 8)
    expect(table.find(request(8, { lastPage: 3 }))).toBe(3)
  })

  it('does not give a read-only entry with holes as partial to a writer', () => {
    const table = tableOf()
    enter(table, 3, 7, { errors: Int32Array.of(22, 0, 0, 0) })
    const writer = request(7, { write: true })
    expect(table.find(writer)).toBe(-1)
    expect(writer.partial).toBe(-1)
  })

  it('forgets the partial entry of an earlier search', () => {
    const table = tableOf()
    enter(table, 3, 7, { errors: Int32Array.of(22, 0, 0, 0) })
    const twice = request(7)
    table.find(twice)
    expect(twice.partial).toBe(3)
    table.remove(3)
    expect(table.find(twice)).toBe(-1)
    expect(twice.partial).toBe(-1)
  })

  it('names the head of every slot of an entry', () => {
    const table = tableOf()
    enter(table, 2, 7, { bucketCount: 3 })
    expect([...table.owner.subarray(0, 6)]).toEqual([0, 0, 2, 2, 2, 0])
    expect(table.pageCount(2)).toBe(12)
    expect(table.firstPage[2]).toBe(28)
  })

  it('keeps lists out of every search', () => {
    const table = tableOf()
    table.insertList(2, [28, 29, 30, 31, 99], WRITABLE, 5)
    expect(table.find(request(7))).toBe(-1)
    expect(table.find(request(7, { bucketCount: 2 }))).toBe(-1)
    expect(table.flags[2]).toBe(LIVE | WRITABLE | LIST)
    expect(table.firstPage[2]).toBeNaN()
    expect(table.bucketCount[2]).toBe(2)
    expect(table.pageCount(2)).toBe(5)
    expect(table.stamp[2]).toBe(5)
    expect(table.lists.get(2)).toEqual([28, 29, 30, 31, 99])
    table.remove(2)
    expect(table.lists.size).toBe(0)
    expect(table.flags[2]).toBe(0)
    expect(table.entries).toEqual([])
  })

  it('hides a retired entry and keeps its locks', () => {
    const table = tableOf()
    enter(table, 2, 7, { flags: WRITABLE })
    table.locks[2] = 3
    table.retire(2)
    table.retire(2)
    expect(table.find(request(7))).toBe(-1)
    expect(table.entries).toEqual([2])
    expect(table.locks[2]).toBe(3)
    expect(table.flags[2]).toBe(LIVE | WRITABLE | RETIRED)
    enter(table, 3, 7)
    table.remove(2)
    expect(table.find(request(7))).toBe(3)
    expect(table.entries).toEqual([3])
  })

  it('S42 moves an entry to another address in the same place', () => {
    const table = tableOf()
    enter(table, 2, 7)
    table.locks[2] = 1
    table.moveTo(2, 40, LIVE | WRITABLE, undefined)
    expect(table.find(request(7))).toBe(-1)
    expect(table.find(request(10, { write: true }))).toBe(2)
    expect(table.locks[2]).toBe(1)
  })

  it('takes over and drops holes with a move', () => {
    const table = tableOf()
    enter(table, 2, 7)
    table.moveTo(2, 40, LIVE, Int32Array.of(22, 0, 0, 0))
    expect(table.find(request(10))).toBe(-1)
    table.moveTo(2, 28, LIVE, undefined)
    expect(table.find(request(7))).toBe(2)
    expect(table.holes.size).toBe(0)
  })

  it('moves a retired entry without showing it again', () => {
    const table = tableOf()
    enter(table, 2, 7)
    table.retire(2)
    table.moveTo(2, 40, LIVE | RETIRED, undefined)
    expect(table.find(request(10))).toBe(-1)
    table.remove(2)
    expect(table.entries).toEqual([])
  })

  it('says whether an entry covers a request', () => {
    const table = tableOf()
    enter(table, 2, 7, { errors: Int32Array.of(0, 22, 0, 0) })
    const missing = request(7, { lastPage: 2 })
    expect(table.covers(2, missing)).toBe(false)
    expect(missing).toMatchObject({ missingPage: 1, missingErrno: 22 })
    expect(table.covers(2, request(7, { firstPage: 2, lastPage: 3 }))).toBe(true)
    enter(table, 3, 8)
    expect(table.covers(3, request(8, { lastPage: 3 }))).toBe(true)
  })

  it('lists the entries that are there, after removals in any order', () => {
    const table = tableOf()
    for (const slot of [0, 1, 2, 3, 4]) enter(table, slot, slot)
    table.remove(0)
    table.remove(4)
    table.remove(2)
    expect(table.entries.toSorted((a, b) => a - b)).toEqual([1, 3])
    table.remove(3)
    table.remove(1)
    expect(table.entries).toEqual([])
  })

  it('forgets the locks of an entry that goes', () => {
    const table = tableOf()
    enter(table, 2, 7)
    table.locks[2] = 3
    table.remove(2)
    expect(table.locks[2]).toBe(0)
  })

  it('gives a dummy only when nothing real serves the request', () => {
    for (const dummyFirst of [true, false]) {
      const table = tableOf()
      if (dummyFirst) enter(table, 2, 7, { flags: DUMMY | WRITABLE })
      enter(table, 3, 7, { flags: WRITABLE, errors: Int32Array.of(0, 22, 0, 0) })
      if (!dummyFirst) enter(table, 2, 7, { flags: DUMMY | WRITABLE })
      expect(table.find(request(7))).toBe(3)
      expect(table.find(request(7, { firstPage: 1, lastPage: 1 }))).toBe(2)
      expect(table.find(request(7, { firstPage: 0, lastPage: 3, write: true }))).toBe(2)
    }
  })

  it('lists every entry of the same buckets, but for hidden ones', () => {
    const table = tableOf()
    enter(table, 1, 7)
    enter(table, 2, 7, { flags: WRITABLE, errors: Int32Array.of(0, 22, 0, 0) })
    enter(table, 3, 7)
    enter(table, 4, 8)
    enter(table, 6, 7, { bucketCount: 2 })
    table.retire(3)
    expect(table.matching(7, 1).toSorted((a, b) => a - b)).toEqual([1, 2])
    expect(table.matching(7, 2)).toEqual([6])
    expect(table.matching(9, 1)).toEqual([])
  })

  it('counts the entries it visits', () => {
    const table = tableOf()
    expect(table.steps).toBe(0)
    enter(table, 0, 7)
    table.find(request(7))
    table.find(request(7))
    expect(table.steps).toBe(2)
  })

  it('M1 S88 visits few entries however many there are', () => {
    const table = new BucketTable(4096, 1)
    for (let slot = 0; slot < 4096; slot++) {
      // As grants and frames come: in long runs and in strides.
      const page = slot < 2048 ? 0x4_0000 + slot : 0x10_0000 + slot * 256
      table.insertRun(slot, { first: page, count: 1 }, 0, 0, undefined)
    }
    for (let slot = 0; slot < 4096; slot++) {
      expect(table.find(request(table.firstPage[slot] ?? -1))).toBe(slot)
    }
    expect(table.steps).toBeLessThan(4096 * 3)
  })
})

describe('noMissing', () => {
  it('looks at the requested pages only, and notes the first that is missing', () => {
    const errors = Int32Array.of(1, 0, 0, 22)
    expect(noMissing(errors, request(0, { firstPage: 1, lastPage: 2 }))).toBe(true)
    const all = request(0, { firstPage: 0, lastPage: 3 })
    expect(noMissing(errors, all)).toBe(false)
    expect(all).toMatchObject({ missingPage: 0, missingErrno: 1 })
  })
})

describe('bucketOf', () => {
  it('divides page numbers of any size', () => {
    expect(bucketOf(0, 256)).toBe(0)
    expect(bucketOf(255, 256)).toBe(0)
    expect(bucketOf(256, 256)).toBe(1)
    expect(bucketOf(2 ** 52 - 1, 256)).toBe(2 ** 44 - 1)
    expect(bucketOf(2 ** 52 - 1, 1)).toBe(2 ** 52 - 1)
  })
})

describe('holesOf', () => {
  it('gives the errors of a map in which a page failed, and nothing for one without', () => {
    const errors = Int32Array.of(0, 0, 22)
    expect(holesOf(errors)).toBe(errors)
    expect(holesOf(Int32Array.of(0, 0))).toBeUndefined()
  })
})

it('counts a memory area for each run of pages of an entry, for each gap, and for the one beside it', () => {
  const table = new BucketTable(8, 4)
  const areas = (...errors: number[]): number | undefined => {
    table.insertRun(0, { first: 0, count: 4 }, 0, 1, Int32Array.from(errors))
    const found = table.areas.at(0)
    table.remove(0)
    return found
  }
  expect(areas(0, 0, 0, 0)).toBe(2)
  expect(areas(22, 0, 0, 0)).toBe(3)
  expect(areas(0, 22, 0, 22)).toBe(5)
  expect(areas(22, 22, 22, 22)).toBe(2)
  const errors = Int32Array.of(0, 22, 0, 0)
  table.insertRun(0, { first: 0, count: 4 }, 0, 1, errors)
  errors[1] = 0
  table.countAreas(0)
  expect(table.areas[0]).toBe(2)
})

/** Indexes of single buckets that share a chain, found by how many entries a search visits. */
function collidingIndexes(table: BucketTable, count: number): number[] {
  const first = 1000
  const colliding = [first]
  for (let index = first + 1; colliding.length < count; index++) {
    enter(table, 0, first)
    const before = table.steps
    table.find(request(index))
    if (table.steps > before) colliding.push(index)
    table.remove(0)
  }
  return colliding
}
