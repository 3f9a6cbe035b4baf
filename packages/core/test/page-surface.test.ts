import {
  ClosedError,
  InvalidArgumentError,
  LOCK_DMA,
  LOCK_WRITE,
  LockLimitError,
  NotLockedError,
  PagedOutError,
  type PageSurface,
  PagesMissingError,
  ReadOnlyError,
  SystemCallError,
  UnmapFailedError,
  WindowFullError,
  windowPage,
  XmcError,
} from '@xmc/core'
import { describe, expect, expectTypeOf, it } from 'vitest'
import { type GuestDouble, type TestPage, testPage } from './doubles/guest-double.ts'
import { contentAt, Gate, settle, setUp, setUpGrants } from './doubles/set-up.ts'

/** A window page that no test has anything at. */
const NOWHERE = windowPage(2 ** 31 - 1)
const AT_ONCE = { kind: 'at-once' } as const
const MIB = 2 ** 20

/** A window of `buckets` buckets of 4 pages. */
const small = (buckets: number): { windowPages: number; bucketShift: number } => ({
  windowPages: buckets * 4,
  bucketShift: 14,
})

describe('PageSurface.lock', () => {
  it('maps the bucket around a page and gives the window page of its first byte', () => {
    const { cache, double } = setUp()
    const place = cache.lock(testPage(0x12), 0x345, 4, 0)
    expect(double.log).toEqual(['map 0+256 rw'])
    expect(place % 256).toBe(0x12)
    expect(contentAt(cache, place)).toBe(0x12)
    expect(contentAt(cache, place + 1)).toBe(0x13)
    expectTypeOf(cache).toExtend<PageSurface<TestPage>>()
  })

  it('S10 S11 finds what is mapped without a call', () => {
    const { cache, double } = setUp()
    const place = cache.lock(testPage(0x12), 0x345, 4, 0)
    expect(cache.lock(testPage(0x12), 0, 4096, 0)).toBe(place)
    expect(cache.lock(testPage(0x20), 0, 0, LOCK_WRITE)).toBe(place + 0xe)
    expect(double.log).toEqual(['map 0+256 rw'])
  })

  it('S13 maps a range over the end of a bucket contiguously', () => {
    const { cache, double } = setUp()
    const place = cache.lock(testPage(0x7_00ff), 0xf80, 512, 0)
    expect(double.log).toEqual(['map 458752+512 rw'])
    expect(contentAt(cache, place)).toBe(0x7_00ff)
    expect(contentAt(cache, place + 1)).toBe(0x7_0100)
    expect(cache.pageOf(place)).toBe(0x7_00ff)
  })

  it('S17 asks with length 0 for the page alone', () => {
    const { cache, double } = setUp()
    double.punch(6, 1)
    const place = cache.lock(testPage(5), 0xfff, 0, 0)
    expect(contentAt(cache, place)).toBe(5)
    expect(double.log).toEqual(['map 0+256 rw'])
    expect(() => cache.lock(testPage(5), 0xfff, 2, 0)).toThrow(PagesMissingError)
  })

  it('stays in one bucket up to its last byte', () => {
    const { cache, double } = setUp()
    cache.lock(testPage(255), 0xff0, 16, 0)
    cache.lock(testPage(0), 0, MIB, 0)
    cache.lock(testPage(255), 0xfff, 0, 0)
    expect(double.log).toEqual(['map 0+256 rw'])
    cache.lock(testPage(255), 0xff0, 17, 0)
    expect(double.log).toEqual(['map 0+256 rw', 'map 0+512 rw'])
  })

  it.each([2 ** 31 - 1, 2 ** 31, 2 ** 32, 2 ** 39 + 17, 2 ** 51, 2 ** 52 - 1])(
    'maps page %d, and finds it again',
    (page) => {
      const { cache, double } = setUp({ bucketShift: 12, windowPages: 8 })
      const place = cache.lock(testPage(page), 8, 8, 0)
      expect(cache.pageOf(place)).toBe(page)
      expect(double.mapped.get(place)).toBe(page)
      expect(cache.lock(testPage(page), 8, 8, 0)).toBe(place)
      expect(double.log).toEqual([`map ${page}+1 rw`])
      cache.unlock(place, 8)
      cache.unlock(place, 8)
      expect(() => {
        cache.unlock(place, 8)
      }).toThrow(NotLockedError)
    },
  )

  it('keeps pages apart that are equal in their low 32 bits', () => {
    const { cache } = setUp()
    const low = cache.lock(testPage(300), 0, 1, 0)
    const high = cache.lock(testPage(300 + 2 ** 32), 0, 1, 0)
    expect(high).not.toBe(low)
    expect(cache.pageOf(low)).toBe(300)
    expect(cache.pageOf(high)).toBe(300 + 2 ** 32)
    expect(cache.lock(testPage(300), 0, 1, 0)).toBe(low)
  })

  it.each([
    ['page', -1, 0, 1],
    ['page', 0.5, 0, 1],
    ['page', Number.NaN, 0, 1],
    ['page', 2 ** 52, 0, 1],
    ['offset', 1, -1, 1],
    ['offset', 1, 4096, 1],
    ['offset', 1, 0.5, 1],
    ['offset', 1, Number.NaN, 1],
    ['length', 1, 0, -1],
    ['length', 1, 0, 0.5],
    ['length', 1, 0, 2 ** 31],
    ['length', 1, 0, Number.NaN],
  ])('refuses a bad %s: page %d, offset %d, length %d', async (field, page, offset, length) => {
    const { cache, double } = setUp()
    cache.lock(testPage(0), 0, 1, 0)
    const bad = unchecked(page)
    const refusal = expect.objectContaining({ code: 'ERR_XMC_ARGUMENT', field })
    expect(() => cache.lock(bad, offset, length, 0)).toThrow(refusal)
    await expect(cache.lockAsync(bad, offset, length, 0)).rejects.toThrow(refusal)
    expect(double.log).toEqual(['map 0+256 rw'])
    expect(cache.statistics.locks).toBe(1)
  })

  it('refuses after close', () => {
    const { cache } = setUp()
    cache.lock(testPage(0), 0, 1, 0)
    cache.close({ force: true })
    expect(() => cache.lock(testPage(0), 0, 1, 0)).toThrow(ClosedError)
  })

  it('refuses to write through a read-only backend', () => {
    const { cache, double } = setUp({ access: 'read-only' })
    expect(() => cache.lock(testPage(0), 0, 1, LOCK_WRITE)).toThrow(ReadOnlyError)
    cache.lock(testPage(0), 0, 1, 0)
    expect(() => cache.lock(testPage(0), 0, 1, LOCK_WRITE)).toThrow(ReadOnlyError)
    expect(double.log).toEqual(['map 0+256 ro'])
  })

  it('M2 S50 never serves a write from a read-only mapping', () => {
    const { cache, double } = setUp({ access: 'as-requested' })
    const reading = cache.lock(testPage(7), 0, 16, 0)
    const writing = cache.lock(testPage(7), 0, 16, LOCK_WRITE)
    expect(double.log).toEqual(['map 0+256 ro', 'map 0+256 rw'])
    expect(writing).not.toBe(reading)
    expect(cache.pageOf(reading)).toBe(7)
    expect(cache.pageOf(writing)).toBe(7)
  })

  it('S51 may serve a read from a writable mapping', () => {
    const { cache, double } = setUp({ access: 'as-requested' })
    const writing = cache.lock(testPage(7), 0, 16, LOCK_WRITE)
    expect(cache.lock(testPage(7), 0, 16, 0)).toBe(writing)
    expect(double.log).toEqual(['map 0+256 rw'])
  })

  it('M7 S33 counts 524,287 locks at one pointer; one more is an error, and nothing has changed', {
    timeout: 60_000,
  }, () => {
    const { cache } = setUp(small(4))
    const place = cache.lock(testPage(1), 16, 4, 0)
    for (let nth = 1; nth < 524_287; nth++) cache.lock(testPage(1), 16, 4, 0)
    expect(() => cache.lock(testPage(1), 16, 4, 0)).toThrow(LockLimitError)
    expect(cache.statistics.locks).toBe(524_287)
    expect(cache.lock(testPage(1), 17, 4, 0)).toBe(place)
    cache.unlock(place, 17)
    for (let nth = 0; nth < 524_287; nth++) cache.unlock(place, 16)
    expect(cache.statistics.locks).toBe(0)
    expect(() => {
      cache.unlock(place, 16)
    }).toThrow(NotLockedError)
  })

  it('fills the window exactly, and says when it is full', () => {
    const { cache, double } = setUp(small(4))
    const places = [0, 4, 8, 12].map((page) => cache.lock(testPage(page), 0, 1, 0))
    expect(places.toSorted((a, b) => a - b)).toEqual([0, 4, 8, 12])
    const full = expect.objectContaining({
      code: 'ERR_XMC_WINDOW_FULL',
      requestedPages: 4,
      windowPages: 16,
    })
    expect(() => cache.lock(testPage(16), 0, 1, 0)).toThrow(full)
    expect(double.log).toHaveLength(4)
    cache.unlock(places[1] ?? NOWHERE, 0)
    expect(cache.lock(testPage(16), 0, 1, 0)).toBe(places[1])
    expect(double.log.slice(4)).toEqual(['unmap 4', 'map 16+4 rw'])
  })

  it('evicts the least recently used mapping when the window is full, never a locked one', () => {
    const { cache, double } = setUp(small(4))
    const first = cache.lock(testPage(0), 0, 1, 0)
    for (const page of [4, 8, 12]) cache.unlock(cache.lock(testPage(page), 0, 1, 0), 0)
    cache.loadUint8(testPage(4), 0)
    cache.lock(testPage(16), 0, 1, 0)
    expect([...double.mapped.values()].toSorted((a, b) => a - b)).toEqual([
      0, 1, 2, 3, 4, 5, 6, 7, 12, 13, 14, 15, 16, 17, 18, 19,
    ])
    expect(contentAt(cache, first + 1)).toBe(1)
  })

  it('evicts until a run of buckets is free', () => {
    const { cache, double } = setUp(small(4))
    for (const page of [0, 4, 8, 12]) cache.unlock(cache.lock(testPage(page), 0, 1, 0), 0)
    const place = cache.lock(testPage(101), 0, 12 * 4096, 0)
    expect(cache.pageOf(place)).toBe(101)
    expect([...double.mapped.values()]).toEqual(expect.arrayContaining([100, 111]))
    expect(cache.statistics.mappedPages).toBe(16)
    expect(double.misuse).toEqual([])
  })

  it('is full when locked mappings leave no room in one piece', () => {
    const { cache } = setUp(small(5))
    const places = [0, 4, 8, 12, 16].map((page) => cache.lock(testPage(page), 0, 1, 0))
    const byPlace = places.toSorted((a, b) => a - b)
    for (const nth of [0, 2, 4]) cache.unlock(byPlace[nth] ?? NOWHERE, 0)
    expect(() => cache.lock(testPage(101), 0, 4 * 4096, 0)).toThrow(WindowFullError)
    cache.unlock(byPlace[1] ?? NOWHERE, 0)
    expect(cache.lock(testPage(101), 0, 4 * 4096, 0)).toBeGreaterThanOrEqual(0)
  })

  it('evicts nothing for a request that no window this size could hold', () => {
    const { cache, double } = setUp(small(4))
    cache.unlock(cache.lock(testPage(0), 0, 1, 0), 0)
    expect(() => cache.lock(testPage(1), 0, 16 * 4096, 0)).toThrow(WindowFullError)
    expect(() => cache.lock(testPage(1), 0, 2 ** 31 - 1, 0)).toThrow(WindowFullError)
    expect(double.log).toEqual(['map 0+4 rw'])
  })

  it('spans the whole window', () => {
    const { cache, double } = setUp(small(4))
    cache.unlock(cache.lock(testPage(0), 0, 1, 0), 0)
    expect(cache.lock(testPage(0), 0, 16 * 4096, 0)).toBe(0)
    expect(double.log).toEqual(['map 0+4 rw', 'unmap 4', 'map 0+16 rw'])
    expect(() => cache.lock(testPage(100), 0, 1, 0)).toThrow(WindowFullError)
  })

  it('S25 says which page is missing and why', () => {
    const { cache, double } = setUp()
    double.punch(0, 256, 3)
    expect(() => cache.lock(testPage(7), 0, 2 * 4096, 0)).toThrow(
      expect.objectContaining({ code: 'ERR_XMC_PAGES_MISSING', page: 7, errno: 3 }),
    )
    expect(double.log).toEqual(['map 0+256 rw', 'unmap 256'])
    expect(cache.statistics.entries).toBe(0)
  })

  it('says that a page is paged out', () => {
    const { cache, double } = setUp()
    double.punch(7, 1, 2)
    expect(() => cache.lock(testPage(7), 0, 1, 0)).toThrow(PagedOutError)
    expect(() => cache.lock(testPage(7), 0, 1, 0)).toThrow(expect.objectContaining({ page: 7 }))
  })

  it('M9 S22 S24 serves the pages beside a hole, and fills the hole in place when it can', () => {
    const { cache, double } = setUp()
    double.punch(16, 16)
    const first = cache.lock(testPage(0), 0, 1, 0)
    expect(() => cache.lock(testPage(0x10), 0, 4096, 0)).toThrow(
      expect.objectContaining({ page: 16, errno: 22 }),
    )
    expect(cache.lock(testPage(0x20), 0, 4096, 0)).toBe(first + 0x20)
    double.populate(16, 16)
    const filled = cache.lock(testPage(0x12), 0, 2 * 4096, 0)
    expect(filled).toBe(first + 0x12)
    expect(contentAt(cache, filled)).toBe(0x12)
    expect(cache.pageOf(filled)).toBe(0x12)
    expect(double.log).toEqual(['map 0+256 rw', 'map 16+1 rw', 'map 18+2 rw'])
    cache.unlock(filled, 0)
    expect(contentAt(cache, first + 1)).toBe(1)
  })

  it('fills several holes of one request by a call for each', () => {
    const { cache, double } = setUp()
    for (const page of [1, 2, 5, 9]) double.punch(page, 1)
    cache.lock(testPage(0), 0, 1, 0)
    double.populate(0, 256)
    cache.lock(testPage(1), 0, 8 * 4096, 0)
    expect(double.log).toEqual(['map 0+256 rw', 'map 1+2 rw', 'map 5+1 rw'])
    cache.lock(testPage(9), 0, 1, 0)
    cache.lock(testPage(9), 16, 1, 0)
    expect(double.log.slice(3)).toEqual(['map 9+1 rw'])
  })

  it('keeps what it could fill when another hole stays', () => {
    const { cache, double } = setUp()
    for (const page of [1, 5]) double.punch(page, 1)
    cache.lock(testPage(0), 0, 1, 0)
    double.populate(1, 1)
    expect(() => cache.lock(testPage(1), 0, 5 * 4096, 0)).toThrow(
      expect.objectContaining({ page: 5 }),
    )
    const place = cache.lock(testPage(1), 0, 4096, 0)
    expect(contentAt(cache, place)).toBe(1)
    expect(double.log).toEqual(['map 0+256 rw', 'map 1+1 rw', 'map 5+1 rw'])
  })

  it('passes on the error of a backend that mapped nothing, and can try again', () => {
    const { cache, double } = setUp(small(1))
    double.failNextMap = 12
    expect(() => cache.lock(testPage(1), 0, 1, 0)).toThrow(SystemCallError)
    expect(cache.statistics).toMatchObject({ entries: 0, locks: 0, mappedPages: 0 })
    expect(cache.lock(testPage(1), 0, 1, 0)).toBe(1)
    expect(double.log).toEqual(['map 0+4 rw', 'map 0+4 rw'])
  })

  it('passes on the error of a hole that could not be filled, and can try again', () => {
    const { cache, double } = setUp(small(1))
    double.punch(2, 1)
    const first = cache.lock(testPage(0), 0, 1, 0)
    double.populate(2, 1)
    double.failNextMap = 12
    expect(() => cache.lock(testPage(2), 0, 1, 0)).toThrow(SystemCallError)
    expect(contentAt(cache, first + 1)).toBe(1)
    expect(cache.statistics.locks).toBe(1)
    expect(contentAt(cache, cache.lock(testPage(2), 0, 1, 0))).toBe(2)
  })

  it('S61 leaves nothing mapped of pinned pages of which one failed', () => {
    const { cache, double } = setUpGrants()
    double.punch(8, 1)
    expect(() => cache.lock(testPage(7), 0, 3 * 4096, 0)).toThrow(
      expect.objectContaining({ code: 'ERR_XMC_PAGES_MISSING', page: 8 }),
    )
    expect(double.log).toEqual(['map 7+3 ro', 'unmap 3'])
    expect(double.mapped.size).toBe(0)
    expect(cache.statistics.entries).toBe(0)
  })
})

describe('PageSurface.lockAsync', () => {
  it('maps as lock does, and hits without a call', async () => {
    const { cache, double } = setUp()
    const place = await cache.lockAsync(testPage(0x12), 0x345, 4, 0)
    expect(contentAt(cache, place)).toBe(0x12)
    expect(await cache.lockAsync(testPage(0x13), 0, 4096, LOCK_WRITE)).toBe(place + 1)
    expect(double.log).toEqual(['map 0+256 rw'])
    expect(cache.statistics).toMatchObject({ locks: 2, hits: 1, misses: 1 })
  })

  it('S87 makes one map call for concurrent requests of one bucket', async () => {
    const { cache, double } = setUp()
    const gate = new Gate()
    double.beforeMap = gate.pass
    const requests = [5, 5, 9].map((page) => cache.lockAsync(testPage(page), 0, 16, 0))
    await settle()
    gate.open()
    const [a, b, c] = await Promise.all(requests)
    expect(double.log).toEqual(['map 0+256 rw'])
    expect([a === b, (c ?? 0) - (a ?? 0)]).toEqual([true, 4])
    expect(cache.statistics.locks).toBe(3)
  })

  it('lets everybody who waited try when the first call failed', async () => {
    const { cache, double } = setUp()
    const gate = new Gate()
    double.beforeMap = gate.pass
    double.failNextMap = 12
    const requests = [1, 2, 3].map((page) => cache.lockAsync(testPage(page), 0, 1, 0))
    await settle()
    gate.open()
    const outcomes = await Promise.allSettled(requests)
    expect(outcomes.map((outcome) => outcome.status)).toEqual([
      'rejected',
      'fulfilled',
      'fulfilled',
    ])
    expect(double.log).toEqual(['map 0+256 rw', 'map 0+256 rw'])
    expect(cache.statistics.locks).toBe(2)
  })

  it('rejects each request for a page that is missing, with an error of its own', async () => {
    const { cache, double } = setUp()
    double.punch(2, 2)
    const outcomes = await Promise.allSettled(
      [1, 2, 3].map((page) => cache.lockAsync(testPage(page), 0, 1, 0)),
    )
    expect(
      outcomes.map((outcome) => (outcome.status === 'rejected' ? outcome.reason : 'fulfilled')),
    ).toEqual([
      'fulfilled',
      expect.objectContaining({ code: 'ERR_XMC_PAGES_MISSING', page: 2 }),
      expect.objectContaining({ code: 'ERR_XMC_PAGES_MISSING', page: 3 }),
    ])
    expect(cache.statistics.locks).toBe(1)
  })

  it('gives its own mapping up when a synchronous lock was quicker', async () => {
    const { cache, double } = setUp(small(4))
    const gate = new Gate()
    double.beforeMap = gate.pass
    const slow = cache.lockAsync(testPage(1), 0, 1, 0)
    await settle()
    const quick = cache.lock(testPage(1), 0, 1, 0)
    gate.open()
    expect(await slow).toBe(quick)
    expect(double.log).toEqual(['map 0+4 rw', 'map 0+4 rw', 'unmap 4'])
    expect(double.mapped.size).toBe(4)
  })

  it('never gives a pointer to a mapping that was evicted right after it was made', async () => {
    // A flush in every microtask: also in one between the end of the map and that of the request.
    const { cache, double } = setUp(small(4))
    const gate = new Gate()
    double.beforeMap = gate.pass
    const request = cache.lockAsync(testPage(1), 8, 1, 0)
    await settle()
    gate.open()
    for (let nth = 0; nth < 20; nth++) {
      await Promise.resolve()
      cache.flush()
    }
    const place = await request
    expect(double.log).toEqual(['map 0+4 rw'])
    expect(contentAt(cache, place)).toBe(1)
    expect(cache.pageOf(place)).toBe(1)
    expect(cache.statistics.locks).toBe(1)
  })

  it('never gives a pointer to a mapping from before a full invalidation', async () => {
    const { cache, double } = setUp(small(4))
    const gate = new Gate()
    double.beforeMap = gate.pass
    const request = cache.lockAsync(testPage(1), 0, 1, 0)
    await settle()
    await cache.invalidateAll()
    gate.open()
    const place = await request
    expect(double.log).toEqual(['map 0+4 rw', 'unmap 4', 'map 0+4 rw'])
    expect(contentAt(cache, place)).toBe(1)
    expect(double.mapped.size).toBe(4)
  })

  it('starts over each time when invalidations keep coming', async () => {
    const { cache, double } = setUp(small(4))
    double.beforeMap = async () => {
      if (double.log.filter((line) => line.startsWith('map')).length < 3) {
        await cache.invalidateAll()
      }
    }
    const place = await cache.lockAsync(testPage(1), 0, 1, 0)
    expect(contentAt(cache, place)).toBe(1)
    expect(double.log.filter((line) => line.startsWith('map'))).toHaveLength(4)
    expect(double.mapped.size).toBe(4)
  })

  it('rejects when the cache is closed meanwhile, and leaves nothing mapped', async () => {
    const { cache, double } = setUp(small(4))
    const gate = new Gate()
    double.beforeMap = gate.pass
    const requests = [1, 2, 101].map((page) => cache.lockAsync(testPage(page), 0, 1, 0))
    await settle()
    cache.close()
    gate.open()
    for (const request of requests) await expect(request).rejects.toThrow(ClosedError)
    expect(double.mapped.size).toBe(0)
    expect(double.misuse).toEqual([])
  })

  it('rejects when the cache is closed while it fills a hole, and leaves nothing mapped', async () => {
    const { cache, double } = setUp(small(4))
    double.punch(1, 2)
    cache.lock(testPage(0), 0, 1, 0)
    double.populate(1, 2)
    const gate = new Gate()
    double.beforeMap = gate.pass
    const request = cache.lockAsync(testPage(1), 0, 1, 0)
    await settle()
    cache.close({ force: true })
    gate.open()
    await expect(request).rejects.toThrow(ClosedError)
    expect(double.mapped.size).toBe(0)
    expect(double.misuse).toEqual([])
    expect(cache.statistics).toMatchObject({ entries: 0, locks: 0, mappedPages: 0 })
  })

  it('fills holes in place, one request after another', async () => {
    const { cache, double } = setUp(small(4))
    double.punch(1, 2)
    const first = cache.lock(testPage(0), 0, 1, 0)
    double.populate(1, 2)
    const places = await Promise.all(
      [1, 2, 3].map((page) => cache.lockAsync(testPage(page), 0, 1, 0)),
    )
    expect(places).toEqual([first + 1, first + 2, first + 3])
    expect(places.map((place) => contentAt(cache, place))).toEqual([1, 2, 3])
    expect(double.log).toEqual(['map 0+4 rw', 'map 1+1 rw', 'map 2+1 rw'])
    expect(cache.statistics.locks).toBe(4)
  })

  it('starts over when everything is invalidated while it fills a hole', async () => {
    const { cache, double } = setUp(small(4))
    double.punch(1, 1)
    const first = cache.lock(testPage(0), 0, 1, 0)
    double.populate(1, 1)
    const gate = new Gate()
    double.beforeMap = gate.pass
    const request = cache.lockAsync(testPage(1), 0, 1, 0)
    await settle()
    await cache.invalidateAll()
    gate.open()
    const place = await request
    expect(place).not.toBe(first + 1)
    expect(contentAt(cache, place)).toBe(1)
    // The first mapping stays as long as it is locked.
    expect(double.mapped.size).toBe(8)
    cache.unlock(first, 0)
    expect(double.mapped.size).toBe(4)
    cache.unlock(place, 0)
    expect(double.misuse).toEqual([])
  })

  it('unmaps an entry that was invalidated while a hole was filled, when nobody has it locked', async () => {
    const { cache, double } = setUp(small(4))
    double.punch(1, 1)
    cache.unlock(cache.lock(testPage(0), 0, 1, 0), 0)
    const gate = new Gate()
    double.beforeMap = gate.pass
    const request = cache.lockAsync(testPage(1), 0, 1, 0)
    await settle()
    await cache.invalidateAll()
    gate.open()
    await expect(request).rejects.toThrow(PagesMissingError)
    cache.flush()
    expect(double.mapped.size).toBe(0)
    expect(double.misuse).toEqual([])
  })

  it('does not let a fill that fails late take pages from a lock that was quicker', async () => {
    const { cache, double } = setUp(small(4))
    double.punch(1, 1)
    cache.lock(testPage(0), 0, 1, 0)
    double.populate(1, 1)
    const gate = new Gate()
    double.beforeMap = gate.pass
    const slow = cache.lockAsync(testPage(1), 0, 1, 0)
    await settle()
    const quick = cache.lock(testPage(1), 0, 1, 0)
    expect(contentAt(cache, quick)).toBe(1)
    double.failNextMap = 12
    gate.open()
    await expect(slow).rejects.toThrow(SystemCallError)
    expect(contentAt(cache, quick)).toBe(1)
    expect(cache.pageOf(quick)).toBe(1)
  })

  it('finds room among requests under way, and says when there is none', async () => {
    const { cache, double } = setUp(small(4))
    cache.unlock(cache.lock(testPage(100), 0, 1, 0), 0)
    const gate = new Gate()
    double.beforeMap = gate.pass
    const requests = Promise.allSettled(
      [0, 4, 8, 12, 16].map((page) => cache.lockAsync(testPage(page), 0, 1, 0)),
    )
    await settle()
    gate.open()
    const outcomes = await requests
    expect(outcomes.filter((outcome) => outcome.status === 'fulfilled')).toHaveLength(4)
    expect(outcomes[4]).toMatchObject({ reason: { code: 'ERR_XMC_WINDOW_FULL' } })
    expect(cache.statistics).toMatchObject({ locks: 4, mappedPages: 16 })
  })

  it('keeps reads and writes apart that are asked for together', async () => {
    const { cache, double } = setUp({ ...small(4), access: 'as-requested' })
    const [reading, writing] = await Promise.all([
      cache.lockAsync(testPage(1), 0, 1, 0),
      cache.lockAsync(testPage(1), 0, 1, LOCK_WRITE),
    ])
    expect(reading).not.toBe(writing)
    expect(double.log).toEqual(['map 0+4 ro', 'map 0+4 rw'])
  })

  it('gives a dummy in time, too', async () => {
    const { cache, double } = setUp(small(4))
    double.punch(0, 4)
    cache.guestArriving = true
    const places = await Promise.all([1, 2].map((page) => cache.lockAsync(testPage(page), 0, 1, 0)))
    expect((places[1] ?? 0) - (places[0] ?? 0)).toBe(1)
    expect(cache.statistics).toMatchObject({ entries: 1, locks: 2 })
  })
})

describe('PageSurface.unlock', () => {
  it('S26 keeps a mapping until its last lock goes, and refuses one unlock more', () => {
    const { cache, double } = setUp({}, { retention: AT_ONCE })
    const places = [0, 0, 0].map(() => cache.lock(testPage(5), 0, 16, 0))
    const [place = NOWHERE] = places
    expect(places).toEqual([place, place, place])
    cache.unlock(place, 0)
    cache.unlock(place, 0)
    expect(double.log).toEqual(['map 0+256 rw'])
    cache.unlock(place, 0)
    expect(double.log).toEqual(['map 0+256 rw', 'unmap 256'])
    expect(() => {
      cache.unlock(place, 0)
    }).toThrow(
      expect.objectContaining({ code: 'ERR_XMC_NOT_LOCKED', windowPage: place, offset: 0 }),
    )
  })

  it('S90 keeps an unlocked mapping for the next lock', () => {
    const { cache, double } = setUp()
    for (let nth = 0; nth < 1000; nth++) cache.unlock(cache.lock(testPage(5), 0, 16, 0), 0)
    expect(double.log).toEqual(['map 0+256 rw'])
  })

  it('M13 S35 refuses what was never handed out, without a change', () => {
    const { cache } = setUp(small(4))
    const place = cache.lock(testPage(1), 16, 1, 0)
    const unknown: [number, number][] = [
      [place, 0],
      [place, 17],
      [place, 16 - 4096],
      [place, 16 + 4096],
      [place + 1, 16],
      [place - 1, 16 + 4096],
      [0, 0],
      [16, 0],
      [-1, 0],
      [2 ** 31, 0],
    ]
    for (const [at, offset] of unknown) {
      expect(() => {
        cache.unlock(unchecked(at), offset)
      }).toThrow(NotLockedError)
    }
    expect(cache.statistics.locks).toBe(1)
    cache.unlock(place, 16)
  })

  it('tells pointers of one page apart by their offset', () => {
    const { cache, double } = setUp({}, { retention: AT_ONCE })
    const place = cache.lock(testPage(5), 0x10, 1, 0)
    cache.lock(testPage(5), 0x20, 1, 0)
    cache.lock(testPage(5), 0x20, 1, 0)
    cache.unlock(place, 0x10)
    cache.unlock(place, 0x20)
    expect(() => {
      cache.unlock(place, 0x10)
    }).toThrow(NotLockedError)
    expect(double.log).toEqual(['map 0+256 rw'])
    cache.unlock(place, 0x20)
    expect(double.log).toEqual(['map 0+256 rw', 'unmap 256'])
  })

  it('S52 S61 unmaps pinned pages with their last lock, each mapping by its own size', () => {
    const { cache, double } = setUpGrants()
    const one = cache.lock(testPage(7), 0x123, 100, 0)
    const four = cache.lock(testPage(7), 0xff0, 0x2020, 0)
    const write = cache.lock(testPage(7), 0x200, 16, LOCK_WRITE)
    expect(double.log).toEqual(['map 7+1 ro', 'map 7+4 ro', 'map 7+1 rw'])
    cache.unlock(four, 0xff0)
    cache.unlock(write, 0x200)
    cache.unlock(one, 0x123)
    expect(double.log.slice(3)).toEqual(['unmap 4', 'unmap 1', 'unmap 1'])
    expect(double.mapped.size).toBe(0)
  })

  it('S60 M15 takes the lock back when the unmap fails, and does not use the place again', () => {
    const { cache, double } = setUp(small(2), { retention: AT_ONCE })
    const place = cache.lock(testPage(1), 0, 1, 0)
    double.failNextUnmap = true
    expect(() => {
      cache.unlock(place, 0)
    }).toThrow(
      expect.objectContaining({
        code: 'ERR_XMC_UNMAP_FAILED',
        windowPage: place - 1,
        pageCount: 4,
      }),
    )
    expect(() => {
      cache.unlock(place, 0)
    }).toThrow(NotLockedError)
    expect(cache.statistics).toMatchObject({ entries: 0, locks: 0, lostPages: 4, unmapFailures: 1 })
    const other = cache.lock(testPage(1), 0, 1, 0)
    expect(other).not.toBe(place)
    expect(() => cache.lock(testPage(101), 0, 1, 0)).toThrow(WindowFullError)
    cache.unlock(other, 0)
    cache.close()
    expect(double.mapped.size).toBe(0)
    expect(cache.statistics.lostPages).toBe(0)
  })

  it('lets the budget go down to what it should be when locked mappings exceeded it', () => {
    const { cache, double } = setUp(small(8), {
      retention: { kind: 'keep', budgetBytes: 2 * 16_384 },
    })
    const places = [0, 4, 8, 12].map((page) => cache.lock(testPage(page), 0, 1, 0))
    expect(cache.statistics.mappedPages).toBe(16)
    for (const place of places) cache.unlock(place, 0)
    expect(cache.statistics.mappedPages).toBe(8)
    expect([...new Set(double.mapped.values())]).toEqual([8, 9, 10, 11, 12, 13, 14, 15])
  })
})

describe('PageSurface.unlockAsync', () => {
  it('S34 takes the lock back at once, and resolves when the mapping is gone', async () => {
    const { cache, double } = setUp({}, { retention: AT_ONCE })
    const place = cache.lock(testPage(5), 0, 16, 0)
    const done = cache.unlockAsync(place, 0)
    expect(() => {
      cache.unlock(place, 0)
    }).toThrow(NotLockedError)
    expect(double.mapped.size).toBe(256)
    await done
    expect(double.log).toEqual(['map 0+256 rw', 'unmap 256'])
    expect(double.mapped.size).toBe(0)
  })

  it('S34 tells listeners in a later turn than the caller', async () => {
    const { cache } = setUp({}, { retention: AT_ONCE })
    const events: string[] = []
    cache.addRamListener({
      added: () => {},
      removed: () => events.push('removed'),
    })
    const place = cache.lock(testPage(5), 0, 16, 0)
    const done = cache.unlockAsync(place, 0)
    for (let nth = 0; nth < 20; nth++) await Promise.resolve()
    events.push('later')
    await done
    events.push('done')
    expect(events).toEqual(['later', 'removed', 'done'])
  })

  it('resolves at once, as it were, while other locks are left', async () => {
    const { cache, double } = setUp({}, { retention: AT_ONCE })
    const place = cache.lock(testPage(5), 0, 16, 0)
    cache.lock(testPage(5), 0, 16, 0)
    await cache.unlockAsync(place, 0)
    expect(double.log).toEqual(['map 0+256 rw'])
    await cache.unlockAsync(place, 0)
    expect(double.log).toEqual(['map 0+256 rw', 'unmap 256'])
  })

  it('M13 rejects what was never handed out, or taken back already', async () => {
    const { cache } = setUp()
    const place = cache.lock(testPage(5), 0, 16, 0)
    await expect(cache.unlockAsync(place, 1)).rejects.toThrow(NotLockedError)
    const first = cache.unlockAsync(place, 0)
    await expect(cache.unlockAsync(place, 0)).rejects.toThrow(NotLockedError)
    await first
    await expect(cache.unlockAsync(windowPage(4096), 0)).rejects.toThrow(NotLockedError)
    expect(cache.statistics.locks).toBe(0)
  })

  it('keeps a mapping that is locked again before the later turn', async () => {
    const { cache, double } = setUp({}, { retention: AT_ONCE })
    const place = cache.lock(testPage(5), 0, 16, 0)
    const done = cache.unlockAsync(place, 0)
    expect(cache.lock(testPage(5), 0, 16, 0)).toBe(place)
    await done
    expect(double.log).toEqual(['map 0+256 rw'])
    cache.unlock(place, 0)
    expect(double.log).toEqual(['map 0+256 rw', 'unmap 256'])
  })

  it('unmaps once when it is locked and unlocked again before the later turn', async () => {
    const { cache, double } = setUp({}, { retention: AT_ONCE })
    const place = cache.lock(testPage(5), 0, 16, 0)
    const done = cache.unlockAsync(place, 0)
    cache.unlock(cache.lock(testPage(5), 0, 16, 0), 0)
    expect(double.log).toEqual(['map 0+256 rw'])
    await done
    expect(double.log).toEqual(['map 0+256 rw', 'unmap 256'])
  })

  it('does not use the place again before the unmap has ended', async () => {
    const { cache, double } = setUp(small(1), { retention: AT_ONCE })
    const gate = new Gate()
    double.beforeUnmap = gate.pass
    const place = cache.lock(testPage(1), 0, 1, 0)
    const done = cache.unlockAsync(place, 0)
    await settle()
    expect(gate.arrived).toBe(1)
    expect(() => cache.lock(testPage(1), 0, 1, 0)).toThrow(WindowFullError)
    gate.open()
    await done
    expect(cache.lock(testPage(1), 0, 1, 0)).toBe(place)
  })

  it('keeps the mapping within the budget in a cache that keeps', async () => {
    const { cache, double } = setUp(small(4), { retention: { kind: 'keep', budgetBytes: 16_384 } })
    const places = [0, 4].map((page) => cache.lock(testPage(page), 0, 1, 0))
    await Promise.all(places.map(async (place) => cache.unlockAsync(place, 0)))
    expect(double.log).toEqual(['map 0+4 rw', 'map 4+4 rw', 'unmap 4'])
    expect(double.mapped.get(places[1] ?? NOWHERE)).toBe(4)
  })

  it('rejects when the unmap fails; the lock is gone, the place is not used again', async () => {
    const { cache, double } = setUp(small(2), { retention: AT_ONCE })
    const place = cache.lock(testPage(1), 0, 1, 0)
    double.failNextUnmap = true
    await expect(cache.unlockAsync(place, 0)).rejects.toThrow(UnmapFailedError)
    expect(cache.statistics).toMatchObject({ locks: 0, lostPages: 4, unmapFailures: 1 })
    cache.close()
    expect(double.mapped.size).toBe(0)
  })

  it('unmaps a mapping that was invalidated before the later turn', async () => {
    const { cache, double } = setUp()
    const place = cache.lock(testPage(5), 0, 16, 0)
    const done = cache.unlockAsync(place, 0)
    const report = await cache.invalidateAll()
    await done
    expect(report).toMatchObject({ retired: 1, unmapped: 0 })
    expect(double.log).toEqual(['map 0+256 rw', 'unmap 256'])
  })

  it.each([AT_ONCE, undefined])(
    'leaves nothing to do when the cache is closed by force before the later turn (%o)',
    async (retention) => {
      const { cache, double } = setUp({}, { retention })
      const place = cache.lock(testPage(5), 0, 16, 0)
      const done = cache.unlockAsync(place, 0)
      expect(() => {
        cache.close()
      }).toThrow(expect.objectContaining({ code: 'ERR_XMC_BUSY' }))
      cache.close({ force: true })
      await done
      expect(double.log).toEqual(['map 0+256 rw', 'unmap 256'])
      expect(double.misuse).toEqual([])
      expect(cache.statistics).toMatchObject({ entries: 0, locks: 0, mappedPages: 0 })
    },
  )
})

describe('PageSurface.pageOf', () => {
  it('S27 gives the guest page of a locked mapping, of its other pages too', () => {
    const { cache } = setUp()
    const place = cache.lock(testPage(5), 0, 0x3000, 0)
    expect(cache.pageOf(place)).toBe(5)
    expect(cache.pageOf(windowPage(place + 1))).toBe(6)
    expect(cache.pageOf(windowPage(place + 250))).toBe(255)
    expect(cache.pageOf(windowPage(place - 5))).toBe(0)
  })

  it('S28 refuses what is mapped but not locked', () => {
    const { cache } = setUp()
    const place = cache.lock(testPage(5), 0, 16, 0)
    cache.unlock(place, 0)
    expect(() => cache.pageOf(place)).toThrow(
      expect.objectContaining({ code: 'ERR_XMC_NOT_LOCKED', windowPage: place }),
    )
  })

  it('refuses places of the window that nothing was ever mapped at', () => {
    const { cache } = setUp(small(4))
    const place = cache.lock(testPage(1), 0, 16, 0)
    for (let page = 0; page < 20; page++) {
      if (page >= place - 1 && page < place + 3) continue
      expect(() => cache.pageOf(windowPage(page))).toThrow(NotLockedError)
    }
    expect(() => cache.pageOf(unchecked(-1))).toThrow(NotLockedError)
  })

  it('refuses places that belonged to a larger mapping before', () => {
    const { cache } = setUp(small(4))
    const large = cache.lock(testPage(100), 0, 12 * 4096, 0)
    cache.unlock(large, 0)
    cache.flush()
    const places = [0, 4, 8, 12].map((page) => cache.lock(testPage(page), 0, 1, 0))
    const others = places.filter((place) => place !== large)
    expect(others).toHaveLength(3)
    expect(cache.pageOf(large)).toBeLessThan(16)
    for (const place of others) cache.unlock(place, 0)
    for (const place of others) expect(() => cache.pageOf(place)).toThrow(NotLockedError)
    cache.flush()
    for (const place of others) expect(() => cache.pageOf(place)).toThrow(NotLockedError)
    expect(cache.pageOf(large)).toBeLessThan(16)
  })

  it('gives the pages of a list one by one, and refuses what follows them', () => {
    const { cache } = setUp(small(4))
    const { windowPage: place } = cache.mapList([9, 3, 9].map(testPage)).pointer()
    expect([0, 1, 2].map((nth) => cache.pageOf(windowPage(place + nth)))).toEqual([9, 3, 9])
    expect(() => cache.pageOf(windowPage(place + 3))).toThrow(NotLockedError)
  })

  it('refuses the pages of a list after its release', () => {
    const { cache } = setUp(small(4))
    const list = cache.mapList([9, 3].map(testPage))
    const { windowPage: place } = list.pointer()
    list.release()
    expect(() => cache.pageOf(place)).toThrow(NotLockedError)
  })
})

/** The widths of unlocked access: how a cache loads and stores, and a value with unequal bytes. */
const widths = [
  {
    bytes: 1,
    value: 0xa1n,
    load: (cache: Cache, page: TestPage, offset: number) => BigInt(cache.loadUint8(page, offset)),
    store: (cache: Cache, page: TestPage, offset: number, value: bigint) => {
      cache.storeUint8(page, offset, Number(value))
    },
  },
  {
    bytes: 2,
    value: 0xa1b2n,
    load: (cache: Cache, page: TestPage, offset: number, little?: boolean) =>
      BigInt(cache.loadUint16(page, offset, little)),
    store: (cache: Cache, page: TestPage, offset: number, value: bigint, little?: boolean) => {
      cache.storeUint16(page, offset, Number(value), little)
    },
  },
  {
    bytes: 4,
    value: 0xa1b2_c3d4n,
    load: (cache: Cache, page: TestPage, offset: number, little?: boolean) =>
      BigInt(cache.loadUint32(page, offset, little)),
    store: (cache: Cache, page: TestPage, offset: number, value: bigint, little?: boolean) => {
      cache.storeUint32(page, offset, Number(value), little)
    },
  },
  {
    bytes: 8,
    value: 0xa1b2_c3d4_e5f6_0718n,
    load: (cache: Cache, page: TestPage, offset: number, little?: boolean) =>
      cache.loadBigUint64(page, offset, little),
    store: (cache: Cache, page: TestPage, offset: number, value: bigint, little?: boolean) => {
      cache.storeBigUint64(page, offset, value, little)
    },
  },
] as const
type Cache = ReturnType<typeof setUp>['cache']

/** `value` as `bytes` bytes, the most significant first. */
function bigEndian(value: bigint, bytes: number): number[] {
  return Array.from({ length: bytes }, (_, nth) =>
    Number((value >> BigInt(8 * nth)) & 0xffn),
  ).toReversed()
}

describe.each(widths)('PageSurface.load… and store… of $bytes bytes', (width) => {
  const { bytes, value, load, store } = width
  const expected = bigEndian(value, bytes)

  it('loads either byte order, little-endian by default', () => {
    const { cache, double } = setUp(small(4))
    double.guestPage(1).set(expected, 16)
    double.guestPage(1).set(expected.toReversed(), 32)
    for (const round of ['miss', 'hit']) {
      expect([round, load(cache, testPage(1), 16, false)]).toEqual([round, value])
      expect(load(cache, testPage(1), 32)).toBe(value)
      expect(load(cache, testPage(1), 32, true)).toBe(value)
    }
    expect(double.log).toEqual(['map 0+4 rw'])
  })

  it('stores either byte order, little-endian by default', () => {
    const { cache, double } = setUp(small(4))
    const read = (offset: number): number[] => {
      const target = new Uint8Array(bytes)
      cache.read(testPage(1), offset, target)
      return [...target]
    }
    store(cache, testPage(1), 16, value, false)
    store(cache, testPage(1), 32, value)
    store(cache, testPage(1), 48, value, true)
    store(cache, testPage(1), 64, value, false)
    expect(read(16)).toEqual(expected)
    expect(read(32)).toEqual(expected.toReversed())
    expect(read(48)).toEqual(expected.toReversed())
    expect(read(64)).toEqual(expected)
    expect(read(16 + bytes)[0]).toBe(0)
    expect(double.log).toEqual(['map 0+4 rw'])
  })

  it('reaches the last bytes of a page, and over its end', () => {
    const { cache } = setUp(small(4))
    for (const offset of [4096 - bytes, 4095]) {
      for (const little of [true, false]) {
        store(cache, testPage(1), offset, value, little)
        expect(load(cache, testPage(1), offset, little)).toBe(value)
      }
    }
    const rest = new Uint8Array(bytes - 1)
    store(cache, testPage(1), 4095, value, false)
    cache.read(testPage(2), 0, rest)
    expect([...rest]).toEqual(expected.slice(1))
  })

  it('reaches over the end of a bucket', () => {
    const { cache, double } = setUp(small(4))
    store(cache, testPage(3), 4095, value, false)
    expect(load(cache, testPage(3), 4095, false)).toBe(value)
    expect(double.log).toEqual(bytes === 1 ? ['map 0+4 rw'] : ['map 0+4 rw', 'map 4+4 rw'])
  })

  it.each([2 ** 31, 2 ** 40 + 1, 2 ** 52 - 2])('reaches page %d', (page) => {
    const { cache } = setUp({ bucketShift: 12, windowPages: 4 })
    store(cache, testPage(page), 4095, value)
    expect(load(cache, testPage(page), 4095)).toBe(value)
    store(cache, testPage(page), 8, value, false)
    expect(load(cache, testPage(page), 8, false)).toBe(value)
  })

  it('refuses bad arguments', () => {
    const { cache } = setUp(small(4))
    cache.loadUint8(testPage(0), 0)
    for (const offset of [-1, 4096, 0.5, Number.NaN]) {
      const refusal = expect.objectContaining({ code: 'ERR_XMC_ARGUMENT', field: 'offset' })
      expect(() => load(cache, testPage(0), offset)).toThrow(refusal)
      expect(() => {
        store(cache, testPage(0), offset, value)
      }).toThrow(refusal)
    }
    for (const page of [-1, 0.5, Number.NaN, 2 ** 52]) {
      expect(() => load(cache, unchecked(page), 0)).toThrow(InvalidArgumentError)
      expect(() => {
        store(cache, unchecked(page), 0, value)
      }).toThrow(InvalidArgumentError)
    }
  })

  it('refuses after close', () => {
    const { cache } = setUp(small(4))
    store(cache, testPage(0), 0, value)
    cache.close()
    expect(() => load(cache, testPage(0), 0)).toThrow(ClosedError)
    expect(() => {
      store(cache, testPage(0), 0, value)
    }).toThrow(ClosedError)
  })

  it('S53 copies pinned pages instead of mapping them', () => {
    const { cache, double } = setUpGrants()
    double.guestPage(7).set(expected, 0x10)
    expect(load(cache, testPage(7), 0x10, false)).toBe(value)
    store(cache, testPage(7), 0x20, value, false)
    expect([...double.guestPage(7).subarray(0x20, 0x20 + bytes)]).toEqual(expected)
    expect(double.log).toEqual([`copy from 7+16 ${bytes}`, `copy to 7+32 ${bytes}`])
    expect(double.mapped.size).toBe(0)
    expect(cache.statistics).toMatchObject({ hits: 0, misses: 0, copyCalls: 2 })
  })

  it('copies each page of pinned pages by itself', () => {
    const { cache, double } = setUpGrants()
    store(cache, testPage(7), 4095, value, false)
    expect(double.guestPage(7)[4095]).toBe(expected[0])
    expect([...double.guestPage(8).subarray(0, bytes - 1)]).toEqual(
      bytes === 1 ? [] : expected.slice(1),
    )
    expect(load(cache, testPage(7), 4095, false)).toBe(value)
  })

  it('S51 uses a pinned page that is locked already, for a write only if it may be written', () => {
    const { cache, double } = setUpGrants()
    const reading = cache.lock(testPage(7), 0, 1, 0)
    load(cache, testPage(7), 0x10)
    store(cache, testPage(7), 0x10, value)
    const writing = cache.lock(testPage(7), 0, 1, LOCK_WRITE)
    store(cache, testPage(7), 0x10, value)
    expect(double.log).toEqual(['map 7+1 ro', `copy to 7+16 ${bytes}`, 'map 7+1 rw'])
    cache.unlock(reading, 0)
    expect(load(cache, testPage(7), 0x10)).toBe(value)
    cache.unlock(writing, 0)
    expect(double.mapped.size).toBe(0)
  })

  it('refuses to store through a read-only backend, mapped or not', () => {
    const { cache, double } = setUp({ ...small(4), access: 'read-only' })
    const attempt = (): void => {
      store(cache, testPage(0), 0, value)
    }
    expect(attempt).toThrow(ReadOnlyError)
    load(cache, testPage(0), 0)
    expect(attempt).toThrow(ReadOnlyError)
    expect(double.log).toEqual(['map 0+4 ro'])
  })
})

describe('PageSurface.storeUint32', () => {
  it('stores the low bytes of any number', () => {
    const { cache } = setUp(small(4))
    for (const page of [0, 1]) {
      // The second page goes over the end of the first.
      const offset = page === 0 ? 16 : 4094
      cache.storeUint8(testPage(page), 16, 0x1ff)
      expect(cache.loadUint8(testPage(page), 16)).toBe(0xff)
      cache.storeUint16(testPage(page), offset, -1)
      expect(cache.loadUint16(testPage(page), offset)).toBe(0xffff)
      cache.storeUint32(testPage(page), offset, -2)
      expect(cache.loadUint32(testPage(page), offset)).toBe(0xffff_fffe)
      cache.storeBigUint64(testPage(page), offset, -1n)
      expect(cache.loadBigUint64(testPage(page), offset)).toBe(2n ** 64n - 1n)
    }
  })
})

/** `length` bytes, none equal to its neighbours. */
function pattern(length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, nth) => (nth * 7 + 1) & 0xff)
}

describe('PageSurface.read and write', () => {
  it('copies over pages and buckets', () => {
    const { cache, double } = setUp(small(8))
    const bytes = pattern(20_000)
    cache.write(testPage(2), 0x123, bytes)
    const read = new Uint8Array(20_000)
    cache.read(testPage(2), 0x123, read)
    expect(read).toEqual(bytes)
    expect(double.log).toEqual(['map 0+4 rw', 'map 4+4 rw'])
    expect(cache.statistics).toMatchObject({ locks: 0, misses: 2, hits: 2 })
  })

  it('reads what the guest has', () => {
    const { cache, double } = setUp(small(8))
    double.guestPage(3).set([1, 2], 4094)
    double.guestPage(4).set([3, 4])
    const read = new Uint8Array(4)
    cache.read(testPage(3), 4094, read)
    expect([...read]).toEqual([1, 2, 3, 4])
  })

  it('does nothing for no bytes', () => {
    const { cache, double } = setUp()
    cache.read(testPage(0), 0, new Uint8Array(0))
    cache.write(testPage(0), 0, new Uint8Array(0))
    expect(double.log).toEqual([])
  })

  it('stays within a window smaller than the range', () => {
    const { cache, double } = setUp(small(2))
    const read = new Uint8Array(64 * 4096)
    cache.read(testPage(100), 0, read)
    const words = new DataView(read.buffer)
    expect([0, 1, 63].map((nth) => words.getUint32(nth * 4096, true))).toEqual([100, 101, 163])
    expect(cache.statistics.mappedPages).toBe(8)
    expect(double.misuse).toEqual([])
  })

  it('S12 maps the whole range in one piece in a cache that unmaps at once', () => {
    const { cache, double } = setUp({}, { retention: AT_ONCE })
    const events: string[] = []
    cache.addRamListener({
      added: (_, pageCount) => events.push(`added ${pageCount}`),
      removed: (_, pageCount) => events.push(`removed ${pageCount}`),
    })
    const read = new Uint8Array(0x20)
    cache.read(testPage(0x12), 0x345, read.subarray(4))
    cache.read(testPage(0xff), 0xff0, read)
    expect(double.log).toEqual(['map 0+256 rw', 'unmap 256', 'map 0+512 rw'])
    expect(events).toEqual(['added 256', 'removed 256', 'added 512'])
  })

  it('S21 says which page is missing', () => {
    const { cache, double } = setUp()
    double.punch(16, 16)
    cache.loadUint8(testPage(0), 0)
    const attempt = (): void => {
      cache.read(testPage(15), 0, new Uint8Array(2 * 4096))
    }
    expect(attempt).toThrow(expect.objectContaining({ code: 'ERR_XMC_PAGES_MISSING', page: 16 }))
    expect(cache.loadUint32(testPage(32), 0)).toBe(32)
  })

  it('refuses to go beyond the last page', () => {
    const { cache } = setUp({ bucketShift: 12, windowPages: 4 })
    const attempt = (): void => {
      cache.read(testPage(2 ** 52 - 1), 4092, new Uint8Array(8))
    }
    expect(attempt).toThrow(InvalidArgumentError)
  })

  it('S54 passes on the error of a copy, and maps nothing', () => {
    const { cache, double } = setUpGrants()
    double.failNextCopy = true
    expect(() => cache.loadUint32(testPage(64), 0)).toThrow(SystemCallError)
    expect(double.mapped.size).toBe(0)
    expect(cache.statistics).toMatchObject({ hits: 0, entries: 0 })
  })

  it('maps pinned pages for the time of an access when they cannot be copied', () => {
    const { cache, double } = setUp({ bucketShift: 12, windowPages: 8, pinned: true })
    cache.storeUint32(testPage(7), 4094, 0x1122_3344)
    expect(cache.loadUint8(testPage(7), 0)).toBe(7)
    expect(double.log).toEqual([
      'map 7+1 rw',
      'unmap 1',
      'map 8+1 rw',
      'unmap 1',
      'map 7+1 rw',
      'unmap 1',
    ])
    expect(double.mapped.size).toBe(0)
  })

  it('does not unmap a pinned page that somebody else has locked', () => {
    const { cache, double } = setUp(
      { bucketShift: 12, windowPages: 8, pinned: true },
      { translate: (page) => (page === 7 ? 8 : undefined) },
    )
    double.punch(7, 1)
    const place = cache.lock(testPage(8), 0, 1, 0)
    expect(cache.loadUint32(testPage(7), 0)).toBe(8)
    expect(contentAt(cache, place)).toBe(8)
    cache.unlock(place, 0)
    expect(double.mapped.size).toBe(0)
    expect(double.misuse).toEqual([])
  })

  it('works on a window that is shared between threads', () => {
    const { cache, double } = setUp({ ...small(4), shared: true })
    expect(double.window.buffer).toBeInstanceOf(SharedArrayBuffer)
    cache.write(testPage(3), 4090, pattern(100))
    const read = new Uint8Array(100)
    cache.read(testPage(3), 4090, read)
    expect(read).toEqual(pattern(100))
    cache.storeUint32(testPage(0), 0, 5)
    expect(cache.loadUint32(testPage(0), 0)).toBe(5)
  })
})

describe('PageSurface.view', () => {
  it('shows the whole window, zeros where nothing is mapped', () => {
    const { cache } = setUp(small(4))
    expect(cache.view.byteLength).toBe(16 * 4096)
    const place = cache.lock(testPage(2), 0, 1, LOCK_WRITE | LOCK_DMA)
    expect(cache.view.getUint32(place * 4096, true)).toBe(2)
    cache.unlock(place, 0)
    cache.flush()
    expect(cache.view.getUint32(place * 4096, true)).toBe(0)
  })

  it('shows zeros through a stale pointer as long as its place rests', () => {
    const { cache, double } = setUp(small(4), { retention: AT_ONCE, quarantineBytes: 2 * 16_384 })
    const stale = cache.lock(testPage(1), 0, 1, 0)
    cache.unlock(stale, 0)
    for (const page of [4, 8]) cache.lock(testPage(page), 0, 1, 0)
    expect(contentAt(cache, stale)).toBe(0)
    expect(double.misuse).toEqual([])
  })
})

describe('PageSurface.name', () => {
  it("is the backend's kind, or what it is told", () => {
    expect(setUp().cache.name).toBe('double')
    expect(setUp({}, { name: 'disk' }).cache.name).toBe('disk')
  })

  it('is in every error', () => {
    const { cache, double } = setUp({}, { name: 'disk' })
    double.punch(0, 256)
    expect(() => cache.lock(testPage(0), 0, 1, 0)).toThrow(/^disk: /)
    expect(() => cache.lock(testPage(0), 0, 1, 0)).toThrow(XmcError)
  })
})

/** Passes a number off as a page, as a caller without types would. */
function unchecked(value: number): TestPage & ReturnType<typeof windowPage> {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- what is tested is the check
  return value as TestPage & ReturnType<typeof windowPage>
}

expectTypeOf<ReturnType<typeof setUp>['double']>().toEqualTypeOf<GuestDouble>()
