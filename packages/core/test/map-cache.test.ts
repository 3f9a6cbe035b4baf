import {
  ClosedError,
  DEFAULT_BUDGET_BYTES,
  InvalidArgumentError,
  LOCK_DMA,
  LOCK_WRITE,
  MapCache,
  Mapping,
  NotLockedError,
  NotMappedError,
  PagedOutError,
  PagesMissingError,
  RefusedError,
  ReleasedError,
  SystemCallError,
  UnmapFailedError,
  WindowFullError,
  type WindowPage,
  WrongCacheError,
} from '@xmc/core'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { GuestDouble, type TestPage, testPage } from './doubles/guest-double.ts'
import { contentAt, Gate, settle, setUp, setUpGrants } from './doubles/set-up.ts'

const AT_ONCE = { kind: 'at-once' } as const

/** A window of `buckets` buckets of 4 pages. */
const small = (buckets: number): { windowPages: number; bucketShift: number } => ({
  windowPages: buckets * 4,
  bucketShift: 14,
})

/** Pages of the double. */
const pages = (...numbers: number[]): TestPage[] => numbers.map(testPage)

/** Notes what a cache tells a listener, and checks that it is balanced. */
class Listener {
  readonly events: string[] = []
  readonly present: Map<number, number> = new Map()
  /** Told of what was there already, or not of what goes. */
  unbalanced = 0
  failNext: 'added' | 'removed' | undefined

  added(place: WindowPage, pageCount: number): void {
    this.events.push(`added ${pageCount}`)
    if (this.present.has(place)) this.unbalanced++
    this.present.set(place, pageCount)
    this.throwIf('added')
  }

  removed(place: WindowPage, pageCount: number): void {
    this.events.push(`removed ${pageCount}`)
    if (this.present.get(place) !== pageCount) this.unbalanced++
    this.present.delete(place)
    this.throwIf('removed')
  }

  private throwIf(kind: 'added' | 'removed'): void {
    if (this.failNext !== kind) return
    this.failNext = undefined
    throw new Error(`${kind} failed`)
  }
}

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

describe('MapCache.mapList', () => {
  it('maps pages in any order contiguously, by one call', () => {
    const { cache, double } = setUp(small(8))
    const mapping = cache.mapList(pages(9, 3, 9, 2 ** 40))
    expect(double.log).toEqual([`map [9,3,9,${2 ** 40}] rw`])
    expect(mapping.length).toBe(4 * 4096)
    expect([0, 1, 2].map((nth) => mapping.readUint32(nth * 4096))).toEqual([9, 3, 9])
    expect(mapping.page).toBe(9)
    expect(mapping.address).toBe(0x9000n)
    expect(cache.addressOf(mapping.unsafeBytes.subarray(4097))).toBe(0x3001n)
    mapping.release()
    expect(double.log.slice(1)).toEqual(['unmap 4'])
  })

  it('maps more pages than a bucket has, and 1000 in one call', () => {
    const { cache, double } = setUp({ bucketShift: 14, windowPages: 4096 })
    const scattered = Array.from({ length: 1000 }, (_, nth) => testPage((nth * 7919) % 65_536))
    const mapping = cache.mapList(scattered)
    expect(double.log).toHaveLength(1)
    expect(mapping.readUint32(999 * 4096)).toBe((999 * 7919) % 65_536)
    expect(cache.addressOf(mapping.unsafeBytes.subarray(500 * 4096))).toBe(
      BigInt((500 * 7919) % 65_536) * 4096n,
    )
    mapping.release()
    expect(double.log[1]).toBe('unmap 1000')
    expect(double.mapped.size).toBe(0)
  })

  it("is nobody else's: neither found nor shared, and gone with its release", () => {
    const { cache, double } = setUp(small(8))
    const list = cache.mapList(pages(0, 1, 2, 3))
    const other = cache.mapList(pages(0, 1, 2, 3))
    const run = cache.map(testPage(0), 0, 4096)
    expect(double.log).toEqual(['map [0,1,2,3] rw', 'map [0,1,2,3] rw', 'map 0+4 rw'])
    list.release()
    other.release()
    run.release()
    expect(double.log.slice(3)).toEqual(['unmap 4', 'unmap 4'])
  })

  it('S55 maps nothing when a page of it fails', () => {
    const { cache, double } = setUp(small(8))
    double.punch(3, 1, 14)
    expect(() => cache.mapList(pages(9, 3, 4))).toThrow(
      expect.objectContaining({ code: 'ERR_XMC_PAGES_MISSING', page: 3, errno: 14 }),
    )
    expect(double.log).toEqual(['map [9,3,4] rw', 'unmap 3'])
    expect(cache.statistics).toMatchObject({ entries: 0, mappedPages: 0, locks: 0 })
  })

  it('passes on the error of the backend, and of a page that is paged out', () => {
    const { cache, double } = setUp(small(8))
    double.failNextMap = 12
    expect(() => cache.mapList(pages(9))).toThrow(SystemCallError)
    double.punch(3, 1, 2)
    expect(() => cache.mapList(pages(3))).toThrow(PagedOutError)
    expect(double.mapped.size).toBe(0)
  })

  it('refuses a bad list without a call', () => {
    const { cache, double } = setUp(small(8))
    const refusal = expect.objectContaining({ code: 'ERR_XMC_ARGUMENT', field: 'pages' })
    expect(() => cache.mapList([])).toThrow(refusal)
    expect(() => cache.mapList(Array.from({ length: 524_288 }, () => testPage(0)))).toThrow(refusal)
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- what is tested is the check
    const bad = -1 as TestPage
    expect(() => cache.mapList([...pages(0), bad])).toThrow(InvalidArgumentError)
    expect(() => cache.mapList(Array.from({ length: 33 }, () => testPage(0)))).toThrow(
      WindowFullError,
    )
    expect(double.log).toEqual([])
  })

  it('refuses to write through a read-only backend, and after close', () => {
    const { cache } = setUp({ ...small(8), access: 'read-only' })
    expect(() => cache.mapList(pages(0), { write: true })).toThrow(
      expect.objectContaining({ code: 'ERR_XMC_READ_ONLY' }),
    )
    expect(cache.mapList(pages(0)).writable).toBe(false)
    cache.close({ force: true })
    expect(() => cache.mapList(pages(0))).toThrow(ClosedError)
  })

  it('keeps read-only and writable lists apart', () => {
    const { cache, double } = setUpGrants()
    cache.mapList(pages(7, 3))
    cache.mapList(pages(7, 3), { write: true })
    expect(double.log).toEqual(['map [7,3] ro', 'map [7,3] rw'])
  })

  it('counts as a miss', () => {
    const { cache } = setUp(small(8))
    cache.mapList(pages(9, 3))
    expect(cache.statistics).toMatchObject({
      hits: 0,
      misses: 1,
      mapCalls: 1,
      pagesRequested: 2,
      locks: 1,
    })
  })
})

describe('MapCache.mapListAsync', () => {
  it('maps as mapList does, the list as it was when asked', async () => {
    const { cache, double } = setUp(small(8))
    const list = pages(9, 3)
    const request = cache.mapListAsync(list, { write: true })
    list[0] = testPage(5)
    const mapping = await request
    expect(double.log).toEqual(['map [9,3] rw'])
    expect(mapping).toMatchObject({ page: 9, length: 8192, writable: true })
    expect(cache.addressOf(mapping)).toBe(0x9000n)
    mapping.release()
    expect(double.mapped.size).toBe(0)
  })

  it('rejects what mapList refuses', async () => {
    const { cache, double } = setUp(small(8))
    await expect(cache.mapListAsync([])).rejects.toThrow(InvalidArgumentError)
    double.punch(3, 1)
    await expect(cache.mapListAsync(pages(9, 3))).rejects.toThrow(PagesMissingError)
    double.failNextMap = 12
    await expect(cache.mapListAsync(pages(9))).rejects.toThrow(SystemCallError)
    expect(double.mapped.size).toBe(0)
  })

  it('is not evicted between its map and its lock', async () => {
    const { cache, double } = setUp(small(8))
    const gate = new Gate()
    double.beforeMap = gate.pass
    const request = cache.mapListAsync(pages(9, 3))
    await settle()
    gate.open()
    for (let nth = 0; nth < 20; nth++) {
      await Promise.resolve()
      cache.flush()
    }
    const mapping = await request
    expect(mapping.readUint32(4096)).toBe(3)
    mapping.release()
    expect(double.log).toEqual(['map [9,3] rw', 'unmap 2'])
  })

  it('starts over when everything is invalidated meanwhile', async () => {
    const { cache, double } = setUp(small(8))
    const gate = new Gate()
    double.beforeMap = gate.pass
    const request = cache.mapListAsync(pages(9, 3))
    await settle()
    await cache.invalidateAll()
    gate.open()
    const mapping = await request
    expect(double.log).toEqual(['map [9,3] rw', 'unmap 2', 'map [9,3] rw'])
    expect(mapping.readUint32(0)).toBe(9)
  })

  it('rejects when the cache is closed meanwhile, and leaves nothing mapped', async () => {
    const { cache, double } = setUp(small(8))
    const gate = new Gate()
    double.beforeMap = gate.pass
    const request = cache.mapListAsync(pages(9, 3))
    await settle()
    cache.close()
    gate.open()
    await expect(request).rejects.toThrow(ClosedError)
    expect(double.mapped.size).toBe(0)
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

describe('MapCache.guestArriving', () => {
  it('S41 gives zero pages where nothing can be mapped yet', () => {
    const { cache, double } = setUp({ windowPages: 16_384 })
    double.punch(0x4_0000, 4096)
    cache.guestArriving = true
    expect(cache.guestArriving).toBe(true)
    const mapping = cache.map(testPage(0x4_0000), 0, 16 * 2 ** 20, { write: true })
    expect(double.log).toEqual(['map 262144+4096 rw', 'unmap 4096'])
    expect(mapping.readUint32(0)).toBe(0)
    expect(mapping.address).toBe(0x4000_0000n)
    mapping.writeUint32(0, 5)
    expect(cache.map(testPage(0x4_0000), 0, 16 * 2 ** 20).readUint32(0)).toBe(5)
    expect(double.log).toHaveLength(2)
  })

  it('maps what can be mapped', () => {
    const { cache } = setUp(small(4))
    cache.guestArriving = true
    expect(cache.map(testPage(5), 0, 16).readUint32(0)).toBe(5)
  })

  it('gives errors again when it is over, but for the dummies that are there', () => {
    const { cache, double } = setUp(small(4))
    double.punch(0, 8)
    cache.guestArriving = true
    cache.map(testPage(0), 0, 1)
    cache.guestArriving = false
    expect(cache.map(testPage(1), 0, 1).readUint8(0)).toBe(0)
    expect(() => cache.map(testPage(4), 0, 1)).toThrow(PagesMissingError)
  })

  it('unmaps a dummy without a call to the backend', () => {
    const { cache, double } = setUp(small(4))
    double.punch(0, 4)
    cache.guestArriving = true
    const mapping = cache.map(testPage(1), 0, 16, { write: true })
    const { windowPage: place } = mapping.pointer()
    mapping.writeUint32(0, 5)
    mapping.release()
    double.log.splice(0)
    double.window.log.splice(0)
    expect(cache.flush()).toBe(1)
    expect(double.log).toEqual([])
    expect(double.window.log).toEqual([`reset ${place - 1}+4`])
    expect(contentAt(cache, place)).toBe(0)
    expect(double.misuse).toEqual([])
  })

  it('serves real pages beside a dummy of the same bucket', () => {
    const { cache, double } = setUp(small(4))
    double.punch(2, 2)
    const real = cache.lock(testPage(0), 0, 1, 0)
    cache.guestArriving = true
    const dummy = cache.lock(testPage(2), 0, 1, LOCK_WRITE)
    expect(contentAt(cache, dummy)).toBe(0)
    expect(cache.lock(testPage(1), 0, 1, LOCK_WRITE)).toBe(real + 1)
    expect(cache.loadUint32(testPage(1), 0)).toBe(1)
    cache.storeUint32(testPage(1), 4, 77)
    expect(cache.view.getUint32((real + 1) * 4096 + 4, true)).toBe(77)
    expect(cache.loadUint32(testPage(2), 0)).toBe(0)
    expect(cache.pageOf(dummy)).toBe(2)
  })

  it('gives no writable dummy over a read-only backend', () => {
    const { cache, double } = setUp({ ...small(4), access: 'read-only' })
    double.punch(0, 4)
    cache.guestArriving = true
    cache.lock(testPage(1), 0, 1, 0)
    for (let nth = 0; nth < 2; nth++) {
      expect(() => cache.lock(testPage(1), 0, 1, LOCK_WRITE)).toThrow(
        expect.objectContaining({ code: 'ERR_XMC_READ_ONLY' }),
      )
    }
    double.populate(0, 4)
    cache.replace(testPage(1), testPage(1), 1)
    expect(double.log.at(-1)).toBe('map 0+4 ro')
    expect(double.misuse).toEqual([])
  })

  it('serves writes from the dummy of a read', () => {
    const { cache, double } = setUp({ ...small(4), access: 'as-requested' })
    double.punch(0, 4)
    cache.guestArriving = true
    const place = cache.lock(testPage(1), 0, 1, 0)
    expect(cache.lock(testPage(1), 0, 1, LOCK_WRITE)).toBe(place)
  })

  it('has no effect over pinned pages', () => {
    const { cache, double } = setUpGrants()
    double.punch(7, 1)
    cache.guestArriving = true
    expect(() => cache.lock(testPage(7), 0, 1, 0)).toThrow(PagesMissingError)
    expect(double.mapped.size).toBe(0)
  })

  it('passes on the error of a backend that could not be asked', () => {
    const { cache, double } = setUp(small(4))
    cache.guestArriving = true
    double.failNextMap = 12
    expect(() => cache.lock(testPage(7), 0, 1, 0)).toThrow(SystemCallError)
    expect(cache.statistics.entries).toBe(0)
  })

  it('passes on that the place for a dummy could not be cleared', () => {
    const { cache, double } = setUp(small(4))
    double.punch(0, 4)
    cache.guestArriving = true
    double.window.failNextReset = true
    expect(() => cache.lock(testPage(1), 0, 1, 0)).toThrow(SystemCallError)
    expect(cache.statistics).toMatchObject({ entries: 0, mappedPages: 0 })
    for (const page of [4, 8, 12]) cache.lock(testPage(page), 0, 1, 0)
    expect(contentAt(cache, cache.lock(testPage(1), 0, 1, 0))).toBe(0)
    cache.close({ force: true })
    expect(double.mapped.size).toBe(0)
  })

  it('cleans up a dummy that could not be cleared by what it is, at close', () => {
    const { cache, double } = setUp(small(4))
    double.punch(0, 4)
    cache.guestArriving = true
    cache.unlock(cache.lock(testPage(1), 0, 1, LOCK_WRITE), 0)
    double.window.failNextReset = true
    expect(cache.flush()).toBe(0)
    expect(cache.statistics).toMatchObject({ entries: 0, lostPages: 4, unmapFailures: 1 })
    double.log.splice(0)
    cache.close()
    expect(double.log).toEqual([])
    expect(double.misuse).toEqual([])
    expect(cache.statistics.lostPages).toBe(0)
  })
})

describe('MapCacheOptions.translate', () => {
  it('S45 is asked once for what cannot be mapped where it is', () => {
    const translate = vi.fn<(page: TestPage) => number>((page) => page - 0x4_0000 + 0xf_0000)
    const { cache, double } = setUp({}, { translate, retention: AT_ONCE })
    double.punch(0x4_0000, 256)
    const mapping = cache.map(testPage(0x4_0010), 0x20, 0x1000)
    expect(double.log.filter((line) => line.startsWith('map'))).toEqual([
      'map 262144+256 rw',
      'map 983040+256 rw',
    ])
    expect(translate.mock.calls).toEqual([[0x4_0010, 2]])
    expect(mapping.page).toBe(0xf_0010)
    expect(mapping.readUint32(0xfe0)).toBe(0xf_0011)
    expect(cache.statistics).toMatchObject({ misses: 1, hits: 0 })
  })

  it('is not asked for what can be mapped', () => {
    const translate = vi.fn<() => undefined>()
    const { cache } = setUp({}, { translate })
    cache.map(testPage(1), 0, 1)
    expect(translate).not.toHaveBeenCalled()
  })

  it('leaves the error when it has nothing, or something that is missing too', () => {
    const { cache, double } = setUp(small(4), {
      translate: (page) => (page === 1 ? undefined : page + 100),
    })
    double.punch(0, 4, 22)
    double.punch(100, 4, 14)
    expect(() => cache.map(testPage(1), 0, 1)).toThrow(
      expect.objectContaining({ page: 1, errno: 22 }),
    )
    expect(() => cache.map(testPage(2), 0, 1)).toThrow(
      expect.objectContaining({ page: 102, errno: 14 }),
    )
    expect(double.mapped.size).toBe(0)
  })

  it('refuses a translation that is no page', () => {
    const { cache, double } = setUp(small(4), { translate: () => -1 })
    double.punch(0, 4)
    expect(() => cache.map(testPage(1), 0, 1)).toThrow(InvalidArgumentError)
    expect(cache.statistics.entries).toBe(0)
  })

  it('S46 gives a dummy at the translated address when that is missing too', () => {
    const { cache, double } = setUp(small(4), { translate: (page) => page + 100 })
    double.punch(0, 4)
    double.punch(100, 4)
    cache.guestArriving = true
    const mapping = cache.map(testPage(1), 0, 1)
    expect(mapping.page).toBe(101)
    expect(mapping.readUint8(0)).toBe(0)
  })
})

describe('MapCache.replace', () => {
  it('S42 S43 M8 makes a dummy real in its place; lock, pointer and handle stay', () => {
    const { cache, double } = setUp({ windowPages: 8192 })
    const listener = new Listener()
    cache.addRamListener(listener)
    double.punch(0x4_0000, 4096)
    cache.guestArriving = true
    const mapping = cache.map(testPage(0x4_0000), 0, 16 * 2 ** 20, { write: true })
    const { windowPage: place } = mapping.pointer()
    listener.events.splice(0)
    double.log.splice(0)
    expect(cache.replace(testPage(0x4_0000), testPage(0xf_0000), 4096)).toBe(place)
    expect(double.log).toEqual(['map 983040+4096 rw'])
    expect(listener.events).toEqual([])
    expect(mapping.readUint32(0)).toBe(0xf_0000)
    expect(mapping.address).toBe(0xf000_0000n)
    expect(cache.statistics.locks).toBe(1)
    expect(cache.lock(testPage(0xf_0000), 0, 16 * 2 ** 20, 0)).toBe(place)
    cache.unlock(place, 0)
    mapping.release()
    cache.flush()
    expect(double.log.slice(1)).toEqual(['unmap 4096'])
    expect(listener.events).toEqual(['removed 4096'])
    expect(double.misuse).toEqual([])
  })

  it('replaces real memory, hits included', () => {
    const { cache } = setUp(small(4))
    const place = cache.lock(testPage(5), 0, 16, 0)
    expect(cache.replace(testPage(5), testPage(105), 1)).toBe(place)
    expect(contentAt(cache, place)).toBe(105)
    expect(cache.loadUint32(testPage(105), 0)).toBe(105)
    expect(cache.loadUint32(testPage(5), 0)).toBe(5)
    expect(cache.pageOf(place)).toBe(105)
    cache.unlock(place, 0)
    expect(cache.lock(testPage(105), 0, 16, 0)).toBe(place)
  })

  it('goes with its last lock in a cache that unmaps at once, under the new address', () => {
    const { cache, double } = setUp(small(4), { retention: AT_ONCE })
    const place = cache.lock(testPage(5), 0, 16, 0)
    cache.replace(testPage(5), testPage(105), 1)
    cache.unlock(place, 0)
    expect(double.mapped.size).toBe(0)
    cache.loadUint8(testPage(104), 0)
    cache.loadUint8(testPage(4), 0)
    expect(cache.statistics.entries).toBe(2)
  })

  it('M8 replaces the read-only mapping beside the writable one, too', () => {
    const { cache, double } = setUp({ ...small(8), access: 'as-requested' })
    const reading = cache.lock(testPage(5), 0, 16, 0)
    const writing = cache.lock(testPage(5), 0, 16, LOCK_WRITE)
    expect(cache.replace(testPage(5), testPage(105), 1)).toBe(writing)
    expect(double.log.slice(2).toSorted()).toEqual(['map 104+4 ro', 'map 104+4 rw'])
    expect([reading, writing].map((place) => cache.pageOf(place))).toEqual([105, 105])
    expect([reading, writing].map((place) => contentAt(cache, place))).toEqual([105, 105])
  })

  it('S44 refuses what is not mapped with that size', () => {
    const { cache, double } = setUp(small(8))
    cache.lock(testPage(5), 0, 16, 0)
    expect(() => cache.replace(testPage(9), testPage(105), 1)).toThrow(NotMappedError)
    expect(() => cache.replace(testPage(5), testPage(105), 4)).toThrow(NotMappedError)
    expect(double.log).toHaveLength(1)
  })

  it('S44 refuses lists, pinned pages, and what was invalidated', async () => {
    const { cache } = setUp(small(8))
    cache.mapList(pages(4, 5, 6, 7))
    expect(() => cache.replace(testPage(4), testPage(104), 4)).toThrow(NotMappedError)
    cache.lock(testPage(4), 0, 1, 0)
    await cache.invalidateAll()
    expect(() => cache.replace(testPage(4), testPage(104), 4)).toThrow(NotMappedError)
    const grants = setUpGrants().cache
    grants.lock(testPage(7), 0, 1, 0)
    expect(() => grants.replace(testPage(7), testPage(8), 1)).toThrow(RefusedError)
  })

  it.each([0, -1, 0.5, Number.NaN, 524_288])('S44 refuses %d pages', (pageCount) => {
    const { cache } = setUp(small(8))
    expect(() => cache.replace(testPage(4), testPage(104), pageCount)).toThrow(
      expect.objectContaining({ code: 'ERR_XMC_ARGUMENT', field: 'pageCount' }),
    )
  })

  it('refuses an address that would move pointers, or that is no page', () => {
    const { cache, double } = setUp(small(8))
    const place = cache.lock(testPage(5), 0, 16, 0)
    for (const newPage of [106, Number.NaN, 0.5]) {
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- what is tested is the check
      expect(() => cache.replace(testPage(5), newPage as TestPage, 1)).toThrow(
        expect.objectContaining({ code: 'ERR_XMC_ARGUMENT', field: 'newPage' }),
      )
    }
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- what is tested is the check
    expect(() => cache.replace(testPage(5), -3 as TestPage, 1)).toThrow(InvalidArgumentError)
    expect(double.log).toHaveLength(1)
    expect(contentAt(cache, place)).toBe(5)
  })

  it('refuses after close', () => {
    const { cache } = setUp(small(8))
    cache.lock(testPage(5), 0, 16, 0)
    cache.close({ force: true })
    expect(() => cache.replace(testPage(5), testPage(105), 1)).toThrow(ClosedError)
  })

  it('replaces, and says so, when a page of the new ones is missing', () => {
    const { cache, double } = setUp(small(8))
    const place = cache.lock(testPage(4), 0, 4 * 4096, 0)
    double.punch(106, 1, 14)
    expect(() => cache.replace(testPage(4), testPage(104), 4)).toThrow(
      expect.objectContaining({ code: 'ERR_XMC_PAGES_MISSING', page: 106, errno: 14 }),
    )
    expect(cache.pageOf(place)).toBe(104)
    expect([0, 1, 2, 3].map((nth) => contentAt(cache, place + nth))).toEqual([104, 105, 0, 107])
    // The missing page is filled in place when it is there.
    double.populate(106, 1)
    expect(cache.lock(testPage(106), 0, 1, 0)).toBe(place + 2)
    expect(contentAt(cache, place + 2)).toBe(106)
  })

  it('does not mind missing pages beside those asked for', () => {
    const { cache, double } = setUp(small(8))
    const place = cache.lock(testPage(5), 0, 16, 0)
    double.punch(106, 1)
    expect(cache.replace(testPage(5), testPage(105), 1)).toBe(place)
    expect(() => cache.lock(testPage(106), 0, 1, 0)).toThrow(PagesMissingError)
  })

  it('leaves a dummy as it was when the backend maps nothing, to be replaced later', () => {
    const { cache, double } = setUp(small(8))
    double.punch(4, 4)
    cache.guestArriving = true
    const place = cache.lock(testPage(5), 0, 16, LOCK_WRITE)
    double.failNextMap = 12
    expect(() => cache.replace(testPage(5), testPage(105), 1)).toThrow(SystemCallError)
    expect(contentAt(cache, place)).toBe(0)
    expect(cache.pageOf(place)).toBe(5)
    expect(cache.lock(testPage(6), 0, 16, LOCK_WRITE)).toBe(place + 1)
    expect(cache.replace(testPage(5), testPage(105), 1)).toBe(place)
    expect(contentAt(cache, place)).toBe(105)
    expect(cache.pageOf(place)).toBe(105)
  })

  it('serves no zeros in place of real pages when the backend maps nothing', () => {
    const { cache, double } = setUp(small(8))
    const place = cache.lock(testPage(5), 0, 16, 0)
    for (let nth = 0; nth < 2; nth++) {
      double.failNextMap = 12
      expect(() => cache.replace(testPage(5), testPage(105), 1)).toThrow(SystemCallError)
      expect(contentAt(cache, place)).toBe(0)
      expect(cache.pageOf(place)).toBe(5)
    }
    expect(cache.loadUint32(testPage(6), 0)).toBe(6)
    expect(cache.lock(testPage(5), 0, 16, 0)).toBe(place)
    expect(contentAt(cache, place)).toBe(5)
    cache.unlock(place, 0)
    cache.unlock(place, 0)
    cache.flush()
    expect(double.mapped.size).toBe(0)
    expect(double.misuse).toEqual([])
  })

  it('can be tried again when the backend mapped nothing', () => {
    const { cache, double } = setUp(small(8))
    const place = cache.lock(testPage(5), 0, 16, 0)
    double.failNextMap = 12
    expect(() => cache.replace(testPage(5), testPage(105), 1)).toThrow(SystemCallError)
    expect(cache.replace(testPage(5), testPage(105), 1)).toBe(place)
    expect(contentAt(cache, place)).toBe(105)
    expect(cache.loadUint32(testPage(5), 0)).toBe(5)
  })

  it('removes what a failed replacement left, without unmapping what is not there', () => {
    for (const retention of [AT_ONCE, undefined]) {
      const { cache, double } = setUp(small(8), { retention })
      const place = cache.lock(testPage(5), 0, 16, 0)
      double.failNextMap = 12
      expect(() => cache.replace(testPage(5), testPage(105), 1)).toThrow(SystemCallError)
      cache.unlock(place, 0)
      cache.close()
      expect(double.mapped.size).toBe(0)
      expect(double.misuse).toEqual([])
    }
  })

  it('is refused while a hole of the mapping is being filled', async () => {
    const { cache, double } = setUp(small(8))
    double.punch(6, 1)
    cache.lock(testPage(5), 0, 16, 0)
    double.populate(6, 1)
    const gate = new Gate()
    double.beforeMap = gate.pass
    const request = cache.lockAsync(testPage(6), 0, 1, 0)
    await settle()
    expect(() => cache.replace(testPage(5), testPage(105), 1)).toThrow(RefusedError)
    gate.open()
    const place = await request
    expect(contentAt(cache, place)).toBe(6)
    cache.replace(testPage(5), testPage(105), 1)
    expect(contentAt(cache, place)).toBe(106)
  })

  it('gives up a mapping under way for the address that a replacement has put there', async () => {
    const { cache, double } = setUp(small(8))
    const gate = new Gate()
    double.beforeMap = gate.pass
    const place = cache.lock(testPage(5), 0, 16, 0)
    const request = cache.lockAsync(testPage(105), 0, 16, 0)
    await settle()
    cache.replace(testPage(5), testPage(105), 1)
    gate.open()
    expect(await request).toBe(place)
    expect(double.mapped.size).toBe(4)
  })

  it('replaces into an address that is mapped elsewhere already', () => {
    const { cache, double } = setUp(small(8))
    const there = cache.lock(testPage(105), 0, 16, 0)
    const place = cache.lock(testPage(5), 0, 16, 0)
    cache.replace(testPage(5), testPage(105), 1)
    expect([there, place].map((at) => cache.pageOf(at))).toEqual([105, 105])
    cache.unlock(there, 0)
    cache.unlock(place, 0)
    expect(cache.flush()).toBe(2)
    expect(double.mapped.size).toBe(0)
    expect(cache.loadUint32(testPage(105), 0)).toBe(105)
  })
})

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

  it('can be called again while the same mapping is still locked', async () => {
    const { cache, double } = setUp(small(4))
    const place = cache.lock(testPage(0), 0, 1, 0)
    expect((await cache.invalidateAll()).retired).toBe(1)
    expect((await cache.invalidateAll()).retired).toBe(1)
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

  it('reports the stacks of handles when leaks are tracked', async () => {
    const { cache } = setUp(small(8), { leakTracking: true })
    const user = cache.registerUser({ name: 'disk' })
    const takeIt = (): Mapping<TestPage> =>
      cache.map(testPage(5), 0x10, 16, { dma: true, write: true, user })
    const first = takeIt()
    takeIt()
    const report = await cache.invalidateAll()
    expect(report.lockedDma).toHaveLength(1)
    expect(report.lockedDma[0]).toMatchObject({ holder: 'disk', locks: 2 })
    expect(report.lockedDma[0]?.stacks).toEqual([
      expect.stringContaining('takeIt'),
      expect.stringContaining('takeIt'),
    ])
    first.release()
    expect((await cache.invalidateAll()).lockedDma[0]?.stacks).toHaveLength(1)
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
    const listener = new Listener()
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

describe('MapCache.addRamListener', () => {
  it('tells of what appears and goes, once', () => {
    const { cache } = setUp(small(4), { retention: AT_ONCE })
    const listener = new Listener()
    cache.addRamListener(listener)
    const first = cache.map(testPage(0), 0, 16)
    const second = cache.map(testPage(0), 0, 16)
    first.release()
    expect(listener.events).toEqual(['added 4'])
    second.release()
    const list = cache.mapList(pages(9, 3, 1))
    expect([...listener.present]).toEqual([[list.pointer().windowPage, 3]])
    cache.close({ force: true })
    expect(listener.events).toEqual(['added 4', 'removed 4', 'added 3', 'removed 3'])
  })

  it('tells nothing of a map that failed', () => {
    const { cache, double } = setUp(small(4))
    const listener = new Listener()
    cache.addRamListener(listener)
    double.punch(0, 4)
    double.punch(9, 1)
    expect(() => cache.map(testPage(0), 0, 16)).toThrow(PagesMissingError)
    expect(() => cache.mapList(pages(8, 9))).toThrow(PagesMissingError)
    double.failNextMap = 12
    expect(() => cache.map(testPage(100), 0, 16)).toThrow(SystemCallError)
    expect(listener.events).toEqual([])
  })

  it('tells once of a dummy that is made real', () => {
    const { cache, double } = setUp(small(4))
    const listener = new Listener()
    cache.addRamListener(listener)
    double.punch(0, 4)
    cache.guestArriving = true
    cache.map(testPage(0), 0, 16)
    double.populate(0, 4)
    cache.replace(testPage(0), testPage(0), 1)
    cache.close({ force: true })
    expect(listener.events).toEqual(['added 4', 'removed 4'])
  })

  it('tells a listener that comes late of what is there', () => {
    const { cache } = setUp(small(4))
    cache.loadUint8(testPage(0), 0)
    cache.mapList(pages(9, 3))
    const late = new Listener()
    cache.addRamListener(late)
    expect(late.events).toEqual(['added 4', 'added 2'])
    cache.close({ force: true })
    expect(late.present.size).toBe(0)
    expect(late.unbalanced).toBe(0)
  })

  it('tells nothing more after the listener is removed', () => {
    const { cache } = setUp(small(4))
    const listener = new Listener()
    const remove = cache.addRamListener(listener)
    cache.loadUint8(testPage(0), 0)
    remove()
    cache.loadUint8(testPage(4), 0)
    cache.flush()
    expect(listener.events).toEqual(['added 4'])
  })

  it('tells the others when a listener throws, and takes back what appeared', () => {
    for (const make of [
      (cache: MapCache<TestPage>) => cache.map(testPage(0), 0, 16),
      (cache: MapCache<TestPage>) => cache.mapList(pages(0, 9)),
    ]) {
      const { cache, double } = setUp(small(4))
      const bad = new Listener()
      const good = new Listener()
      cache.addRamListener(bad)
      cache.addRamListener(good)
      bad.failNext = 'added'
      expect(() => make(cache)).toThrow('added failed')
      expect(good.present.size).toBe(0)
      expect([good.unbalanced, bad.unbalanced]).toEqual([0, 0])
      expect(double.mapped.size).toBe(0)
      expect(cache.statistics).toMatchObject({ entries: 0, locks: 0, mappedPages: 0 })
      expect(make(cache).released).toBe(false)
    }
  })

  it('S61 leaves no pinned page mapped when a listener throws', () => {
    const { cache, double } = setUpGrants()
    const bad = new Listener()
    cache.addRamListener(bad)
    bad.failNext = 'added'
    expect(() => cache.map(testPage(7), 0, 16)).toThrow('added failed')
    expect(double.mapped.size).toBe(0)
    bad.failNext = 'removed'
    const mapping = cache.map(testPage(7), 0, 16)
    expect(() => {
      mapping.release()
    }).toThrow('removed failed')
    expect(double.mapped.size).toBe(0)
    expect(cache.statistics).toMatchObject({ entries: 0, locks: 0 })
  })

  it('invalidates all the rest when a listener throws, and then says so', async () => {
    const { cache, double } = setUp(small(4))
    const bad = new Listener()
    const good = new Listener()
    cache.addRamListener(bad)
    cache.addRamListener(good)
    for (const page of [0, 4, 8]) cache.loadUint8(testPage(page), 0)
    bad.failNext = 'removed'
    await expect(cache.invalidateAll()).rejects.toThrow('removed failed')
    expect(double.mapped.size).toBe(0)
    expect(good.present.size).toBe(0)
    expect(cache.statistics).toMatchObject({ entries: 0, mappedPages: 0 })
  })

  it('flushes and closes all the rest when a listener throws, and then says so', () => {
    const { cache, double } = setUp(small(4))
    const bad = new Listener()
    cache.addRamListener(bad)
    for (const page of [0, 4, 8]) cache.loadUint8(testPage(page), 0)
    bad.failNext = 'removed'
    expect(() => cache.flush()).toThrow('removed failed')
    expect(double.mapped.size).toBe(0)
    for (const page of [0, 4, 8]) cache.loadUint8(testPage(page), 0)
    bad.failNext = 'removed'
    expect(() => {
      cache.close()
    }).toThrow('removed failed')
    expect(cache.closed).toBe(true)
    expect(double.mapped.size).toBe(0)
    expect(bad.unbalanced).toBe(0)
  })

  it('fails an eviction that a listener throws in, and works on after it', () => {
    const { cache, double } = setUp(small(1))
    const bad = new Listener()
    cache.addRamListener(bad)
    cache.loadUint8(testPage(0), 0)
    bad.failNext = 'removed'
    expect(() => cache.loadUint8(testPage(4), 0)).toThrow('removed failed')
    expect(double.mapped.size).toBe(0)
    expect(cache.loadUint32(testPage(5), 0)).toBe(5)
    expect(bad.unbalanced).toBe(0)
  })

  it('lets a listener use the cache', () => {
    const { cache, double } = setUp(small(4))
    let depth = 0
    cache.addRamListener({
      added: () => {
        if (depth++ < 2) cache.loadUint8(testPage(100 * depth), 0)
      },
      removed: () => {
        cache.flush()
      },
    })
    cache.loadUint8(testPage(0), 0)
    expect(cache.statistics.entries).toBe(3)
    cache.close()
    expect(double.mapped.size).toBe(0)
    expect(double.misuse).toEqual([])
    expect(cache.statistics).toMatchObject({ entries: 0, mappedPages: 0 })
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
      mappedPages: 12,
      lostPages: 0,
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
