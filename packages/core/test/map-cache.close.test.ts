import { MapCache, UnmapFailedError } from '@xmc/core'
import { BusyError, ClosedError, RefusedError } from '@xmc/interface'
import { describe, expect, it } from 'vitest'
import { testPage } from './doubles/guest-double.ts'
import {
  AT_ONCE,
  contentAt,
  Gate,
  pages,
  settle,
  setUp,
  setUpGrants,
  small,
} from './doubles/set-up.ts'

describe('MapCache.close with calls under way', () => {
  it.each(['map', 'list', 'fill'] as const)(
    'keeps the window until a call that maps has ended, and unmaps what it mapped (%s)',
    async (kind) => {
      const { cache, double } = setUp(small(4))
      if (kind === 'fill') {
        double.punch(1, 1)
        cache.loadUint8(testPage(0), 0)
        double.populate(1, 1)
      }
      const gate = new Gate()
      double.beforeMap = gate.pass
      const request =
        kind === 'list' ? cache.mapListAsync(pages(9, 3)) : cache.mapAsync(testPage(1), 0, 16)
      await settle()
      expect(cache.statistics.callsUnderWay).toBe(1)
      cache.close()
      expect(cache.closed).toBe(true)
      expect(() => new MapCache({ backend: double })).toThrow(RefusedError)
      gate.open()
      await expect(request).rejects.toThrow(ClosedError)
      expect(double.mapped.size).toBe(0)
      expect(cache.statistics).toMatchObject({ entries: 0, holds: 0, callsUnderWay: 0 })
      const next = new MapCache({ backend: double })
      expect(next.map(testPage(2), 0, 16).readUint32(0)).toBe(2)
      next.close({ force: true })
      expect(double.misuse).toEqual([])
    },
  )

  it('keeps the window until a release has ended, whose unmap is tried again when it fails', async () => {
    const { cache, double } = setUpGrants()
    const gate = new Gate()
    double.beforeUnmap = gate.pass
    const done = cache.map(testPage(7), 0, 16).releaseAsync()
    await settle()
    cache.close()
    expect(() => new MapCache({ backend: double })).toThrow(RefusedError)
    double.failNextUnmap = true
    gate.open()
    await expect(done).rejects.toThrow(UnmapFailedError)
    expect(cache.statistics.lostPages).toBe(1)
    expect(() => new MapCache({ backend: double })).toThrow(RefusedError)
    double.failNextUnmap = true
    expect(() => {
      cache.close()
    }).toThrow(UnmapFailedError)
    expect(cache.statistics.lostPages).toBe(1)
    expect(() => new MapCache({ backend: double })).toThrow(RefusedError)
    cache.close()
    expect(cache.statistics.lostPages).toBe(0)
    expect(double.mapped.size).toBe(0)
    new MapCache({ backend: double }).close()
  })

  it('keeps the window of a cache that a listener closes in the middle of a call', () => {
    const { cache, double } = setUp(small(4))
    const refused: unknown[] = []
    cache.addRamListener({
      added: () => {
        cache.close()
        try {
          new MapCache({ backend: double }).close()
        } catch (error) {
          refused.push(error)
        }
      },
      removed: () => {},
    })
    expect(() => cache.lock(testPage(1), 0, 1, 0)).toThrow(ClosedError)
    expect(refused).toEqual([expect.any(RefusedError)])
    expect(double.mapped.size).toBe(0)
    new MapCache({ backend: double }).close()
  })

  it('holds the window for as long as calls are under way', async () => {
    const { cache, double } = setUp(small(4), { retention: AT_ONCE })
    const { window } = double
    const gate = new Gate()
    double.beforeMap = gate.pass
    double.beforeUnmap = gate.pass
    const request = cache.mapAsync(testPage(1), 0, 16)
    await settle()
    expect(window.holds).toBe(1)
    gate.open()
    const mapping = await request
    expect(window.holds).toBe(0)
    await mapping.releaseAsync()
    expect(window.holds).toBe(0)
    expect(window.mostHolds).toBe(1)
  })
})

describe('MapCache.closeAsync', () => {
  it('resolves when every call has ended, and the window is free', async () => {
    const { cache, double } = setUp(small(4))
    const gate = new Gate()
    double.beforeMap = gate.pass
    const requests = [1, 5].map((page) => cache.mapAsync(testPage(page), 0, 16))
    const outcomes = Promise.allSettled(requests)
    await settle()
    const closed = cache.closeAsync()
    gate.openOnce()
    await settle()
    expect(await Promise.race([closed, Promise.resolve('not yet')])).toBe('not yet')
    gate.open()
    await closed
    expect((await outcomes).map(({ status }) => status)).toEqual(['rejected', 'rejected'])
    new MapCache({ backend: double }).close()
  })

  it('tries once more what a call that ended late could not unmap', async () => {
    const { cache, double } = setUp(small(4))
    const gate = new Gate()
    double.beforeMap = gate.pass
    const request = cache.mapAsync(testPage(1), 0, 16)
    await settle()
    const closed = cache.closeAsync()
    double.failNextUnmap = true
    gate.open()
    await expect(request).rejects.toThrow(UnmapFailedError)
    await closed
    expect(double.mapped.size).toBe(0)
    expect(cache.statistics).toMatchObject({ lostPages: 0, unmapFailures: 1 })
  })

  it('rejects when something may still be mapped, and can be called again', async () => {
    const { cache, double } = setUp(small(4))
    cache.loadUint8(testPage(1), 0)
    double.failUnmaps = 3
    await expect(cache.closeAsync()).rejects.toThrow(UnmapFailedError)
    expect(cache.statistics.lostPages).toBe(4)
    await cache.closeAsync()
    expect(double.mapped.size).toBe(0)
  })

  it('refuses while locks are outstanding, and has done nothing then', async () => {
    const { cache } = setUp(small(4))
    const mapping = cache.map(testPage(1), 0, 16)
    await expect(cache.closeAsync()).rejects.toThrow(BusyError)
    expect(cache.closed).toBe(false)
    expect(mapping.readUint32(0)).toBe(1)
  })

  it('is what await using does, with force', async () => {
    const { cache, double } = setUp(small(4))
    cache.lock(testPage(1), 0, 1, 0)
    await cache[Symbol.asyncDispose]()
    expect(cache.closed).toBe(true)
    expect(double.mapped.size).toBe(0)
  })
})

describe('CacheStatistics', () => {
  it('counts locks of users, and holds of the cache apart', async () => {
    const { cache, double } = setUp(small(4), { retention: AT_ONCE })
    double.punch(1, 1)
    const place = cache.lock(testPage(0), 0, 1, 0)
    double.populate(1, 1)
    const gate = new Gate()
    double.beforeMap = gate.pass
    const request = cache.lockAsync(testPage(1), 0, 1, 0)
    await settle()
    cache.unlock(place, 0)
    expect(cache.statistics).toMatchObject({ locks: 0, lockedEntries: 0 })
    expect(() => cache.pageOf(place)).toThrow('no lock is outstanding')
    gate.open()
    const late = await request
    expect(contentAt(cache, late)).toBe(1)
    expect(cache.statistics).toMatchObject({ locks: 1, lockedEntries: 1, holds: 0 })
    const done = cache.unlockAsync(late, 0)
    expect(cache.statistics).toMatchObject({ locks: 0, lockedEntries: 0, holds: 1 })
    await done
    expect(cache.statistics).toMatchObject({ locks: 0, holds: 0, entries: 0 })
  })

  it('does not count what nobody has locked as locks when it closes', async () => {
    const { cache, double } = setUp(small(4))
    double.punch(1, 1)
    cache.loadUint8(testPage(0), 0)
    double.populate(1, 1)
    const gate = new Gate()
    double.beforeMap = gate.pass
    const request = cache.lockAsync(testPage(1), 0, 1, 0)
    await settle()
    cache.close()
    gate.open()
    await expect(request).rejects.toThrow(ClosedError)
    expect(double.mapped.size).toBe(0)
  })
})
