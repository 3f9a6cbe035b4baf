import { DEFAULT_BUDGET_BYTES, PagesMissingError } from '@xmc/core'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { checkRetention } from '../src/retention.ts'
import { testPage } from './doubles/guest-double.ts'
import { AT_ONCE, pages, setUp, setUpGrants, small } from './doubles/set-up.ts'

/** First pages of the buckets that are mapped. */
function bucketsOf(mapped: ReadonlyMap<number, number>): number[] {
  const buckets = new Set([...mapped.values()].map((page) => page - (page % 4)))
  return [...buckets].toSorted((a, b) => a - b)
}

describe('DEFAULT_BUDGET_BYTES', () => {
  it('is 1 GiB', () => {
    expect(DEFAULT_BUDGET_BYTES).toBe(1_073_741_824)
  })
})

describe('checkRetention', () => {
  it.each([
    { kind: 'at-once' } as const,
    { kind: 'keep', budgetBytes: 1 } as const,
    { kind: 'keep', budgetBytes: Number.MAX_SAFE_INTEGER, idleMilliseconds: 0.5 } as const,
    { kind: 'keep', budgetBytes: 4096, idleMilliseconds: 2 ** 31 - 1 } as const,
    { kind: 'keep', budgetBytes: 4096, idleMilliseconds: undefined } as const,
  ])('accepts and gives back %o', (retention) => {
    expect(checkRetention(retention)).toBe(retention)
  })

  it.each([0, -1, 1.5, Number.NaN, 2 ** 53])('refuses a budget of %d', (budgetBytes) => {
    expect(() => checkRetention({ kind: 'keep', budgetBytes })).toThrow(
      `retention.budgetBytes: expected a positive safe integer, got ${budgetBytes}`,
    )
  })

  it.each([0, -1, Number.NaN, 2 ** 31])('refuses an idle time of %d', (idleMilliseconds) => {
    expect(() => checkRetention({ kind: 'keep', budgetBytes: 1, idleMilliseconds })).toThrow(
      `retention.idleMilliseconds: expected a number above 0 and below 2^31, got ${idleMilliseconds}`,
    )
  })
})

describe('Retention', () => {
  it('keeps up to 1 GiB by default, and nothing of pinned pages', () => {
    expect(DEFAULT_BUDGET_BYTES).toBe(2 ** 30)
    const foreign = setUp(small(8))
    foreign.cache.map(testPage(0), 0, 1).release()
    expect(foreign.double.mapped.size).toBe(4)
    const grants = setUpGrants()
    grants.cache.map(testPage(0), 0, 1).release()
    expect(grants.double.mapped.size).toBe(0)
  })

  it('keeps no more than the budget, rounded up to buckets, least recently used first to go', () => {
    const { cache, double } = setUp(small(8), {
      retention: { kind: 'keep', budgetBytes: 2 * 16_384 + 1 },
    })
    for (const page of [0, 4, 8]) cache.map(testPage(page), 0, 1).release()
    cache.map(testPage(0), 0, 1).release()
    cache.map(testPage(12), 0, 1).release()
    expect(new Set([...double.mapped.values()].map((page) => page - (page % 4)))).toEqual(
      new Set([0, 8, 12]),
    )
    expect(cache.statistics).toMatchObject({ evictions: 1, mappedPages: 12 })
  })

  it('knows of loads that were hits when it is full', () => {
    const { cache, double } = setUp(small(8), {
      retention: { kind: 'keep', budgetBytes: 2 * 16_384 },
    })
    for (const page of [0, 4, 0, 0, 8]) cache.loadUint8(testPage(page), 0)
    expect(bucketsOf(double.mapped)).toEqual([0, 8])
  })

  it('takes a bucket that was put in the place of another for as recently used as it is', () => {
    const { cache, double } = setUp(small(8), {
      retention: { kind: 'keep', budgetBytes: 2 * 16_384 },
    })
    for (const page of [0, 4]) cache.loadUint8(testPage(page), 0)
    cache.replace(testPage(0), testPage(100), 4)
    for (let nth = 0; nth < 3; nth++) cache.loadUint8(testPage(100), 0)
    cache.loadUint8(testPage(8), 0)
    expect(bucketsOf(double.mapped)).toEqual([8, 100])
  })

  it('gives up what was loaded longest ago when the window is full, with nothing kept', () => {
    const { cache, double } = setUp(small(2), { retention: AT_ONCE })
    for (const page of [0, 4, 0, 8]) cache.loadUint8(testPage(page), 0)
    expect(bucketsOf(double.mapped)).toEqual([0, 8])
  })

  it('lets locked mappings exceed the budget, and falls back to it with their release', () => {
    const { cache, double } = setUp(small(8), { retention: { kind: 'keep', budgetBytes: 16_384 } })
    const mappings = [0, 4, 8].map((page) => cache.map(testPage(page), 0, 1))
    expect(double.mapped.size).toBe(12)
    mappings[0]?.release()
    expect(double.mapped.size).toBe(8)
    mappings[2]?.release()
    expect(double.mapped.size).toBe(4)
    mappings[1]?.release()
    expect([...double.mapped.values()]).toEqual([4, 5, 6, 7])
  })

  it('counts a use by load or store, too', () => {
    const { cache, double } = setUp(small(8), {
      retention: { kind: 'keep', budgetBytes: 3 * 16_384 },
    })
    for (const page of [0, 4, 8]) cache.loadUint8(testPage(page), 0)
    cache.map(testPage(8), 0, 1).release()
    cache.loadUint8(testPage(0), 0)
    cache.loadUint8(testPage(12), 0)
    expect([...double.mapped.values()]).not.toContain(4)
    expect([...double.mapped.values()]).toContain(0)
  })

  it('S89 keeps mappings of several sizes of one bucket side by side', () => {
    const { cache, double } = setUp({ windowPages: 8192 })
    for (let nth = 0; nth < 100; nth++) {
      cache.map(testPage(0), 0, 16).release()
      cache.map(testPage(0), 0, 2 ** 21).release()
    }
    expect(double.log).toEqual(['map 0+256 rw', 'map 0+512 rw'])
  })

  it('S14 S15 S16 unmaps at once, or when another bucket of the class takes the place', () => {
    const { cache, double } = setUp({}, { retention: AT_ONCE })
    cache.loadUint8(testPage(0), 0)
    cache.loadUint8(testPage(0x80_0000), 0)
    expect(double.log).toEqual(['map 0+256 rw', 'unmap 256', 'map 8388608+256 rw'])
    const { cache: other, double: guest } = setUp({}, { retention: AT_ONCE })
    const place = other.lock(testPage(0), 0, 16, 0)
    other.loadUint8(testPage(0x80_0000), 0)
    other.read(testPage(0), 0x40, new Uint8Array(16))
    expect(guest.log).toEqual(['map 0+256 rw', 'map 8388608+256 rw'])
    other.loadUint8(testPage(0x100_0000), 0)
    expect(guest.log.slice(2)).toEqual(['unmap 256', 'map 16777216+256 rw'])
    other.unlock(place, 0)
    expect(guest.log.slice(4)).toEqual(['unmap 256'])
  })

  it('S23 maps a bucket with holes anew in a cache that unmaps at once', () => {
    const { cache, double } = setUp({}, { retention: AT_ONCE })
    double.punch(16, 16)
    cache.lock(testPage(0), 0, 4096, 0)
    expect(() => cache.lock(testPage(16), 0, 4096, 0)).toThrow(PagesMissingError)
    expect(double.log).toEqual(['map 0+256 rw', 'map 0+256 rw'])
    expect(cache.statistics).toMatchObject({ entries: 2, lockedEntries: 1 })
  })

  it('keeps persistent grants under a cap', () => {
    const { cache, double } = setUpGrants(
      {},
      { retention: { kind: 'keep', budgetBytes: 2 * 4096 } },
    )
    for (const page of [1, 2, 1, 3]) cache.map(testPage(page), 0, 16).release()
    expect(double.log).toEqual(['map 1+1 ro', 'map 2+1 ro', 'unmap 1', 'map 3+1 ro'])
    expect([...double.mapped.values()].toSorted((a, b) => a - b)).toEqual([1, 3])
    // A kept grant serves unlocked access, and is not taken by an invalidation.
    expect(cache.loadUint32(testPage(1), 0)).toBe(1)
    expect(double.log).toHaveLength(4)
    const list = cache.mapList(pages(5, 6))
    list.release()
    expect(double.log.at(-1)).toBe('unmap 2')
    cache.close()
    expect(double.mapped.size).toBe(0)
  })

  it('flushes persistent grants', () => {
    const { cache, double } = setUpGrants(
      {},
      { retention: { kind: 'keep', budgetBytes: 4096 * 8 } },
    )
    for (const page of [1, 2]) cache.map(testPage(page), 0, 16, { write: true }).release()
    expect(double.mapped.size).toBe(2)
    expect(cache.flush()).toBe(2)
    expect(double.mapped.size).toBe(0)
  })
})

describe('Retention.idleMilliseconds', () => {
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
  })

  afterEach(() => {
    vi.useRealTimers()
  })

  const idle = { kind: 'keep', budgetBytes: 2 ** 20, idleMilliseconds: 1000 } as const

  it('unmaps what was not used for that long, soon after', () => {
    const { cache, double } = setUp(small(8), { retention: idle })
    cache.map(testPage(0), 0, 1).release()
    vi.advanceTimersByTime(999)
    expect(double.mapped.size).toBe(4)
    vi.advanceTimersByTime(502)
    expect(double.mapped.size).toBe(0)
    expect(cache.statistics.evictions).toBe(1)
    cache.close()
  })

  it('counts from the last use, whenever it looks', () => {
    const { cache, double } = setUp(small(8), { retention: idle })
    cache.map(testPage(0), 0, 1).release()
    vi.advanceTimersByTime(499)
    cache.loadUint8(testPage(0), 0)
    vi.advanceTimersByTime(999)
    expect(double.mapped.size).toBe(4)
    vi.advanceTimersByTime(501)
    expect(double.mapped.size).toBe(0)
    cache.close()
  })

  it('leaves what was used meanwhile, by a lock, a load or a store', () => {
    const { cache, double } = setUp(small(8), { retention: idle })
    for (const page of [0, 4, 8, 12]) cache.map(testPage(page), 0, 1).release()
    for (let nth = 0; nth < 8; nth++) {
      vi.advanceTimersByTime(400)
      cache.map(testPage(0), 0, 1).release()
      cache.loadUint8(testPage(4), 0)
      cache.storeUint8(testPage(8), 0, 1)
    }
    expect([...double.mapped.values()].filter((page) => page % 4 === 0)).toEqual([0, 4, 8])
    vi.advanceTimersByTime(1501)
    expect(double.mapped.size).toBe(0)
    cache.close()
  })

  it('leaves what is locked, until it is unlocked that long', () => {
    const { cache, double } = setUp(small(8), { retention: idle })
    const mapping = cache.map(testPage(0), 0, 1)
    vi.advanceTimersByTime(10_000)
    expect(mapping.readUint8(0)).toBe(0)
    expect(double.mapped.size).toBe(4)
    mapping.release()
    vi.advanceTimersByTime(900)
    expect(double.mapped.size).toBe(4)
    vi.advanceTimersByTime(601)
    expect(double.mapped.size).toBe(0)
    cache.close()
  })

  it('unmaps persistent grants that are idle', () => {
    const { cache, double } = setUpGrants({}, { retention: idle })
    cache.map(testPage(7), 0, 1).release()
    expect(double.mapped.size).toBe(1)
    vi.advanceTimersByTime(1501)
    expect(double.mapped.size).toBe(0)
    cache.close()
  })

  it('ends with close', () => {
    const { cache } = setUp(small(8), { retention: idle })
    expect(vi.getTimerCount()).toBe(1)
    cache.close()
    expect(vi.getTimerCount()).toBe(0)
  })
})

describe('the mapping that an access used last', () => {
  it('does not save others from going when the budget is short', () => {
    const { cache } = setUp(small(6), { retention: { kind: 'keep', budgetBytes: 2 * 16_384 } })
    cache.unlock(cache.lock(testPage(101), 0, 0, 0), 0)
    cache.loadUint8(testPage(1), 0)
    cache.unlock(cache.lock(testPage(104), 0, 0, 0), 0)
    // Two buckets in one piece take the whole budget.
    cache.lock(testPage(22), 0, 3 * 4096, 0)
    expect(cache.statistics).toMatchObject({ entries: 1, mappedPages: 8 })
  })
})
