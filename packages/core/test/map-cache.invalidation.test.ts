import diagnostics from 'node:diagnostics_channel'
import { LOCK_DMA, LOCK_WRITE, type Mapping, UnmapFailedError } from '@xmc/core'
import { describe, expect, it, vi } from 'vitest'
import { type TestPage, testPage } from './doubles/guest-double.ts'
import { ListenerDouble } from './doubles/listener-double.ts'
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

describe('MapCache.invalidateAll', () => {
  it('S36 M4 unmaps everything unlocked and hides what is locked until its release', async () => {
    const { cache, double } = setUp()
    const locked = cache.lock(testPage(0), 0, 1, 0)
    cache.loadUint8(testPage(0x8000 * 256), 0)
    cache.loadUint8(testPage(3 * 256), 0)
    const report = await cache.invalidateAll()
    expect(report).toEqual({
      unmapped: 2,
      retired: 1,
      lockedDma: [],
      drainFailures: [],
      unmapFailures: [],
    })
    expect(double.log.slice(3)).toEqual(['unmap 256', 'unmap 256'])
    expect(contentAt(cache, locked + 1)).toBe(1)
    expect(cache.pageOf(locked)).toBe(0)
    // A new request does not see the old mapping.
    const fresh = cache.lock(testPage(0), 0, 1, 0)
    expect(fresh).not.toBe(locked)
    cache.unlock(locked, 0)
    expect(double.log.slice(5)).toEqual(['map 0+256 rw', 'unmap 256'])
    cache.unlock(fresh, 0)
    expect(double.mapped.size).toBe(256)
    expect(cache.statistics.invalidations).toBe(1)
  })

  it('M4 lets no access see a page from before', async () => {
    const { cache, double } = setUp(small(4))
    expect(cache.loadUint32(testPage(1), 0)).toBe(1)
    double.guestPage(1).set([9, 9, 9, 9])
    expect(cache.loadUint32(testPage(1), 0)).toBe(1)
    await cache.invalidateAll()
    expect(cache.loadUint32(testPage(1), 0)).toBe(0x0909_0909)
  })

  it('lets no hit find what is hidden', async () => {
    const { cache } = setUp(small(4))
    const place = cache.lock(testPage(1), 0, 1, LOCK_WRITE)
    await cache.invalidateAll()
    cache.storeUint32(testPage(1), 0, 77)
    expect(cache.view.getUint32(place * 4096, true)).toBe(1)
    expect(cache.loadUint32(testPage(1), 0)).toBe(77)
    expect(cache.lock(testPage(1), 0, 1, 0)).not.toBe(place)
  })

  it('can be called again while the same mapping is still locked', async () => {
    const { cache, double } = setUp(small(4))
    const place = cache.lock(testPage(0), 0, 1, 0)
    expect((await cache.invalidateAll()).retired).toBe(1)
    expect((await cache.invalidateAll()).retired).toBe(0)
    cache.unlock(place, 0)
    expect(double.mapped.size).toBe(0)
    expect(cache.statistics).toMatchObject({ entries: 0, invalidations: 2 })
  })

  it('S37 reports locks for DMA with page, pointer and holder', async () => {
    const { cache } = setUp(small(8))
    const disk = cache.registerUser({ name: 'disk' })
    const net = cache.registerUser({ name: 'net' })
    const place = cache.lock(testPage(5), 0x10, 16, LOCK_DMA | disk.lockFlags)
    cache.lock(testPage(5), 0x10, 16, LOCK_DMA | disk.lockFlags)
    cache.lock(testPage(5), 0x20, 16, LOCK_DMA | net.lockFlags)
    cache.lock(testPage(6), 0, 16, disk.lockFlags)
    const list = cache.mapList(pages(9, 3), { dma: true })
    const { lockedDma, retired } = await cache.invalidateAll()
    expect(retired).toBe(2)
    expect(lockedDma).toEqual([
      { page: 5, windowPage: place, offset: 0x10, locks: 2, holder: 'disk', stacks: [] },
      { page: 5, windowPage: place, offset: 0x20, locks: 1, holder: 'net', stacks: [] },
      {
        page: 9,
        windowPage: list.pointer().windowPage,
        offset: 0,
        locks: 1,
        holder: 'unnamed',
        stacks: [],
      },
    ])
  })

  it('S37 reports a pointer as locked for DMA whoever locks it besides', async () => {
    for (const order of [
      [LOCK_DMA, 0],
      [0, LOCK_DMA],
    ]) {
      const { cache } = setUp(small(8))
      const [disk, net] = ['disk', 'net'].map((name) => cache.registerUser({ name }))
      const users = [disk, net]
      cache.lock(testPage(4), 0, 1, 0)
      for (const [nth, dma] of order.entries()) {
        cache.lock(testPage(5), 0, 16, dma | (users[nth]?.lockFlags ?? 0))
      }
      const { lockedDma } = await cache.invalidateAll()
      expect(lockedDma.map(({ page, locks, holder }) => [page, locks, holder])).toEqual([
        [5, 2, order[0] === LOCK_DMA ? 'disk' : 'net'],
      ])
    }
  })

  it('S37 reports a lock for DMA that was counted beside another offset of its page first', async () => {
    const { cache } = setUp(small(8))
    const place = cache.lock(testPage(5), 16, 1, 0)
    cache.lock(testPage(5), 32, 1, 0)
    cache.unlock(place, 16)
    cache.lock(testPage(5), 32, 1, LOCK_DMA)
    cache.unlock(place, 32)
    const { lockedDma } = await cache.invalidateAll()
    expect(lockedDma.map(({ page, offset, locks }) => [page, offset, locks])).toEqual([[5, 32, 1]])
  })

  it('reports the stacks of handles when leaks are tracked', async () => {
    const { cache } = setUp(small(8), { leakTracking: true })
    const user = cache.registerUser({ name: 'disk' })
    const takeIt = (): Mapping<TestPage> =>
      cache.map(testPage(5), 0x10, 16, { dma: true, write: true, user })
    const first = takeIt()
    takeIt()
    takeIt()
    first.release()
    const report = await cache.invalidateAll()
    expect(report.lockedDma).toHaveLength(1)
    expect(report.lockedDma[0]).toMatchObject({ holder: 'disk', locks: 2 })
    expect(report.lockedDma[0]?.stacks).toEqual([
      expect.stringContaining('takeIt'),
      expect.stringContaining('takeIt'),
    ])
    // It was told, and nobody can lock it again.
    expect((await cache.invalidateAll()).lockedDma).toEqual([])
  })

  it('S38 leaves pinned pages alone', async () => {
    const { cache, double } = setUpGrants()
    const place = cache.lock(testPage(7), 0, 1, LOCK_DMA)
    expect(await cache.invalidateAll()).toMatchObject({ unmapped: 0, retired: 0, lockedDma: [] })
    expect(double.log).toEqual(['map 7+1 ro'])
    expect(cache.lock(testPage(7), 0, 1, 0)).toBe(place)
    expect(cache.statistics.invalidations).toBe(0)
  })

  it('S39 waits until every user is drained before anything is unmapped', async () => {
    const { cache, double } = setUp(small(8))
    cache.loadUint8(testPage(0), 0)
    const events: string[] = []
    const gate = new Gate()
    cache.registerUser({
      name: 'slow',
      drain: async () => {
        await gate.pass()
        events.push(`drained with ${double.mapped.size} pages`)
      },
    })
    cache.registerUser({ name: 'quick', drain: () => void events.push('quick') })
    cache.registerUser({ name: 'indifferent' })
    const done = cache.invalidateAll()
    await settle()
    expect(events).toEqual(['quick'])
    expect(double.mapped.size).toBe(4)
    gate.open()
    expect((await done).unmapped).toBe(1)
    expect(events).toEqual(['quick', 'drained with 4 pages'])
  })

  it('goes on when a user cannot be drained, and reports it', async () => {
    const { cache } = setUp(small(8))
    cache.loadUint8(testPage(0), 0)
    const late = new Error('late')
    const now = new Error('now')
    cache.registerUser({ name: 'late', drain: async () => Promise.reject(late) })
    cache.registerUser({
      name: 'now',
      drain: () => {
        throw now
      },
    })
    const { drainFailures, unmapped } = await cache.invalidateAll()
    expect(drainFailures).toEqual([
      { user: 'late', error: late },
      { user: 'now', error: now },
    ])
    expect(unmapped).toBe(1)
  })

  it('S60 goes on when an unmap fails, and reports it', async () => {
    const { cache, double } = setUp(small(8))
    for (const page of [0, 4, 8]) cache.loadUint8(testPage(page), 0)
    double.failNextUnmap = true
    const { unmapped, unmapFailures } = await cache.invalidateAll()
    expect(unmapped).toBe(2)
    expect(unmapFailures).toHaveLength(1)
    expect(unmapFailures[0]).toBeInstanceOf(UnmapFailedError)
    expect(cache.statistics).toMatchObject({ entries: 0, mappedPages: 0, lostPages: 4 })
  })

  it('S40 tells listeners of every mapping that goes, of a locked one when it goes', async () => {
    const { cache } = setUp(small(8))
    const listener = new ListenerDouble()
    cache.addRamListener(listener)
    cache.loadUint8(testPage(0), 0)
    const place = cache.lock(testPage(4), 0, 1, 0)
    await cache.invalidateAll()
    expect(listener.events).toEqual(['added 4', 'added 4', 'removed 4'])
    cache.unlock(place, 0)
    expect(listener.events).toEqual(['added 4', 'added 4', 'removed 4', 'removed 4'])
    expect(listener.present.size).toBe(0)
  })

  it('drops dummies, too', async () => {
    const { cache, double } = setUp(small(8))
    double.punch(0, 4)
    cache.guestArriving = true
    cache.unlock(cache.lock(testPage(1), 0, 1, LOCK_WRITE), 0)
    cache.guestArriving = false
    double.populate(0, 4)
    expect((await cache.invalidateAll()).unmapped).toBe(1)
    expect(cache.loadUint32(testPage(1), 0)).toBe(1)
    expect(double.misuse).toEqual([])
  })

  it('is one for all who ask for it together, and one more for those who come while two drain', async () => {
    const { cache } = setUp(small(8))
    cache.loadUint8(testPage(0), 0)
    const gate = new Gate()
    const drain = vi.fn<() => Promise<void>>(gate.pass)
    cache.registerUser({ name: 'slow', drain })
    const together = [1, 2, 3].map(async () => cache.invalidateAll())
    await settle()
    expect(drain).toHaveBeenCalledTimes(1)
    const late: Promise<unknown>[] = []
    for (let nth = 0; nth < 100; nth++) {
      late.push(cache.invalidateAll())
      if (nth % 10 === 0) await settle()
    }
    expect(drain).toHaveBeenCalledTimes(2)
    gate.open()
    const reports = await Promise.all(together)
    await Promise.all(late)
    expect(new Set(reports).size).toBe(1)
    expect(cache.statistics.invalidations).toBe(2)
  })

  it('does not join one that has unmapped already', async () => {
    const { cache } = setUp(small(8))
    cache.loadUint8(testPage(0), 0)
    const later: Promise<{ unmapped: number }>[] = []
    cache.addRamListener({
      added: () => {},
      removed: () => {
        if (later.length > 0) return
        cache.loadUint8(testPage(4), 0)
        later.push(cache.invalidateAll())
      },
    })
    expect((await cache.invalidateAll()).unmapped).toBe(1)
    expect(await later[0]).toMatchObject({ unmapped: 1 })
    expect(cache.statistics).toMatchObject({ entries: 0, invalidations: 2 })
  })

  it('can be waited for by a user that is being drained', async () => {
    const { cache } = setUp(small(8))
    cache.loadUint8(testPage(0), 0)
    let isNested = false
    cache.registerUser({
      name: 'nested',
      drain: async () => {
        if (isNested) return
        isNested = true
        await cache.invalidateAll()
      },
    })
    expect(await cache.invalidateAll()).toMatchObject({ unmapped: 0, drainFailures: [] })
    expect(cache.statistics).toMatchObject({ entries: 0, invalidations: 2 })
  })

  it('looks at the locks of what it retires once, and at those of its own pages alone', async () => {
    const { cache } = setUp({ windowPages: 64 * 4, bucketShift: 14 })
    for (let nth = 0; nth < 5000; nth++) {
      cache.lock(testPage(4 * (nth % 50)), 1 + Math.floor(nth / 50), 1, LOCK_DMA)
    }
    const first = await cache.invalidateAll()
    expect([first.retired, first.lockedDma.length]).toEqual([50, 5000])
    cache.lock(testPage(0), 0, 1, LOCK_DMA)
    const second = await cache.invalidateAll()
    expect([second.retired, second.lockedDma.length]).toEqual([1, 1])
  })

  it('S37 reports before anybody who is told of a lock can release it', async () => {
    const { cache, double } = setUp(small(8), { retention: AT_ONCE })
    const places = [0, 4].map((page) => cache.lock(testPage(page), 0, 1, LOCK_DMA))
    const release = (): void => {
      for (const place of places.splice(0)) cache.unlock(place, 0)
    }
    diagnostics.subscribe('xen_invalidate_map_cache', release)
    try {
      const report = await cache.invalidateAll()
      expect([report.retired, report.lockedDma.length]).toEqual([2, 2])
      expect(double.mapped.size).toBe(0)
      expect(cache.statistics).toMatchObject({ entries: 0, locks: 0 })
    } finally {
      diagnostics.unsubscribe('xen_invalidate_map_cache', release)
    }
  })

  it.each([0, 1])(
    'shows no page from before that was mapped in the place of zeros meanwhile (%d locks)',
    async (locks) => {
      const { cache, double } = setUp(small(4))
      const place = cache.lock(testPage(1), 0, 1, 0)
      double.failNextMap = 12
      expect(() => cache.replace(testPage(0), testPage(0), 4)).toThrow('told to fail')
      if (locks === 0) cache.unlock(place, 0)
      // The call has mapped the old page, and ends later.
      const gate = new Gate()
      double.afterMap = gate.pass
      const request = cache.lockAsync(testPage(1), 8, 1, 0)
      await settle()
      double.guestPage(1).set([9, 9, 9, 9])
      await cache.invalidateAll()
      gate.open()
      expect(contentAt(cache, await request)).toBe(0x0909_0909)
      expect(cache.loadUint32(testPage(1), 0)).toBe(0x0909_0909)
      expect(contentAt(cache, cache.lock(testPage(1), 0, 1, 0))).toBe(0x0909_0909)
    },
  )

  it('does nothing in a closed cache', async () => {
    const { cache } = setUp(small(8))
    cache.close()
    expect(await cache.invalidateAll()).toMatchObject({ unmapped: 0, retired: 0 })
  })
})

describe('MapCache.registerUser', () => {
  it('gives a name, and flags that no other user has', () => {
    const { cache } = setUp()
    const users = ['a', 'b', 'c'].map((name) => cache.registerUser({ name }))
    expect(users.map((user) => user.name)).toEqual(['a', 'b', 'c'])
    expect(new Set(users.map((user) => user.lockFlags)).size).toBe(3)
    expect(users.map((user) => user.lockFlags & (LOCK_DMA | LOCK_WRITE))).toEqual([0, 0, 0])
  })

  it('drains nobody who is unregistered, and still names their locks', async () => {
    const { cache } = setUp(small(8))
    const drain = vi.fn<() => void>()
    const user = cache.registerUser({ name: 'disk', drain })
    cache.map(testPage(5), 0, 16, { dma: true, user })
    user.unregister()
    user.unregister()
    const { lockedDma } = await cache.invalidateAll()
    expect(drain).not.toHaveBeenCalled()
    expect(lockedDma[0]?.holder).toBe('disk')
  })
})
