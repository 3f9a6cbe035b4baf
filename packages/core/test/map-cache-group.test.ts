import { LOCK_DMA, type MapCache, MapCacheGroup, NotLockedError, WrongCacheError } from '@xmc/core'
import { InvalidArgumentError, ReleasedError, windowPage } from '@xmc/interface'
import { describe, expect, it } from 'vitest'
import { type GuestDouble, type TestPage, testPage } from './doubles/guest-double.ts'
import { setUp, setUpGrants } from './doubles/set-up.ts'

/** A group of a foreign cache with 16 pages and a grant cache with 64. */
function groupOfTwo(): {
  group: MapCacheGroup<MapCache<TestPage, GuestDouble>>
  foreign: ReturnType<typeof setUp>
  grants: ReturnType<typeof setUpGrants>
} {
  const foreign = setUp({ bucketShift: 14, windowPages: 16 }, { name: 'foreign' })
  const grants = setUpGrants({}, { name: 'grants' })
  return { group: new MapCacheGroup([foreign.cache, grants.cache]), foreign, grants }
}

describe('MapCacheGroup', () => {
  it('has its members in order', () => {
    const { group, foreign, grants } = groupOfTwo()
    expect(group.members).toEqual([foreign.cache, grants.cache])
  })

  it('refuses no members, and members that share a window', () => {
    const { cache } = setUp()
    expect(() => new MapCacheGroup([])).toThrow(InvalidArgumentError)
    expect(() => new MapCacheGroup([cache, cache])).toThrow(
      expect.objectContaining({ code: 'ERR_XMC_ARGUMENT', field: 'members' }),
    )
  })
})

describe('MapCacheGroup.pageIn', () => {
  it('counts through the windows of the members', () => {
    const { group, foreign, grants } = groupOfTwo()
    expect(group.pageIn(foreign.cache, windowPage(0))).toBe(0)
    expect(group.pageIn(foreign.cache, windowPage(15))).toBe(15)
    expect(group.pageIn(grants.cache, windowPage(0))).toBe(16)
    expect(group.pageIn(grants.cache, windowPage(63))).toBe(79)
  })

  it('refuses pages beyond the window, which would be the next member’s', () => {
    const { group, foreign, grants } = groupOfTwo()
    expect(() => group.pageIn(foreign.cache, windowPage(16))).toThrow(InvalidArgumentError)
    expect(() => group.pageIn(grants.cache, windowPage(64))).toThrow(InvalidArgumentError)
  })

  it('refuses a cache that is no member', () => {
    const { group } = groupOfTwo()
    expect(() => group.pageIn(setUp().cache, windowPage(0))).toThrow(WrongCacheError)
  })
})

describe('MapCacheGroup.addressOf', () => {
  it('finds the cache of a handle or view by itself', () => {
    const { group, foreign, grants } = groupOfTwo()
    const frame = foreign.cache.map(testPage(5), 0x10, 16, { write: true })
    const grant = grants.cache.map(testPage(7), 0x20, 16, { write: true })
    expect(group.addressOf(frame)).toEqual({
      cache: foreign.cache,
      page: 5,
      offset: 0x10,
      address: 0x5010n,
    })
    expect(group.addressOf(grant.bytes.subarray(1))).toEqual({
      cache: grants.cache,
      page: 7,
      offset: 0x21,
      address: 0x7021n,
    })
  })

  it('refuses what no member has', () => {
    const { group } = groupOfTwo()
    const other = setUp().cache.map(testPage(5), 0, 16)
    expect(() => group.addressOf(other)).toThrow(
      'foreign, grants: the handle belongs to another cache: give it to that one',
    )
    expect(() => group.addressOf(other.unsafeBytes)).toThrow(WrongCacheError)
    expect(() => group.addressOf(new Uint8Array(1))).toThrow(WrongCacheError)
  })

  it('refuses what is not locked any more', () => {
    const { group, foreign } = groupOfTwo()
    const frame = foreign.cache.map(testPage(5), 0x10, 16)
    const bytes = frame.unsafeBytes
    frame.release()
    expect(() => group.addressOf(frame)).toThrow(ReleasedError)
    expect(() => group.addressOf(bytes)).toThrow(NotLockedError)
  })
})

describe('MapCacheGroup.addressOfPage', () => {
  it('finds the cache of a page of the group', () => {
    const { group, foreign, grants } = groupOfTwo()
    const frame = group.pageIn(foreign.cache, foreign.cache.lock(testPage(5), 0, 1, 0))
    const grant = group.pageIn(grants.cache, grants.cache.lock(testPage(7), 0, 1, 0))
    expect(group.addressOfPage(frame)).toMatchObject({ cache: foreign.cache, address: 0x5000n })
    expect(group.addressOfPage(grant, 0x123)).toEqual({
      cache: grants.cache,
      page: 7,
      offset: 0x123,
      address: 0x7123n,
    })
    expect(() => group.addressOfPage(grant, 4096)).toThrow(InvalidArgumentError)
    grants.cache.close({ force: true })
    expect(() => group.addressOfPage(grant)).toThrow(NotLockedError)
  })
})

describe('MapCacheGroup.unlock', () => {
  it('takes the lock back in the cache that the page belongs to', () => {
    const { group, foreign, grants } = groupOfTwo()
    const frame = group.pageIn(foreign.cache, foreign.cache.lock(testPage(5), 0x10, 1, 0))
    const grant = group.pageIn(grants.cache, grants.cache.lock(testPage(7), 0x20, 1, 0))
    expect(() => {
      group.unlock(grant, 0x10)
    }).toThrow(NotLockedError)
    group.unlock(grant, 0x20)
    expect(grants.double.mapped.size).toBe(0)
    expect(foreign.cache.statistics.locks).toBe(1)
    group.unlock(frame, 0x10)
    expect(foreign.cache.statistics.locks).toBe(0)
    expect(() => {
      group.unlock(frame, 0x10)
    }).toThrow(NotLockedError)
  })

  it.each([-1, 80, Number.NaN])('refuses page %d', (page) => {
    const { group, grants } = groupOfTwo()
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- what is tested is the check
    const bad = page as ReturnType<typeof group.pageIn>
    expect(() => {
      group.unlock(bad, 0)
    }).toThrow(`page: expected a page of the group, 0 to 79, got ${page}`)
    expect(grants.cache.statistics.locks).toBe(0)
  })
})

describe('MapCacheGroup.unlockAsync', () => {
  it('S34 resolves when the mapping is gone', async () => {
    const { group, grants } = groupOfTwo()
    const grant = group.pageIn(grants.cache, grants.cache.lock(testPage(7), 0x20, 1, 0))
    const done = group.unlockAsync(grant, 0x20)
    expect(grants.double.mapped.size).toBe(1)
    await done
    expect(grants.double.mapped.size).toBe(0)
    await expect(group.unlockAsync(grant, 0x20)).rejects.toThrow(NotLockedError)
  })
})

describe('MapCacheGroup.release', () => {
  it('releases handles and views of any member', () => {
    const { group, foreign, grants } = groupOfTwo()
    const frame = foreign.cache.map(testPage(5), 0x10, 16)
    const grant = grants.cache.map(testPage(7), 0x20, 16)
    group.release(grant)
    expect(grant.released).toBe(true)
    group.release(frame.unsafeBytes)
    expect(foreign.cache.statistics.locks).toBe(0)
    expect(() => {
      group.release(grant)
    }).toThrow(ReleasedError)
    expect(() => {
      group.release(new Uint8Array(1))
    }).toThrow(WrongCacheError)
  })
})

describe('MapCacheGroup.invalidateAll', () => {
  it('S38 drops foreign memory and leaves grants alone', async () => {
    const { group, foreign, grants } = groupOfTwo()
    foreign.cache.loadUint8(testPage(5), 0)
    grants.cache.lock(testPage(7), 0, 1, LOCK_DMA)
    const reports = await group.invalidateAll()
    expect(reports.map((report) => [report.unmapped, report.retired])).toEqual([
      [1, 0],
      [0, 0],
    ])
    expect(foreign.double.mapped.size).toBe(0)
    expect(grants.double.log).toEqual(['map 7+1 ro'])
  })

  it("S39 drains the group's users before any member is invalidated", async () => {
    const { group, foreign } = groupOfTwo()
    foreign.cache.loadUint8(testPage(5), 0)
    const failure = new Error('stuck')
    const seen: number[] = []
    group.registerUser({ name: 'disk', drain: () => void seen.push(foreign.double.mapped.size) })
    group.registerUser({ name: 'net', drain: async () => Promise.reject(failure) })
    foreign.cache.registerUser({
      name: 'console',
      drain: () => {
        throw failure
      },
    })
    const reports = await group.invalidateAll()
    expect(seen).toEqual([4])
    expect(reports.map((report) => report.drainFailures)).toEqual([
      [
        { user: 'net', error: failure },
        { user: 'console', error: failure },
      ],
      [],
    ])
  })

  it('S37 names the users of the group and of the members in reports', async () => {
    const { group, foreign } = groupOfTwo()
    const net = foreign.cache.registerUser({ name: 'net' })
    const disk = group.registerUser({ name: 'disk' })
    foreign.cache.map(testPage(5), 0, 16, { dma: true, user: disk })
    foreign.cache.map(testPage(6), 0, 16, { dma: true, user: net })
    const [report] = await group.invalidateAll()
    expect(report?.lockedDma.map(({ page, holder }) => [page, holder])).toEqual([
      [5, 'disk'],
      [6, 'net'],
    ])
  })
})

describe('MapCacheGroup.registerUser', () => {
  it('drains nobody who is unregistered', async () => {
    const { group } = groupOfTwo()
    let drained = 0
    const user = group.registerUser({ name: 'disk', drain: () => void drained++ })
    await group.invalidateAll()
    user.unregister()
    await group.invalidateAll()
    expect(drained).toBe(1)
  })
})
