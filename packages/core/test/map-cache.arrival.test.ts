import { LOCK_WRITE, NotMappedError, PagesMissingError } from '@xmc/core'
import { ClosedError, InvalidArgumentError, RefusedError, SystemCallError } from '@xmc/interface'
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
  unchecked,
} from './doubles/set-up.ts'

/** A locked bucket without mappings: its own replacement failed, then its page, then a call as a whole. */
function emptied() {
  const { cache, double } = setUp(small(8))
  const place = cache.lock(testPage(5), 0, 16, 0)
  double.failNextMap = 12
  expect(() => cache.replace(testPage(5), testPage(5), 1)).toThrow(SystemCallError)
  // A page that fails by itself is in the backend's books; one of a call that fails is not.
  double.punch(5, 1)
  expect(() => cache.lock(testPage(5), 0, 16, 0)).toThrow(PagesMissingError)
  double.failNextMap = 12
  expect(() => cache.lock(testPage(5), 0, 16, 0)).toThrow(SystemCallError)
  return { cache, double, place }
}

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

  it('S42 leaves a locked dummy replaceable through a full invalidation', async () => {
    const { cache, double } = setUp(small(4))
    double.punch(0, 4)
    cache.guestArriving = true
    const mapping = cache.map(testPage(1), 0, 16)
    const { retired, unmapped } = await cache.invalidateAll()
    expect({ retired, unmapped }).toEqual({ retired: 0, unmapped: 0 })
    cache.replace(testPage(1), testPage(5), 1)
    expect(mapping.readUint32(0)).toBe(5)
    expect(mapping.address).toBe(0x5000n)
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
    const listener = new ListenerDouble()
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
      expect(() => cache.replace(testPage(5), unchecked(newPage), 1)).toThrow(
        expect.objectContaining({ code: 'ERR_XMC_ARGUMENT', field: 'newPage' }),
      )
    }
    expect(() => cache.replace(testPage(5), unchecked(-3), 1)).toThrow(InvalidArgumentError)
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

  it.each([
    ['keeps mappings', undefined, 13],
    ['unmaps at once', AT_ONCE, 0],
  ])(
    'serves no zeros when a bucket is replaced by itself and the backend maps nothing, where it %s',
    (_, retention, shownAfterwards) => {
      const { cache, double } = setUp(small(8), { retention })
      const place = cache.lock(testPage(1), 0, 0, 0)
      cache.replace(testPage(1), testPage(13), 1)
      expect(cache.loadUint32(testPage(13), 0)).toBe(13)
      double.failNextMap = 12
      expect(() => cache.replace(testPage(13), testPage(13), 1)).toThrow(SystemCallError)
      expect([0, 1, 2, 3].map((page) => contentAt(cache, page))).toEqual([0, 0, 0, 0])
      expect(cache.pageOf(place)).toBe(13)
      // The next request maps the page: in its place, or anew as the original does (S23).
      expect(cache.loadUint32(testPage(13), 0)).toBe(13)
      expect(contentAt(cache, place)).toBe(shownAfterwards)
      cache.replace(testPage(13), testPage(13), 1)
      expect(contentAt(cache, place)).toBe(13)
      cache.unlock(place, 0)
      cache.close()
      expect(double.mapped.size).toBe(0)
      expect(double.misuse).toEqual([])
    },
  )

  it('serves no zeros when one of two mappings of the new pages could not be made', () => {
    const { cache, double } = setUp(small(8))
    const there = cache.lock(testPage(13), 0, 1, 0)
    const place = cache.lock(testPage(1), 0, 1, 0)
    cache.replace(testPage(1), testPage(13), 1)
    double.failNextMap = 12
    expect(() => cache.replace(testPage(13), testPage(13), 1)).toThrow(SystemCallError)
    expect([there, place].map((at) => contentAt(cache, at)).toSorted((a, b) => a - b)).toEqual([
      0, 13,
    ])
    expect([there, place].map((at) => cache.pageOf(at))).toEqual([13, 13])
    for (let nth = 0; nth < 2; nth++) expect(cache.loadUint32(testPage(13), 0)).toBe(13)
    expect(contentAt(cache, cache.lock(testPage(13), 0, 1, 0))).toBe(13)
  })

  it('S42 can be tried again after a full invalidation, when the backend mapped nothing', async () => {
    const { cache, double } = setUp(small(8))
    const place = cache.lock(testPage(5), 0, 16, 0)
    double.failNextMap = 12
    expect(() => cache.replace(testPage(5), testPage(105), 1)).toThrow(SystemCallError)
    expect(await cache.invalidateAll()).toMatchObject({ unmapped: 0, retired: 0 })
    expect(cache.replace(testPage(5), testPage(105), 1)).toBe(place)
    expect(contentAt(cache, place)).toBe(105)
    expect(await cache.invalidateAll()).toMatchObject({ unmapped: 0, retired: 1 })
    expect(() => cache.replace(testPage(105), testPage(5), 1)).toThrow(NotMappedError)
  })

  it('knows that nothing is mapped when the pages after a failed replacement fail, too', async () => {
    const { cache, double, place } = emptied()
    expect(double.mapped.size).toBe(0)
    expect(await cache.invalidateAll()).toMatchObject({ unmapped: 0, retired: 0 })
    double.populate(5, 1)
    expect(cache.lock(testPage(5), 0, 16, 0)).toBe(place)
    expect(contentAt(cache, place)).toBe(5)
    double.failNextMap = 12
    expect(() => cache.lock(testPage(6), 0, 16, 0)).toThrow(SystemCallError)
    expect(contentAt(cache, place)).toBe(5)
    cache.unlock(place, 0)
    cache.unlock(place, 0)
    cache.close()
    expect(double.misuse).toEqual([])
    expect(double.mapped.size).toBe(0)
  })

  it('unmaps nothing where neither a failed replacement nor a request has mapped anything', () => {
    const { cache, double, place } = emptied()
    cache.unlock(place, 0)
    cache.close()
    expect(double.misuse).toEqual([])
    expect(cache.statistics).toMatchObject({ entries: 0, unmapCalls: 0 })
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
