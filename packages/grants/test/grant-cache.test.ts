import { constants } from 'node:os'
import { domainId, grantReference, SystemCallError } from '@xmc/interface'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { createGrantCache, type GrantCacheOptions, GrantUnmapError } from '../src/index.ts'
import { SmallGrantTable } from './doubles/grant-table.ts'
import { plainWindow } from './doubles/window.ts'

function setUp(granted: readonly number[], options: Partial<GrantCacheOptions> = {}) {
  const table = new SmallGrantTable()
  for (const reference of granted) table.grant(reference)
  const cache = createGrantCache({
    table,
    domain: domainId(3),
    window: plainWindow(),
    quarantineBytes: 0,
    ...options,
  })
  return { table, cache }
}

const seven = grantReference(7)

afterEach(() => {
  vi.useRealTimers()
})

describe('createGrantCache', () => {
  test('S47 S52 S61 a grant is mapped for its lock and unmapped with it, with its exact count', () => {
    const { table, cache } = setUp([7, 8, 9, 10])
    const one = cache.map(seven, 0x123, 100)
    const four = cache.map(seven, 0xff0, 0x2020)
    four.release()
    one.release()
    expect(table.calls).toEqual([
      { map: [7], at: 0, writable: false },
      { map: [7, 8, 9, 10], at: 1, writable: false },
      { unmap: 4, at: 1 },
      { unmap: 1, at: 0 },
    ])
    expect(cache.statistics).toMatchObject({ entries: 0, mappedPages: 0 })
    expect(cache.name).toBe('grants')
  })

  test('S50 S51 a writable mapping serves a read, a read-only one never a write', () => {
    const { table, cache } = setUp([7])
    cache.map(seven, 0, 16)
    cache.map(seven, 0, 16, { write: true })
    cache.map(seven, 0, 16, { write: true })
    expect(table.calls).toEqual([
      { map: [7], at: 0, writable: false },
      { map: [7], at: 1, writable: true },
    ])
  })

  test('scattered references are one call, and go as one mapping', () => {
    const { table, cache } = setUp([4, 90, 33])
    const references = [90, 4, 33].map(grantReference)
    const mapping = cache.mapList(references, { write: true })
    expect(mapping.length).toBe(3 * 4096)
    mapping.release()
    expect(table.calls).toEqual([
      { map: [90, 4, 33], at: 0, writable: true },
      { unmap: 3, at: 0 },
    ])
  })

  test('S53 unlocked access goes by grant copy', () => {
    const { table, cache } = setUp([7])
    cache.storeUint32(seven, 8, 0x01020304)
    expect(cache.loadUint32(seven, 8)).toBe(0x01020304)
    expect(table.calls).toEqual([
      { copy: [7], direction: 'to-grant' },
      { copy: [7], direction: 'from-grant' },
    ])
    expect(() => cache.loadUint8(grantReference(9), 0)).toThrow(
      expect.objectContaining({ code: 'ERR_XMC_GRANT_COPY', statusName: 'GNTST_general_error' }),
    )
  })

  test('S54 S55 a bad reference fails the request, names itself and leaves nothing', async () => {
    const { table, cache } = setUp([63])
    table.tableSize = 64
    const refused = expect.objectContaining({
      code: 'ERR_XMC_GRANT_MAP',
      failedReference: 64,
      statusName: 'GNTST_bad_gntref',
    })
    expect(() => cache.map(grantReference(63), 0, 8192, { write: true })).toThrow(refused)
    await expect(cache.mapAsync(grantReference(63), 0, 8192)).rejects.toEqual(refused)
    expect(table.mappings.size).toBe(0)
    expect(cache.statistics).toMatchObject({ entries: 0, locks: 0, mappedPages: 0 })
  })

  test('S85 a paged-out page is ERR_XMC_PAGED_OUT; the asynchronous form waits for it', async () => {
    const { table, cache } = setUp([])
    table.grant(7).pagedOut = true
    expect(() => cache.map(seven, 0, 1)).toThrow(
      expect.objectContaining({ code: 'ERR_XMC_PAGED_OUT', page: 7 }),
    )
    const mapping = await cache.mapAsync(seven, 0, 1)
    expect(mapping.page).toBe(7)
  })

  test('S60 a refused unmap is reported, and its place is not used again', () => {
    const { table, cache } = setUp([7, 8])
    const mapping = cache.map(seven, 0, 1)
    const errno = constants.errno.EINVAL
    table.refuse.unmap = new SystemCallError('gntdev unmap', errno, 'refused')
    expect(() => mapping.release()).toThrow(
      expect.objectContaining({
        code: 'ERR_XMC_UNMAP_FAILED',
        cause: expect.any(GrantUnmapError),
      }),
    )
    table.refuse = {}
    cache.map(grantReference(8), 0, 1)
    expect(table.calls.at(-1)).toMatchObject({ map: [8], at: 1 })
  })

  test('what was mapped to explain a refusal, and could not be removed, keeps its place until it is', () => {
    const { table, cache } = setUp([7, 8])
    table.grant(9, { readOnly: true })
    const held = cache.map(seven, 0, 1)
    table.refuse.unmap = new SystemCallError('gntdev unmap', constants.errno.EINVAL, 'refused')
    expect(() => cache.map(grantReference(9), 0, 1, { write: true })).toThrow(GrantUnmapError)
    expect(table.mappings.size).toBe(2)
    table.refuse = {}
    cache.map(grantReference(8), 0, 1)
    expect(table.calls.at(-1)).toMatchObject({ map: [8], at: 2 })
    cache.flush()
    expect(table.mappings.size).toBe(2)
    expect(held.page).toBe(7)
  })

  test('S38 review f: a full invalidation leaves grants alone, a replacement is refused', async () => {
    const { table, cache } = setUp([7], { persistent: { maximumPages: 8, idleMilliseconds: 1e6 } })
    cache.map(seven, 0, 1).release()
    await cache.invalidateAll()
    expect(table.mappings.size).toBe(1)
    expect(() => cache.replace(seven, grantReference(8), 1)).toThrow(
      expect.objectContaining({ code: 'ERR_XMC_REFUSED' }),
    )
    cache.close()
    expect(table.mappings.size).toBe(0)
  })

  test('an unmap notification is set through the backend, at the place of a mapping', () => {
    const { table, cache } = setUp([7])
    cache.map(grantReference(7), 0, 1)
    const mapping = cache.map(seven, 16, 4, { write: true })
    cache.backend.setUnmapNotify(cache.pointerOf(mapping).windowPage, { clearByte: 16 })
    expect(table.calls.at(-1)).toEqual({ notify: { clearByte: 16 }, at: 1 })
  })
})

describe('persistent grants', () => {
  test('stay mapped up to their cap; the least recently used goes first', () => {
    const { table, cache } = setUp([1, 2, 3], {
      persistent: { maximumPages: 2, idleMilliseconds: 60_000 },
    })
    for (const reference of [1, 2, 1, 3]) cache.map(grantReference(reference), 0, 1).release()
    expect(table.calls).toEqual([
      { map: [1], at: 0, writable: false },
      { map: [2], at: 1, writable: false },
      { unmap: 1, at: 1 },
      expect.objectContaining({ map: [3] }),
    ])
    expect(table.mappings.size).toBe(2)
    cache.close()
    expect(table.mappings.size).toBe(0)
  })

  test('go after their idle time', () => {
    vi.useFakeTimers()
    const { table, cache } = setUp([1, 2], {
      persistent: { maximumPages: 64, idleMilliseconds: 1000 },
    })
    cache.map(grantReference(1), 0, 1).release()
    const held = cache.map(grantReference(2), 0, 1)
    vi.advanceTimersByTime(400)
    expect(table.mappings.size).toBe(2)
    vi.advanceTimersByTime(2000)
    expect([...table.mappings.values()].map(({ references }) => references)).toEqual([
      { first: 2, count: 1 },
    ])
    held.release()
    vi.advanceTimersByTime(2000)
    expect(table.mappings.size).toBe(0)
    cache.close()
  })

  test.each([
    [{ maximumPages: 0, idleMilliseconds: 1000 }, 'persistent.maximumPages'],
    [{ maximumPages: 1.5, idleMilliseconds: 1000 }, 'persistent.maximumPages'],
    [{ maximumPages: 2 ** 31, idleMilliseconds: 1000 }, 'persistent.maximumPages'],
    [{ maximumPages: 64, idleMilliseconds: 0 }, 'persistent.idleMilliseconds'],
    [{ maximumPages: 64, idleMilliseconds: 2 ** 31 }, 'persistent.idleMilliseconds'],
  ])('%o is refused', (persistent, field) => {
    expect(() => setUp([], { persistent })).toThrow(
      expect.objectContaining({ code: 'ERR_XMC_ARGUMENT', field }),
    )
  })

  const whole = { table: new SmallGrantTable(), domain: domainId(3), window: plainWindow() }
  test.each([
    [undefined, 'options'],
    [{ ...whole, table: undefined }, 'table'],
    [{ ...whole, table: { map: () => {} } }, 'table'],
    [{ ...whole, window: {} }, 'window'],
    [{ ...whole, retention: { kind: 'at-once' } }, 'retention'],
    [{ ...whole, persistent: { maximumpages: 1, idleMilliseconds: 1 } }, 'maximumpages'],
  ])('refuses %o, as a program in JavaScript may give it', (options, field) => {
    expect(() => Reflect.apply(createGrantCache, undefined, [options])).toThrow(
      expect.objectContaining({ code: 'ERR_XMC_ARGUMENT', field }),
    )
  })
})
