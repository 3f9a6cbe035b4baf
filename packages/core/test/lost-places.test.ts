import { UnmapFailedError, WindowFullError } from '@xmc/core'
import { describe, expect, it } from 'vitest'
import { testPage } from './doubles/guest-double.ts'
import { AT_ONCE, type SetUp, setUp, small } from './doubles/set-up.ts'

/** Locks and unlocks bucket after bucket, whose unmaps fail, until so many are lost. */
function lose({ cache, double }: SetUp, count: number): void {
  for (let nth = 0; nth < count; nth++) {
    const place = cache.lock(testPage(4 * nth), 0, 1, 0)
    double.failNextUnmap = true
    expect(() => {
      cache.unlock(place, 0)
    }).toThrow(UnmapFailedError)
  }
  expect(cache.statistics.lostPages).toBe(4 * count)
}

describe('a place whose unmap failed', () => {
  it('is cleared before the window counts as full', () => {
    const world = setUp(small(4), { retention: AT_ONCE })
    const { cache, double } = world
    lose(world, 4)
    cache.lock(testPage(100), 0, 1, 0)
    expect(cache.statistics).toMatchObject({ lostPages: 12, unmapFailures: 4, locks: 1 })
    // A mapping of two buckets takes as many as it needs.
    cache.lock(testPage(200), 0, 8 * 4096, 0)
    expect(cache.statistics).toMatchObject({ lostPages: 4, locks: 2 })
    cache.close({ force: true })
    expect(double.mapped.size).toBe(0)
  })

  it('is told from locked ones when the window is full', () => {
    const world = setUp(small(4), { retention: AT_ONCE })
    const { cache, double } = world
    lose(world, 3)
    cache.lock(testPage(100), 0, 1, 0)
    double.failUnmaps = 3
    expect(() => cache.lock(testPage(200), 0, 1, 0)).toThrow(
      expect.objectContaining({
        code: 'ERR_XMC_WINDOW_FULL',
        requestedPages: 4,
        windowPages: 16,
        lockedPages: 4,
        lostPages: 12,
        shortage: 'passing',
      }),
    )
    expect(double.failUnmaps).toBe(0)
    cache.lock(testPage(200), 0, 1, 0)
    expect(cache.statistics.lostPages).toBe(8)
  })

  it('does not count where the request could never fit', () => {
    const { cache } = setUp(small(4))
    expect(() => cache.lock(testPage(0), 0, 17 * 4096, 0)).toThrow(
      expect.objectContaining({ code: 'ERR_XMC_WINDOW_FULL', lostPages: 0, shortage: 'lasting' }),
    )
  })

  it('is cleared by a flush, which counts the mappings that it unmaps', () => {
    const world = setUp(small(4), { retention: AT_ONCE })
    const { cache, double } = world
    lose(world, 2)
    double.failUnmaps = 1
    expect(cache.flush()).toBe(0)
    expect(cache.statistics.lostPages).toBe(4)
    expect(cache.flush()).toBe(0)
    expect(cache.statistics.lostPages).toBe(0)
    expect(double.mapped.size).toBe(0)
  })

  it('is tried again every now and then, half as often after each failure, and at once after a success', () => {
    const { cache, double } = setUp(small(8), { retention: AT_ONCE })
    const places = [0, 4].map((page) => cache.lock(testPage(page), 0, 1, 0))
    for (const place of places) {
      double.stuck.add(place)
      expect(() => {
        cache.unlock(place, 0)
      }).toThrow(UnmapFailedError)
    }
    /** Misses until a lost place was tried, which fails. */
    const missesUntilTried = (): number => {
      const { unmapFailures } = cache.statistics
      for (let misses = 1; misses <= 2000; misses++) {
        cache.unlock(cache.lock(testPage(40), 0, 1, 0), 0)
        if (cache.statistics.unmapFailures > unmapFailures) return misses
      }
      return -1
    }
    const tries = Array.from({ length: 9 }, missesUntilTried)
    expect(tries).toEqual([16, 32, 64, 128, 256, 512, 1024, 1024, 1024])
    double.stuck.clear()
    for (let misses = 0; misses < 1024 + 16; misses++) {
      cache.unlock(cache.lock(testPage(40), 0, 1, 0), 0)
    }
    expect(cache.statistics.lostPages).toBe(0)
    expect(double.mapped.size).toBe(0)
  })

  it('does not count as locked for a request that has room', () => {
    const world = setUp(small(2), { retention: AT_ONCE })
    const { cache } = world
    lose(world, 1)
    cache.lock(testPage(100), 0, 1, 0)
    expect(cache.statistics).toMatchObject({ lostPages: 4, locks: 1 })
    expect(() => cache.lock(testPage(200), 0, 2 * 16_384, 0)).toThrow(WindowFullError)
  })
})
