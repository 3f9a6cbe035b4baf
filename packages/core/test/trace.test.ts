import diagnostics from 'node:diagnostics_channel'
import {
  LOCK_DMA,
  LOCK_WRITE,
  MapCacheGroup,
  NotLockedError,
  NotMappedError,
  PagesMissingError,
  traceChannels,
  UnmapFailedError,
  WrongCacheError,
} from '@xmc/core'
import { windowPage } from '@xmc/interface'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { testPage } from './doubles/guest-double.ts'
import { setUp, setUpGrants } from './doubles/set-up.ts'

const SMALL = { bucketShift: 14, windowPages: 32 }
const subscriptions: (() => void)[] = []

afterEach(() => {
  for (const unsubscribe of subscriptions.splice(0)) unsubscribe()
})

/** The messages on a channel from now on, until the test ends. */
function listen(name: string): unknown[] {
  const messages: unknown[] = []
  const note = (message: unknown): void => {
    messages.push(message)
  }
  diagnostics.subscribe(name, note)
  subscriptions.push(() => diagnostics.unsubscribe(name, note))
  return messages
}

describe('traceChannels', () => {
  it('have the names of the original, and of xmc where there is none', () => {
    expect(Object.values(traceChannels).map((channel) => channel.name)).toEqual([
      'xen_map_cache_init',
      'xen_map_cache',
      'xen_map_cache_return',
      'xen_remap_bucket',
      'xen_ram_addr_from_mapcache_not_found',
      'xen_ram_addr_from_mapcache_found',
      'xen_ram_addr_from_mapcache_not_in_cache',
      'xen_invalidate_map_cache_entry_unlocked_not_found',
      'xen_invalidate_map_cache_entry_unlocked_found',
      'xen_invalidate_map_cache_entry_unlocked_miss',
      'xen_invalidate_map_cache',
      'xen_replace_cache_entry_dummy',
      'xen_replace_cache_entry_unlocked',
      'xen_replace_cache_entry_unlocked_could_not_update_entry',
      'xmc_leak',
      'xmc_unmap_failed',
    ])
  })

  it('publish nothing while nobody listens', async () => {
    const publish = Object.values(traceChannels).map((channel) => vi.spyOn(channel, 'publish'))
    const { cache, double } = setUp(SMALL)
    const group = new MapCacheGroup([cache])
    const place = cache.lock(testPage(5), 0, 16, LOCK_DMA)
    cache.lock(testPage(5), 0, 16, 0)
    await cache.lockAsync(testPage(5), 0, 16, 0)
    cache.loadUint8(testPage(9), 0)
    cache.mapList([testPage(7)]).release()
    expect(() => {
      cache.unlock(place, 1)
    }).toThrow(NotLockedError)
    expect(() => cache.pageOf(windowPage(31))).toThrow(NotLockedError)
    expect(() => group.addressOf(new Uint8Array(1))).toThrow(WrongCacheError)
    expect(() => {
      group.release(new Uint8Array(1))
    }).toThrow(WrongCacheError)
    expect(() => cache.replace(testPage(40), testPage(44), 1)).toThrow(NotMappedError)
    double.punch(44, 4)
    expect(() => cache.replace(testPage(8), testPage(44), 1)).toThrow(PagesMissingError)
    await cache.invalidateAll()
    double.failNextUnmap = true
    cache.flush()
    for (let nth = 0; nth < 2; nth++) cache.unlock(place, 0)
    double.failNextUnmap = true
    expect(() => {
      cache.unlock(place, 0)
    }).toThrow(UnmapFailedError)
    expect(publish.map((spy) => spy.mock.calls.length)).toEqual(publish.map(() => 0))
    for (const spy of publish) spy.mockRestore()
  })
})

describe('traceChannels.invalidateFound and addressFound', () => {
  it('list every lock after a miss, as the original does', () => {
    const releases = listen('xen_invalidate_map_cache_entry_unlocked_found')
    const lookups = listen('xen_ram_addr_from_mapcache_found')
    const { cache } = setUp(SMALL)
    const place = cache.lock(testPage(5), 0x10, 16, 0)
    cache.lock(testPage(5), 0x10, 16, 0)
    cache.lock(testPage(6), 0x20, 16, 0)
    expect(() => {
      cache.unlock(place, 1)
    }).toThrow(NotLockedError)
    expect(() => cache.pageOf(windowPage(31))).toThrow(NotLockedError)
    const locks = [
      { cache: 'double', page: 5, windowPage: place, offset: 0x10, locks: 2 },
      { cache: 'double', page: 6, windowPage: place + 1, offset: 0x20, locks: 1 },
    ]
    expect(releases).toEqual(locks)
    expect(lookups).toEqual(locks)
  })
})

describe('traceChannels.init', () => {
  it('tells of a new cache', () => {
    const messages = listen('xen_map_cache_init')
    setUp({ bucketShift: 14, windowPages: 35 }, { name: 'disk' })
    expect(messages).toEqual([{ cache: 'disk', buckets: 8, bytes: 35 * 4096 }])
  })
})

describe('traceChannels.map', () => {
  it('tells of every lock, hit or not, and of access that missed', async () => {
    const messages = listen('xen_map_cache')
    const { cache } = setUp(SMALL)
    cache.lock(testPage(5), 0x10, 16, 0)
    cache.lock(testPage(5), 0x20, 16, 0)
    await cache.lockAsync(testPage(6), 0, 16, 0)
    cache.map(testPage(7), 0, 16)
    cache.mapList([testPage(12), testPage(1)])
    cache.loadUint8(testPage(8), 0x30)
    cache.loadUint8(testPage(8), 0x40)
    expect(messages).toEqual([
      { cache: 'double', page: 5, offset: 0x10 },
      { cache: 'double', page: 5, offset: 0x20 },
      { cache: 'double', page: 6, offset: 0 },
      { cache: 'double', page: 7, offset: 0 },
      { cache: 'double', page: 12, offset: 0 },
      { cache: 'double', page: 8, offset: 0x30 },
    ])
  })
})

describe('traceChannels.mapReturn', () => {
  it('tells what a lock was answered with', async () => {
    const messages = listen('xen_map_cache_return')
    const { cache } = setUp(SMALL)
    const first = cache.lock(testPage(5), 0x10, 16, LOCK_WRITE)
    cache.lock(testPage(5), 0x10, 16, 0)
    await cache.lockAsync(testPage(6), 0, 16, 0)
    const list = cache.mapList([testPage(12), testPage(1)])
    expect(messages).toEqual([
      { cache: 'double', windowPage: first, offset: 0x10 },
      { cache: 'double', windowPage: first, offset: 0x10 },
      { cache: 'double', windowPage: first + 1, offset: 0 },
      { cache: 'double', windowPage: list.pointer().windowPage, offset: 0 },
    ])
  })
})

describe('traceChannels.remapBucket', () => {
  it('tells of every call that maps, before it is made', () => {
    const messages = listen('xen_remap_bucket')
    const { cache, double } = setUp(SMALL)
    double.failNextMap = 12
    expect(() => cache.lock(testPage(5), 0, 16, 0)).toThrow('told to fail')
    double.punch(9, 1)
    cache.lock(testPage(8), 0, 16, 0)
    double.populate(9, 1)
    cache.lock(testPage(9), 0, 16, 0)
    cache.lock(testPage(7), 0, 8192, 0)
    cache.mapList([testPage(12), testPage(1)])
    cache.replace(testPage(8), testPage(40), 1)
    expect(messages).toEqual([
      { cache: 'double', index: 1, pages: 4 },
      { cache: 'double', index: 2, pages: 4 },
      { cache: 'double', index: 2, pages: 1 },
      { cache: 'double', index: 1, pages: 8 },
      { cache: 'double', index: 3, pages: 2 },
      { cache: 'double', index: 10, pages: 4 },
    ])
  })
})

describe('traceChannels.addressNotFound', () => {
  it('S28 tells of a pointer that is not locked', () => {
    const messages = listen('xen_ram_addr_from_mapcache_not_found')
    const { cache } = setUp(SMALL)
    expect(() => cache.pageOf(windowPage(3))).toThrow(NotLockedError)
    expect(messages).toEqual([{ cache: 'double', windowPage: 3 }])
  })
})

describe('traceChannels.addressNotInCache', () => {
  it('tells of a pointer that no cache of a group knows', () => {
    const messages = listen('xen_ram_addr_from_mapcache_not_in_cache')
    const group = new MapCacheGroup([setUp(SMALL).cache, setUpGrants().cache])
    expect(() => group.addressOf(new Uint8Array(1))).toThrow(WrongCacheError)
    expect(messages).toEqual([{ group: 'double, double' }])
  })
})

describe('traceChannels.invalidateNotFound', () => {
  it('S26 tells of an unlock of what is not locked', async () => {
    const messages = listen('xen_invalidate_map_cache_entry_unlocked_not_found')
    const { cache } = setUp(SMALL)
    const place = cache.lock(testPage(5), 0x10, 16, 0)
    cache.unlock(place, 0x10)
    expect(() => {
      cache.unlock(place, 0x10)
    }).toThrow(NotLockedError)
    await expect(cache.unlockAsync(place, 1)).rejects.toThrow(NotLockedError)
    expect(messages).toEqual([
      { cache: 'double', windowPage: place, offset: 0x10 },
      { cache: 'double', windowPage: place, offset: 1 },
    ])
  })
})

describe('traceChannels.invalidateMiss', () => {
  it('tells of a release that no cache of a group knows', () => {
    const messages = listen('xen_invalidate_map_cache_entry_unlocked_miss')
    const group = new MapCacheGroup([setUp(SMALL, { name: 'foreign' }).cache])
    expect(() => {
      group.release(new Uint8Array(1))
    }).toThrow(WrongCacheError)
    expect(messages).toEqual([{ group: 'foreign' }])
  })
})

describe('traceChannels.invalidateAll', () => {
  it('S37 tells of every lock for DMA', async () => {
    const messages = listen('xen_invalidate_map_cache')
    const { cache } = setUp(SMALL)
    const user = cache.registerUser({ name: 'disk' })
    const place = cache.lock(testPage(5), 0x10, 16, LOCK_DMA | user.lockFlags)
    cache.lock(testPage(6), 0x10, 16, LOCK_DMA)
    cache.lock(testPage(7), 0x10, 16, user.lockFlags)
    await cache.invalidateAll()
    expect(messages).toEqual([
      { cache: 'double', page: 5, windowPage: place, offset: 0x10, user: 'disk' },
      { cache: 'double', page: 6, windowPage: place + 1, offset: 0x10, user: 'unnamed' },
    ])
  })
})

describe('traceChannels.replaceDummy, replaceMiss and replaceFailed', () => {
  it('S42 S44 tell of a replacement, and of what went wrong', () => {
    const asked = listen('xen_replace_cache_entry_dummy')
    const missed = listen('xen_replace_cache_entry_unlocked')
    const failed = listen('xen_replace_cache_entry_unlocked_could_not_update_entry')
    const { cache, double } = setUp(SMALL)
    expect(() => cache.replace(testPage(5), testPage(105), 1)).toThrow(NotMappedError)
    expect([asked, missed, failed]).toEqual([
      [{ cache: 'double', oldPage: 5, newPage: 105 }],
      [{ cache: 'double', oldPage: 5 }],
      [],
    ])
    cache.lock(testPage(5), 0, 16, 0)
    double.punch(105, 1)
    expect(() => cache.replace(testPage(5), testPage(105), 1)).toThrow(PagesMissingError)
    expect(asked).toHaveLength(2)
    expect(missed).toHaveLength(1)
    expect(failed).toEqual([{ cache: 'double', oldPage: 5 }])
  })
})

describe('traceChannels.unmapFailed', () => {
  it('S60 tells of every unmap that failed, also of one that nobody is told of by an error', () => {
    const messages = listen('xmc_unmap_failed')
    const { cache, double } = setUp(SMALL)
    cache.loadUint8(testPage(5), 0)
    double.failNextUnmap = true
    expect(cache.flush()).toBe(0)
    expect(messages).toEqual([
      {
        cache: 'double',
        windowPage: 0,
        pageCount: 4,
        error: expect.objectContaining({ code: 'ERR_XMC_UNMAP_FAILED', windowPage: 0 }),
      },
    ])
  })
})
