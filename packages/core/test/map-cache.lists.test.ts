import { PagedOutError, PagesMissingError, WindowFullError } from '@xmc/core'
import { ClosedError, InvalidArgumentError, SystemCallError } from '@xmc/interface'
import { describe, expect, it } from 'vitest'
import { testPage } from './doubles/guest-double.ts'
import { Gate, pages, settle, setUp, setUpGrants, small, unchecked } from './doubles/set-up.ts'

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

  it('S60 says what is missing, also when the rest cannot be unmapped', () => {
    const { cache, double } = setUp(small(8))
    double.punch(3, 1, 14)
    double.failNextUnmap = true
    expect(() => cache.mapList(pages(9, 3, 4))).toThrow(PagesMissingError)
    expect(cache.statistics).toMatchObject({ unmapFailures: 1, lostPages: 3, mappedPages: 0 })
    cache.close()
    expect(double.mapped.size).toBe(0)
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
    expect(() => cache.mapList([...pages(0), unchecked(-1)])).toThrow(InvalidArgumentError)
    expect(() => cache.mapList(Array.from({ length: 33 }, () => testPage(0)))).toThrow(
      WindowFullError,
    )
    expect(double.log).toEqual([])
  })

  it('says of a read-only backend what to do', () => {
    const { cache } = setUp({ ...small(8), access: 'read-only' })
    const message = 'double is read-only: make the cache with access for writing'
    expect(() => cache.mapList([testPage(1)], { write: true })).toThrow(message)
    expect(() => cache.map(testPage(1), 0, 1, { write: true })).toThrow(message)
    expect(() => {
      cache.storeUint8(testPage(1), 0, 1)
    }).toThrow(message)
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
