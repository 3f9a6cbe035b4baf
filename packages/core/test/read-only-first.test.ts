import { LOCK_WRITE } from '@xmc/core'
import { expect, it } from 'vitest'
import { testPage } from './doubles/guest-double.ts'
import { setUp, setUpGrants, small } from './doubles/set-up.ts'

const PAGE = testPage(7)

it.each(['reader', 'writer'])(
  'a reader takes the read-only mapping beside a writable one: %s first',
  (first) => {
    const { cache, double } = setUpGrants()
    const early = cache.lock(PAGE, 0, 16, first === 'writer' ? LOCK_WRITE : 0)
    const writer = first === 'writer' ? early : cache.lock(PAGE, 0, 16, LOCK_WRITE)
    // While the writable one alone is there, a reader takes it: that is no further call.
    const reader = first === 'writer' ? cache.map(PAGE, 0, 16).pointer().windowPage : early
    expect(reader === writer).toBe(first === 'writer')
    expect(double.log.filter((line) => line.startsWith('map'))).toHaveLength(
      first === 'writer' ? 1 : 2,
    )
  },
)

it('no writable mapping outlives its writer, however often it is read meanwhile', () => {
  const { cache, double } = setUpGrants()
  const reader = cache.lock(PAGE, 0, 16, 0)
  const writer = cache.lock(PAGE, 64, 16, LOCK_WRITE)
  expect(writer).not.toBe(reader)
  // By the hit table, by search, and by a range of its own.
  const others = [0, 64, 128].map((offset) => cache.lock(PAGE, offset, 16, 0))
  expect(others).toEqual([reader, reader, reader])
  expect(cache.lock(PAGE, 96, 16, LOCK_WRITE)).toBe(writer)
  double.log.length = 0
  cache.unlock(writer, 64)
  cache.unlock(writer, 96)
  expect(double.log).toEqual(['unmap 1'])
  expect(cache.lock(PAGE, 32, 16, 0)).toBe(reader)
  for (const [nth, place] of others.entries()) cache.unlock(place, nth * 64)
  cache.unlock(reader, 32)
  cache.unlock(reader, 0)
  expect(cache.statistics).toMatchObject({ locks: 0, entries: 0 })
})

it('a reader goes on with the writable mapping when the read-only one has gone', () => {
  const { cache, double } = setUpGrants()
  const reader = cache.lock(PAGE, 0, 16, 0)
  const writer = cache.lock(PAGE, 0, 16, LOCK_WRITE)
  cache.unlock(reader, 0)
  double.log.length = 0
  expect(cache.lock(PAGE, 0, 16, 0)).toBe(writer)
  expect(double.log).toEqual([])
})

it('a search prefers the read-only mapping, too, and a store takes the writable one', () => {
  const far = testPage(2 ** 30)
  const { cache } = setUpGrants({ bucketShift: 12, windowPages: 64 })
  const reader = cache.lock(far, 0, 16, 0)
  const writer = cache.lock(far, 0, 16, LOCK_WRITE)
  expect(cache.lock(far, 0, 16, 0)).toBe(reader)
  expect(cache.lock(far, 0, 16, LOCK_WRITE)).toBe(writer)
  const kept = setUp({ ...small(8), access: 'as-requested' })
  kept.cache.loadUint8(PAGE, 0)
  kept.cache.storeUint8(PAGE, 0, 1)
  kept.cache.loadUint8(PAGE, 0)
  expect(kept.double.log).toEqual(['map 4+4 ro', 'map 4+4 rw'])
})

it('keeps the bucket that an access used last where locked mappings alone exceed the budget', () => {
  const budgetBytes = 2 * 4 * 4096
  const { cache, double } = setUp(small(16), { retention: { kind: 'keep', budgetBytes } })
  const locked = [10, 20, 30].map((bucket) => cache.lock(testPage(bucket * 4), 0, 16, 0))
  double.log.length = 0
  for (let round = 0; round < 50; round++) {
    expect(cache.loadUint32(testPage(1), 0)).toBe(1)
    // Releases and locks of others do not take it.
    const other = cache.lock(testPage(200 + (round % 4) * 4), 0, 16, 0)
    cache.unlock(other, 0)
  }
  expect(double.log.filter((line) => line === 'map 0+4 rw')).toHaveLength(1)
  // Another bucket takes its place.
  cache.loadUint32(testPage(9), 0)
  cache.loadUint32(testPage(1), 0)
  expect(double.log.filter((line) => line === 'map 0+4 rw')).toHaveLength(2)
  expect(cache.statistics.mappedPages).toBe(4 * 4)
  for (const place of locked) cache.unlock(place, 0)
  expect(cache.statistics.mappedPages).toBe(2 * 4)
})
