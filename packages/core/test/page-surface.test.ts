import {
  LOCK_DMA,
  LOCK_WRITE,
  LockLimitError,
  NotLockedError,
  PagedOutError,
  type PageSurface,
  PagesMissingError,
  WindowFullError,
} from '@xmc/core'
import { ClosedError, ReadOnlyError, SystemCallError, windowPage, XmcError } from '@xmc/interface'
import { describe, expect, expectTypeOf, it } from 'vitest'
import { type TestPage, testPage } from './doubles/guest-double.ts'
import { AT_ONCE, contentAt, setUp, setUpGrants, small, unchecked } from './doubles/set-up.ts'

/** A window page that no test has anything at. */
const NOWHERE = windowPage(2 ** 31 - 1)
const MIB = 2 ** 20

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

  it('M7 S33 counts 524,287 locks at one pointer; one more is an error, and nothing has changed', () => {
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

  it('S60 says what is missing, also when what was mapped for nothing cannot be unmapped', () => {
    const { cache, double } = setUp(small(2))
    double.punch(0, 4)
    double.failNextUnmap = true
    expect(() => cache.lock(testPage(1), 0, 1, 0)).toThrow(PagesMissingError)
    expect(cache.statistics).toMatchObject({ unmapFailures: 1, lostPages: 4, entries: 0 })
    cache.lock(testPage(4), 0, 1, 0)
    double.failNextUnmap = true
    expect(() => cache.lock(testPage(8), 0, 1, 0)).toThrow(WindowFullError)
    cache.close({ force: true })
    expect(double.mapped.size).toBe(0)
  })

  it('S60 serves a request although the mapping that gave way for it cannot be unmapped', () => {
    const { cache, double } = setUp(small(2), { retention: { kind: 'keep', budgetBytes: 16_384 } })
    cache.loadUint8(testPage(0), 0)
    double.failNextUnmap = true
    const place = cache.lock(testPage(5), 0, 1, 0)
    expect(contentAt(cache, place)).toBe(5)
    expect(cache.statistics).toMatchObject({ unmapFailures: 1, lostPages: 4, evictions: 1 })
    cache.close({ force: true })
    expect(double.mapped.size).toBe(0)
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
      // The low bits are those of a place that is locked.
      [place - 2 ** 31, 16],
      [place + 2 ** 30, 16],
      [place + 2 ** 31, 16],
      [place + 2 ** 32, 16],
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
    double.failNextUnmap = true
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
    for (const page of [-1, place + 0.5, place + 2 ** 32, place - 2 ** 32, Number.NaN]) {
      expect(() => cache.pageOf(unchecked(page))).toThrow(NotLockedError)
    }
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
