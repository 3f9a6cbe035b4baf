import {
  LOCK_WRITE,
  MapCache,
  Mapping,
  NotLockedError,
  PagedOutError,
  PagesMissingError,
  UnmapFailedError,
  WindowFullError,
  WrongCacheError,
} from '@xmc/core'
import { InvalidArgumentError, ReleasedError } from '@xmc/interface'
import { describe, expect, it } from 'vitest'
import { GuestDouble, testPage } from './doubles/guest-double.ts'
import { AT_ONCE, contentAt, Gate, pages, settle, setUp, small } from './doubles/set-up.ts'

describe('MapCache', () => {
  it('S7 refuses a bucket shift below 12 or above 30', () => {
    for (const bucketShift of [11, 31, 12.5, Number.NaN]) {
      expect(() => setUp({ bucketShift })).toThrow(
        expect.objectContaining({ code: 'ERR_XMC_ARGUMENT', field: 'backend.bucketShift' }),
      )
    }
    expect(setUp({ bucketShift: 12, windowPages: 1 }).cache.closed).toBe(false)
  })

  it('refuses a window that holds no bucket', () => {
    expect(() => setUp({ bucketShift: 14, windowPages: 3 })).toThrow(
      'backend.window: expected a window of at least one bucket, 4 pages, got 3',
    )
  })

  it('refuses a window that serves another cache, until that is closed', () => {
    const { cache, double } = setUp({ bucketShift: 14, windowPages: 8 })
    expect(() => new MapCache({ backend: double, name: 'second' })).toThrow(
      'second: the window serves another cache: open one for each cache',
    )
    cache.close()
    const second = new MapCache({ backend: double })
    expect(second.loadUint32(testPage(5), 0)).toBe(5)
  })

  it('leaves the rest of a window alone that is not a whole bucket', () => {
    const { cache } = setUp({ bucketShift: 14, windowPages: 7 })
    expect(cache.lock(testPage(0), 0, 1, 0)).toBe(0)
    expect(() => cache.lock(testPage(4), 0, 1, 0)).toThrow(WindowFullError)
  })

  it.each([-1, 0.5, Number.NaN, 2 ** 53])('refuses a quarantine of %d bytes', (quarantineBytes) => {
    expect(() => setUp({}, { quarantineBytes })).toThrow(
      expect.objectContaining({ code: 'ERR_XMC_ARGUMENT', field: 'quarantineBytes' }),
    )
  })

  it('refuses a bad retention', () => {
    expect(() => setUp({}, { retention: { kind: 'keep', budgetBytes: 0 } })).toThrow(
      expect.objectContaining({ code: 'ERR_XMC_ARGUMENT', field: 'retention.budgetBytes' }),
    )
  })

  it('lets 4 MiB be freed before a place is used again, unless told otherwise', () => {
    const double = new GuestDouble(small(1024))
    const cache = new MapCache({ backend: double, retention: AT_ONCE })
    const use = (): number => {
      const place = cache.lock(testPage(0), 0, 1, 0)
      cache.unlock(place, 0)
      return place
    }
    // 256 buckets of 16 KiB rest before the first is used again.
    const places = Array.from({ length: 258 }, use)
    expect(new Set(places.slice(0, 257)).size).toBe(257)
    expect(places[257]).toBe(places[0])
  })
})

describe('MapCache.map', () => {
  it('gives a handle on locked memory', () => {
    const { cache, double } = setUp()
    const mapping = cache.map(testPage(0x12), 0x345, 100, { write: true })
    expect(mapping).toBeInstanceOf(Mapping)
    expect(mapping).toMatchObject({ length: 100, writable: true, released: false, page: 0x12 })
    expect(mapping.cache).toBe(cache)
    expect(double.log).toEqual(['map 0+256 rw'])
    expect(cache.statistics.locks).toBe(1)
    mapping.release()
    expect(cache.statistics.locks).toBe(0)
  })

  it('is for reading unless it is told otherwise', () => {
    const { cache, double } = setUp({ access: 'as-requested' })
    expect(cache.map(testPage(1), 0, 1).writable).toBe(false)
    expect(cache.map(testPage(1), 0, 1, { write: false }).writable).toBe(false)
    expect(cache.map(testPage(1), 0, 1, { write: true }).writable).toBe(true)
    expect(double.log).toEqual(['map 0+256 ro', 'map 0+256 rw'])
  })

  it('refuses what lock refuses, and holds nothing then', () => {
    const { cache, double } = setUp({ access: 'read-only' })
    double.punch(0, 256)
    expect(() => cache.map(testPage(1), 0, 1, { write: true })).toThrow(
      expect.objectContaining({ code: 'ERR_XMC_READ_ONLY' }),
    )
    expect(() => cache.map(testPage(1), 0, 1)).toThrow(PagesMissingError)
    expect(() => cache.map(testPage(1), 4096, 1)).toThrow(InvalidArgumentError)
    expect(cache.statistics).toMatchObject({ locks: 0, entries: 0, hits: 0, misses: 1 })
  })
})

describe('MapCache.mapAsync', () => {
  it('gives a handle as map does', async () => {
    const { cache, double } = setUp({ access: 'as-requested' })
    const mapping = await cache.mapAsync(testPage(0x12), 0x345, 100, { write: true })
    expect(mapping).toMatchObject({ length: 100, writable: true, page: 0x12 })
    expect((await cache.mapAsync(testPage(0x12), 0, 1)).writable).toBe(false)
    expect(double.log).toEqual(['map 0+256 rw'])
  })

  it('rejects what map refuses', async () => {
    const { cache, double } = setUp()
    double.punch(0, 256, 2)
    await expect(cache.mapAsync(testPage(1), 0, 1)).rejects.toThrow(PagedOutError)
    await expect(cache.mapAsync(testPage(1), -1, 1)).rejects.toThrow(InvalidArgumentError)
  })
})

describe('MapCache.mapAddress', () => {
  it('takes a 64-bit address apart', () => {
    const { cache } = setUp({ bucketShift: 12, windowPages: 4 })
    const mapping = cache.mapAddress(0x8000_0000_0000_7123n, 16)
    expect(mapping.page).toBe(2 ** 51 + 7)
    expect(mapping.address).toBe(0x8000_0000_0000_7123n)
    expect(cache.mapAddress(2n ** 64n - 1n, 1).page).toBe(2 ** 52 - 1)
    expect(cache.mapAddress(0n, 1, { write: true })).toMatchObject({ page: 0, writable: true })
  })

  it.each([-1n, 2n ** 64n, -(2n ** 63n)])('refuses %d', (address) => {
    const { cache } = setUp({ bucketShift: 12, windowPages: 4 })
    expect(() => cache.mapAddress(address, 1)).toThrow(InvalidArgumentError)
  })
})

describe('MapCache.addressOf', () => {
  it('S27 gives the guest address of a handle, and of any byte of its views', () => {
    const { cache } = setUp()
    const mapping = cache.map(testPage(5), 0x10, 0x3000)
    expect(cache.addressOf(mapping)).toBe(0x5010n)
    const bytes = mapping.unsafeBytes
    expect(cache.addressOf(bytes)).toBe(0x5010n)
    expect(cache.addressOf(bytes.subarray(1))).toBe(0x5011n)
    expect(cache.addressOf(bytes.subarray(0x1000 - 0x10))).toBe(0x6000n)
    expect(cache.addressOf(new DataView(bytes.buffer, bytes.byteOffset + 0x2fff, 1))).toBe(0x800fn)
  })

  it('refuses what is not locked any more', () => {
    const { cache } = setUp()
    const mapping = cache.map(testPage(5), 0x10, 16)
    const bytes = mapping.unsafeBytes
    mapping.release()
    expect(() => cache.addressOf(mapping)).toThrow(ReleasedError)
    expect(() => cache.addressOf(bytes)).toThrow(NotLockedError)
  })

  it('refuses handles and views of other caches', () => {
    const { cache, double } = setUp()
    const other = setUp().cache.map(testPage(5), 0, 16)
    expect(() => cache.addressOf(other)).toThrow(WrongCacheError)
    expect(() => cache.addressOf(other.unsafeBytes)).toThrow(WrongCacheError)
    expect(() => cache.addressOf(new Uint8Array(16))).toThrow(WrongCacheError)
    // In the buffer, but before and behind the window.
    const { buffer, byteOffset, pageCount } = double.window
    expect(() => cache.addressOf(new Uint8Array(buffer, 0, 16))).toThrow(WrongCacheError)
    expect(() => cache.addressOf(new Uint8Array(buffer, byteOffset + pageCount * 4096))).toThrow(
      WrongCacheError,
    )
  })
})

describe('MapCache.pointerOf', () => {
  it('gives window page and offset, locked or not', () => {
    const { cache, double } = setUp()
    const mapping = cache.map(testPage(5), 0x10, 0x3000)
    const { windowPage: place } = mapping.pointer()
    expect(cache.pointerOf(mapping)).toEqual({ windowPage: place, offset: 0x10 })
    expect(cache.pointerOf(mapping.unsafeBytes.subarray(0x1000))).toEqual({
      windowPage: place + 1,
      offset: 0x10,
    })
    const { buffer, byteOffset, pageCount } = double.window
    const last = new Uint8Array(buffer, byteOffset + pageCount * 4096 - 1)
    expect(cache.pointerOf(last)).toEqual({ windowPage: pageCount - 1, offset: 4095 })
  })
})

describe('MapCache.release', () => {
  it('releases a handle', () => {
    const { cache } = setUp()
    const mapping = cache.map(testPage(5), 0x10, 16)
    cache.release(mapping)
    expect(mapping.released).toBe(true)
    expect(() => {
      cache.release(mapping)
    }).toThrow(ReleasedError)
    expect(cache.statistics.locks).toBe(0)
  })

  it('takes back one lock at the first byte of a view', () => {
    const { cache } = setUp()
    const place = cache.lock(testPage(5), 0x10, 16, 0)
    const at = cache.view.byteOffset + place * 4096 + 0x10
    const inside = new Uint8Array(cache.view.buffer, at + 1, 1)
    expect(() => {
      cache.release(inside)
    }).toThrow(NotLockedError)
    cache.release(new Uint8Array(cache.view.buffer, at, 1))
    expect(cache.statistics.locks).toBe(0)
  })

  it("refuses another cache's handle, which stays", () => {
    const { cache } = setUp()
    const other = setUp().cache.map(testPage(5), 0, 16)
    expect(() => {
      cache.release(other)
    }).toThrow(WrongCacheError)
    expect(other.released).toBe(false)
  })
})

describe('MapCache.statistics', () => {
  it('counts what happened and what is there', () => {
    const { cache, double } = setUp(small(3))
    double.punch(12, 4)
    const place = cache.lock(testPage(0), 0, 16, 0)
    cache.lock(testPage(0), 0, 16, 0)
    cache.lock(testPage(1), 8, 16, 0)
    cache.read(testPage(0), 0, new Uint8Array(16))
    cache.loadUint8(testPage(4), 0)
    cache.loadUint8(testPage(4), 0)
    expect(() => cache.loadUint8(testPage(12), 0)).toThrow(PagesMissingError)
    cache.loadUint8(testPage(8), 0)
    cache.loadUint8(testPage(16), 0)
    expect(cache.statistics).toEqual({
      hits: 3,
      misses: 5,
      mapCalls: 5,
      unmapCalls: 2,
      pagesRequested: 20,
      copyCalls: 0,
      evictions: 1,
      invalidations: 0,
      unmapFailures: 0,
      leaks: 0,
      searchSteps: expect.any(Number),
      entries: 3,
      lockedEntries: 1,
      locks: 3,
      holds: 0,
      callsUnderWay: 0,
      mappedPages: 12,
      lostPages: 0,
      memoryAreas: 0,
      memoryAreaLimit: 0,
      areaShortages: 0,
      missingRemembered: 0,
    })
    cache.unlock(place, 0)
    expect(cache.statistics.locks).toBe(2)
  })

  it('counts no hits for requests that were refused', () => {
    const { cache } = setUp({ ...small(4), access: 'read-only' })
    expect(() => cache.lock(testPage(0), 0, 1, LOCK_WRITE)).toThrow('double is read-only')
    expect(() => {
      cache.storeUint8(testPage(0), 0, 1)
    }).toThrow('double is read-only')
    expect(() => cache.lock(testPage(0), -1, 1, 0)).toThrow('offset: expected')
    expect(() => cache.mapList(pages(0), { write: true })).toThrow('double is read-only')
    expect(cache.statistics.hits).toBe(0)
  })

  it('counts what is lost while it is lost', () => {
    const { cache, double } = setUp(small(4))
    cache.loadUint8(testPage(0), 0)
    double.failNextUnmap = true
    expect(cache.flush()).toBe(0)
    expect(cache.statistics).toMatchObject({ unmapFailures: 1, lostPages: 4, mappedPages: 0 })
    cache.close()
    expect(cache.statistics).toMatchObject({ unmapFailures: 1, lostPages: 0, unmapCalls: 2 })
  })

  it('counts no evictions for a flush, a close or a full invalidation', async () => {
    const { cache } = setUp(small(4))
    cache.loadUint8(testPage(0), 0)
    cache.flush()
    cache.loadUint8(testPage(0), 0)
    await cache.invalidateAll()
    cache.loadUint8(testPage(0), 0)
    cache.close()
    expect(cache.statistics).toMatchObject({ evictions: 0, unmapCalls: 3 })
  })
})

describe('MapCache.flush', () => {
  it('unmaps what nobody has locked, and says how many', () => {
    const { cache, double } = setUp(small(8))
    cache.lock(testPage(0), 0, 1, 0)
    for (const page of [4, 8]) cache.loadUint8(testPage(page), 0)
    expect(cache.flush()).toBe(2)
    expect([...double.mapped.values()]).toEqual([0, 1, 2, 3])
    expect(cache.flush()).toBe(0)
  })

  it('does not count what could not be unmapped', () => {
    const { cache, double } = setUp(small(8))
    for (const page of [4, 8]) cache.loadUint8(testPage(page), 0)
    double.failNextUnmap = true
    expect(cache.flush()).toBe(1)
    expect(cache.statistics.lostPages).toBe(4)
  })

  it('does not disturb requests under way', async () => {
    const { cache, double } = setUp(small(8))
    double.punch(1, 1)
    cache.unlock(cache.lock(testPage(0), 0, 1, 0), 0)
    double.populate(1, 1)
    const gate = new Gate()
    double.beforeMap = gate.pass
    const requests = [cache.lockAsync(testPage(1), 0, 1, 0), cache.lockAsync(testPage(5), 0, 1, 0)]
    await settle()
    expect(cache.flush()).toBe(0)
    gate.open()
    const places = await Promise.all(requests)
    expect(places.map((place) => contentAt(cache, place))).toEqual([1, 5])
  })
})

describe('MapCache.close', () => {
  it('unmaps everything; the second call does nothing', () => {
    const { cache, double } = setUp(small(8))
    for (const page of [4, 8]) cache.loadUint8(testPage(page), 0)
    cache.close()
    expect(cache.closed).toBe(true)
    expect(double.mapped.size).toBe(0)
    double.log.splice(0)
    cache.close()
    cache.close({ force: true })
    expect(double.log).toEqual([])
  })

  it('refuses while locks are outstanding, and has done nothing then', () => {
    const { cache, double } = setUp(small(8))
    const place = cache.lock(testPage(0), 0, 1, 0)
    cache.lock(testPage(0), 0, 1, 0)
    cache.loadUint8(testPage(4), 0)
    expect(() => {
      cache.close()
    }).toThrow(expect.objectContaining({ code: 'ERR_XMC_BUSY', locks: 2 }))
    expect(cache.closed).toBe(false)
    expect(double.mapped.size).toBe(8)
    cache.unlock(place, 0)
    cache.unlock(place, 0)
    cache.close()
    expect(double.mapped.size).toBe(0)
  })

  it('takes every lock with force; pointers and handles are released', () => {
    const { cache, double } = setUp(small(8))
    const place = cache.lock(testPage(0), 16, 1, 0)
    cache.lock(testPage(0), 32, 1, 0)
    const mapping = cache.map(testPage(4), 0, 16, { write: true })
    const list = cache.mapList(pages(9, 3))
    cache.close({ force: true })
    expect(double.mapped.size).toBe(0)
    expect(mapping.released).toBe(true)
    expect(() => mapping.bytes).toThrow(ReleasedError)
    expect(() => {
      list.release()
    }).toThrow(ReleasedError)
    expect(() => {
      cache.unlock(place, 16)
    }).toThrow(NotLockedError)
    expect(() => {
      cache.unlock(place, 32)
    }).toThrow(NotLockedError)
    expect(() => cache.pageOf(place)).toThrow(NotLockedError)
    expect(cache.statistics).toMatchObject({ entries: 0, locks: 0, mappedPages: 0 })
  })

  it('tries once more what could not be unmapped, and says when it still cannot', () => {
    const { cache, double } = setUp(small(8))
    cache.loadUint8(testPage(0), 0)
    double.failNextUnmap = true
    cache.flush()
    double.failNextUnmap = true
    expect(() => {
      cache.close()
    }).toThrow(UnmapFailedError)
    expect(cache.closed).toBe(true)
    expect(cache.statistics.lostPages).toBe(4)
  })

  it('recovers in the same close from an unmap that fails once', () => {
    const { cache, double } = setUp(small(8))
    cache.loadUint8(testPage(0), 0)
    double.failNextUnmap = true
    cache.close()
    expect(double.mapped.size).toBe(0)
    expect(cache.statistics.lostPages).toBe(0)
  })

  it('is what using does, with force', () => {
    const { cache, double } = setUp(small(8))
    {
      using disposed = cache
      disposed.lock(testPage(0), 0, 1, 0)
    }
    expect(cache.closed).toBe(true)
    expect(double.mapped.size).toBe(0)
  })
})
