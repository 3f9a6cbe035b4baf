import {
  LOCK_WRITE,
  type MapCache,
  NotLockedError,
  PagesMissingError,
  UnmapFailedError,
  WindowFullError,
} from '@xmc/core'
import { ClosedError, SystemCallError, windowPage } from '@xmc/interface'
import { describe, expect, it } from 'vitest'
import { type TestPage, testPage } from './doubles/guest-double.ts'
import { AT_ONCE, contentAt, Gate, settle, setUp, small } from './doubles/set-up.ts'

/** A window page that no test has anything at. */
const NOWHERE = windowPage(2 ** 31 - 1)

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

  it('gives everybody who waited the outcome of one more call, not a call each', async () => {
    const { cache, double } = setUp({ bucketShift: 12, access: 'as-requested', pinned: true })
    const gate = new Gate()
    double.beforeMap = gate.pass
    double.punch(7, 1)
    const request = async (): Promise<unknown> =>
      cache.lockAsync(testPage(7), 0, 65, LOCK_WRITE).catch((error: unknown) => error)
    const requests = Array.from({ length: 100 }, request)
    await settle()
    // What arrives while the second call is under way began after it: it waits for a third.
    gate.openOnce()
    await settle()
    requests.push(request())
    await settle()
    gate.open()
    const missing: unknown = expect.objectContaining({ code: 'ERR_XMC_PAGES_MISSING', page: 7 })
    expect(await Promise.all(requests)).toEqual(Array.from({ length: 101 }, () => missing))
    expect(double.log.filter((call) => call.startsWith('map'))).toEqual([
      'map 7+1 rw',
      'map 7+1 rw',
      'map 7+1 rw',
    ])
    expect(cache.statistics).toMatchObject({ locks: 0, entries: 0 })
  })

  it('does not take a failure for its own that began before its request', async () => {
    const { cache, double } = setUp({ bucketShift: 12, access: 'as-requested', pinned: true })
    const gate = new Gate()
    double.beforeMap = gate.pass
    double.punch(7, 1)
    const early = cache.lockAsync(testPage(7), 0, 65, 0)
    await settle()
    const late = cache.lockAsync(testPage(7), 0, 65, 0)
    gate.openOnce()
    await expect(early).rejects.toMatchObject({ code: 'ERR_XMC_PAGES_MISSING' })
    double.populate(7, 1)
    gate.open()
    expect(contentAt(cache, await late)).toBe(7)
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

  it('S60 gives what was asked for although what it mapped before cannot be unmapped', async () => {
    for (const meanwhile of [
      async (cache: MapCache<TestPage>) => void (await cache.invalidateAll()),
      async (cache: MapCache<TestPage>) => void cache.lock(testPage(1), 0, 1, 0),
    ]) {
      const { cache, double } = setUp(small(4))
      const gate = new Gate()
      double.beforeMap = gate.pass
      const request = cache.lockAsync(testPage(1), 0, 1, 0)
      await settle()
      await meanwhile(cache)
      double.failNextUnmap = true
      gate.open()
      expect(contentAt(cache, await request)).toBe(1)
      expect(cache.statistics).toMatchObject({ unmapFailures: 1, lostPages: 4, mappedPages: 4 })
      cache.close({ force: true })
      expect(double.mapped.size).toBe(0)
    }
  })

  it('says that something may be mapped when a cache was closed meanwhile and it cannot be unmapped', async () => {
    const { cache, double } = setUp(small(4))
    const gate = new Gate()
    double.beforeMap = gate.pass
    const request = cache.lockAsync(testPage(1), 0, 1, 0)
    await settle()
    cache.close()
    double.failNextUnmap = true
    gate.open()
    await expect(request).rejects.toThrow(UnmapFailedError)
    expect(cache.statistics.lostPages).toBe(4)
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
    expect(double.log).toEqual(['map 0+4 rw', 'map 1+1 rw', 'unmap 4'])
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

  it.each([0, 1])(
    'S61 unmaps pinned pages whose last lock went while a hole was filled, if it stays (%d)',
    async (populated) => {
      const { cache, double } = setUp({ ...small(4), pinned: true })
      double.punch(1, 1)
      const first = cache.lock(testPage(0), 0, 1, 0)
      double.populate(1, populated)
      const gate = new Gate()
      double.beforeMap = gate.pass
      const request = cache.lockAsync(testPage(1), 0, 1, 0)
      await settle()
      cache.unlock(first, 0)
      gate.open()
      const outcome = await Promise.allSettled([request])
      expect(outcome[0]?.status).toBe(populated === 1 ? 'fulfilled' : 'rejected')
      expect(cache.statistics).toMatchObject({ entries: populated, locks: populated })
      expect(double.mapped.size).toBe(4 * populated)
      cache.close({ force: true })
      expect(double.mapped.size).toBe(0)
      expect(double.misuse).toEqual([])
    },
  )

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
    'leaves nothing to do when the cache is closed before the later turn, which nobody has locked (%o)',
    async (retention) => {
      const { cache, double } = setUp({}, { retention })
      const place = cache.lock(testPage(5), 0, 16, 0)
      const done = cache.unlockAsync(place, 0)
      expect(cache.statistics).toMatchObject({ locks: 0, lockedEntries: 0, holds: 1 })
      cache.close()
      await done
      expect(double.log).toEqual(['map 0+256 rw', 'unmap 256'])
      expect(double.misuse).toEqual([])
      expect(cache.statistics).toMatchObject({ entries: 0, locks: 0, mappedPages: 0 })
    },
  )
})
