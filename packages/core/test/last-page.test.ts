import { windowPage } from '@xmc/interface'
import { expect, it } from 'vitest'
import { testPage } from './doubles/guest-double.ts'
import { AT_ONCE, pages, setUp, setUpGrants, small } from './doubles/set-up.ts'

const LAST = testPage(2 ** 52 - 1)
const BEFORE = testPage(2 ** 52 - 2)
const FIRST = testPage(0)
const refused = expect.objectContaining({ code: 'ERR_XMC_ARGUMENT' })

/** A cache over foreign memory in each mode, and one over grants. */
const CACHES = [
  ['foreign memory', () => setUp(small(8))],
  ['foreign memory, at once', () => setUp(small(8), { retention: AT_ONCE })],
  ['grants', () => setUpGrants()],
] as const

it.each(CACHES)('the last page of %s is served to its last byte', async (_, make) => {
  const { cache, double } = make()
  expect(cache.map(LAST, 4095, 1).length).toBe(1)
  expect((await cache.mapAsync(BEFORE, 0, 8192)).length).toBe(8192)
  cache.storeUint8(LAST, 4095, 7)
  cache.read(BEFORE, 1, new Uint8Array(8191))
  expect(cache.loadUint32(LAST, 4092)).toBeGreaterThanOrEqual(0)
  expect(double.misuse).toEqual([])
})

it.each(CACHES)(
  'a range over the last page of %s is refused before anything is done',
  async (_, make) => {
    const { cache, double } = make()
    expect(() => cache.lock(LAST, 4095, 2, 0)).toThrow(refused)
    expect(() => cache.map(BEFORE, 0, 8193)).toThrow(refused)
    await expect(cache.mapAsync(LAST, 1, 4096)).rejects.toEqual(refused)
    expect(() => cache.loadUint16(LAST, 4095)).toThrow(refused)
    expect(() => cache.loadUint32(LAST, 4093)).toThrow(refused)
    expect(() => cache.loadBigUint64(LAST, 4089)).toThrow(refused)
    expect(() => cache.storeUint16(LAST, 4095, 1)).toThrow(refused)
    expect(() => cache.storeUint32(LAST, 4093, 1)).toThrow(refused)
    expect(() => cache.storeBigUint64(LAST, 4089, 1n)).toThrow(refused)
    const target = new Uint8Array(8193).fill(0xee)
    expect(() => cache.read(BEFORE, 0, target)).toThrow(refused)
    expect(target[0]).toBe(0xee)
    expect(() => cache.write(BEFORE, 0, new Uint8Array(8193))).toThrow(refused)
    expect(double.log).toEqual([])
    expect(cache.statistics).toMatchObject({ entries: 0, misses: 0, mapCalls: 0 })
  },
)

it('a translation that leads over the last page is refused', () => {
  const { cache, double } = setUp(small(8), { translate: () => LAST })
  double.punch(0, 8)
  expect(() => cache.lock(FIRST, 0, 8192, 0)).toThrow(refused)
  expect(cache.statistics.locks).toBe(0)
})

it('a replacement over the last page is refused, and changes nothing', () => {
  const { cache, double } = setUp(small(8))
  const place = cache.lock(LAST, 0, 4096, 0)
  double.log.length = 0
  const third = testPage(3)
  expect(() => cache.replace(LAST, third, 2)).toThrow(refused)
  expect(() => cache.replace(third, LAST, 2)).toThrow(refused)
  expect(double.log).toEqual([])
  expect(cache.pageOf(place)).toBe(LAST)
})

it.each([
  ['at-once', AT_ONCE],
  ['keep', undefined],
])('a copy that is longer than the window goes in pieces: %s', (_, retention) => {
  const { cache, double } = setUp(small(2), { retention })
  const start = testPage(3)
  const target = new Uint8Array(40 * 4096)
  cache.read(start, 100, target)
  const words = new DataView(target.buffer)
  const firsts = Array.from({ length: 39 }, (__, nth) => words.getUint32(nth * 4096 + 3996, true))
  expect(firsts).toEqual(Array.from({ length: 39 }, (__, nth) => nth + 4))
  cache.write(start, 0, new Uint8Array(40 * 4096).fill(1))
  expect(double.misuse).toEqual([])
})

it('a copy at once goes in pieces where locked mappings leave no room for all of it', () => {
  const { cache } = setUp(small(3), { retention: AT_ONCE })
  // The middle of the window stays.
  const places = [0, 4, 8].map((page) => cache.lock(testPage(100 + page), 0, 16, 0))
  for (const place of [places[0], places[2]]) cache.unlock(windowPage(place ?? -1), 0)
  const target = new Uint8Array(8 * 4096)
  cache.read(FIRST, 0, target)
  expect(target[7 * 4096]).toBe(7)
  const { length } = cache.mapList(pages(7))
  expect(length).toBe(4096)
  expect(() => cache.lock(FIRST, 0, 8 * 4096, 0)).toThrow(
    expect.objectContaining({ code: 'ERR_XMC_WINDOW_FULL' }),
  )
})
