import { constants } from 'node:os'
import {
  countPages,
  domainId,
  type GrantReference,
  grantReference,
  isPageList,
  MemoryAreasError,
  SystemCallError,
  windowPage,
  XmcError,
} from '@xmc/interface'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { propertyRuns } from '../../../vitest.properties.ts'
import {
  GrantBackend,
  GrantCopyError,
  GrantLimitError,
  GrantMapError,
  GrantUnmapError,
} from '../src/index.ts'
import { SmallGrantTable } from './doubles/grant-table.ts'
import { plainWindow } from './doubles/window.ts'

const { EINVAL, EIO, ENOENT, ENOMEM } = constants.errno

function setUp(granted: readonly number[] = []) {
  const table = new SmallGrantTable()
  for (const reference of granted) table.grant(reference)
  const window = plainWindow()
  const backend = new GrantBackend({ table, domain: domainId(3), window })
  const map = (at: number, list: readonly number[], writable = true) =>
    backend.mapAt(windowPage(at), list.map(grantReference), writable, new Int32Array(list.length))
  return { table, window, backend, map }
}

function run(first: number, count: number) {
  return { first: grantReference(first), count }
}

function caught(action: () => unknown): unknown {
  try {
    action()
  } catch (error) {
    return error
  }
  return undefined
}

function probesOf(table: SmallGrantTable): readonly (readonly number[])[] {
  return table.calls.flatMap((call) => ('copy' in call ? [call.copy] : []))
}

describe('GrantBackend', () => {
  test('is one page at a time, pinned, with the access that is asked for', () => {
    const { backend, window } = setUp()
    expect(backend.kind).toBe('grants')
    expect(backend.bucketShift).toBe(12)
    expect(backend.access).toBe('as-requested')
    expect(backend.pinned).toBe(true)
    expect(backend.window).toBe(window)
    expect(backend.domain).toBe(3)
  })

  test.each([32_752, -1, 0.5])('domain %d is refused', (domain) => {
    const options = { table: new SmallGrantTable(), window: plainWindow() }
    expect(
      () => new GrantBackend(Object.assign(options, JSON.parse(`{ "domain": ${domain} }`))),
    ).toThrow(expect.objectContaining({ code: 'ERR_XMC_ARGUMENT', field: 'domain id' }))
  })

  test('review c: a page is any 32-bit reference, and nothing looks at bit 63', () => {
    const { backend } = setUp()
    expect(backend.page(0)).toBe(0)
    expect(backend.page(2 ** 32 - 1)).toBe(4_294_967_295)
    const refused = expect.objectContaining({ code: 'ERR_XMC_ARGUMENT' })
    expect(() => backend.page(2 ** 32)).toThrow(refused)
    expect(() => backend.page(2 ** 51 + 7)).toThrow(refused)
    expect(() => backend.page(-1)).toThrow(refused)
  })
})

describe('mapAt', () => {
  test('a shortage of the host is passed on as it is, without a probe, in both forms', async () => {
    const { table, backend, map } = setUp([7])
    const shortage = new MemoryAreasError({
      who: 'a window',
      needed: 2,
      used: 9,
      limit: 10,
      option: 'the option',
      shortage: 'passing',
    })
    table.refuse.map = shortage
    expect(caught(() => map(0, [7]))).toBe(shortage)
    await expect(
      backend.mapAtAsync(windowPage(0), [grantReference(7)], true, new Int32Array(1)),
    ).rejects.toBe(shortage)
    expect(probesOf(table)).toEqual([])
  })

  test('review a: the reference travels as the page: S48 gm[7,8,9,10]r', () => {
    const { table, window, backend } = setUp([7, 8, 9, 10])
    const errors = new Int32Array(5).fill(99)
    backend.mapAt(windowPage(4), run(7, 4), false, errors)
    expect(table.calls).toEqual([{ map: [7, 8, 9, 10], at: 4, writable: false }])
    expect(table.mappings.get(4)).toMatchObject({ domain: 3, writable: false })
    expect(table.mappings.get(4)?.window).toBe(window)
    expect([...errors]).toEqual([0, 0, 0, 0, 99])
  })

  test('scattered references in any order, one of them twice, are one call', () => {
    const { table, map } = setUp([5, 0, 15])
    map(0, [15, 0, 5, 0])
    expect(table.calls).toEqual([{ map: [15, 0, 5, 0], at: 0, writable: true }])
  })

  test('review b: one write flag decides: S50 read-only and writable of one reference', () => {
    const { table, map } = setUp([7])
    map(0, [7], false)
    map(1, [7], true)
    expect(table.calls).toEqual([
      { map: [7], at: 0, writable: false },
      { map: [7], at: 1, writable: true },
    ])
  })

  test('S82 65,537 references are refused by name without a call', async () => {
    const { table, backend } = setUp()
    const error = caught(() =>
      backend.mapAt(windowPage(0), run(0, 65_537), true, new Int32Array(65_537)),
    )
    expect(error).toBeInstanceOf(GrantLimitError)
    expect(error).toBeInstanceOf(XmcError)
    expect(error).toMatchObject({
      code: 'ERR_XMC_GRANT_LIMIT',
      domain: 3,
      limitName: 'references-per-map',
      limit: 65_536,
      value: 65_537,
      reference: undefined,
    })
    await expect(
      backend.mapAtAsync(windowPage(0), run(0, 65_537), true, new Int32Array(65_537)),
    ).rejects.toMatchObject({ code: 'ERR_XMC_GRANT_LIMIT' })
    expect(table.calls).toEqual([])
  })

  test('S82 no references, and a run past the last reference, are refused without a call', () => {
    const { table, backend } = setUp()
    const refused = expect.objectContaining({ code: 'ERR_XMC_ARGUMENT' })
    const errors = new Int32Array(2)
    expect(() => backend.mapAt(windowPage(0), [], true, errors)).toThrow(refused)
    expect(() => backend.mapAt(windowPage(0), run(2 ** 32 - 1, 2), true, errors)).toThrow(refused)
    expect(table.calls).toEqual([])
  })

  test('S85 a paged-out page is ERR_XMC_PAGED_OUT, without a probe; the asynchronous form waits', async () => {
    const { table, backend } = setUp([7])
    table.grant(8).pagedOut = true
    const errors = new Int32Array(1)
    expect(caught(() => backend.mapAt(windowPage(0), run(8, 1), false, errors))).toMatchObject({
      code: 'ERR_XMC_PAGED_OUT',
      page: 8,
    })
    expect(probesOf(table)).toEqual([])
    errors.fill(99)
    await backend.mapAtAsync(windowPage(0), run(8, 1), false, errors)
    expect(table.mappings.has(0)).toBe(true)
    expect([...errors]).toEqual([0])
  })
})

describe('a refused map says which reference and why', () => {
  test('S55 refs 63 and 64, 64 outside the table: bad_gntref at 64', () => {
    const { table, backend } = setUp([63])
    table.tableSize = 64
    const error = caught(() => backend.mapAt(windowPage(0), run(63, 2), true, new Int32Array(2)))
    expect(error).toBeInstanceOf(GrantMapError)
    expect(error).toBeInstanceOf(XmcError)
    expect(error).toMatchObject({
      name: 'GrantMapError',
      code: 'ERR_XMC_GRANT_MAP',
      message:
        "domain 3: 2 references (63, 64) could not be mapped for writing (EINVAL): reference 64: GNTST_bad_gntref, the reference lies outside the granter's table",
      domain: 3,
      references: [63, 64],
      referenceCount: 2,
      writable: true,
      failedReference: 64,
      status: -3,
      statusName: 'GNTST_bad_gntref',
      errno: EINVAL,
      errnoName: 'EINVAL',
      probeError: undefined,
    })
    expect(error).toHaveProperty('cause.code', 'ERR_XMC_SYSTEM_CALL')
    expect(table.mappings.size).toBe(0)
  })

  test('an unused reference: general_error', () => {
    const { map } = setUp([7])
    expect(caught(() => map(0, [7, 9, 10]))).toMatchObject({
      failedReference: 9,
      status: -1,
      statusName: 'GNTST_general_error',
    })
  })

  test('no such domain: bad_domain at the first reference', () => {
    const { table, map } = setUp([7])
    table.domain = 4
    expect(caught(() => map(0, [7]))).toMatchObject({
      failedReference: 7,
      status: -2,
      statusName: 'GNTST_bad_domain',
    })
  })

  test('the probe reads one byte of each distinct reference, in order, and writes nothing', () => {
    const { table, map } = setUp([4, 5])
    caught(() => map(0, [5, 4, 5, 90, 4]))
    expect(table.calls).toEqual([
      { map: [5, 4, 5, 90, 4], at: 0, writable: true },
      { copy: [5, 4, 90], direction: 'from-grant' },
    ])
  })

  test('the probe goes in batches of 256, and stops at the first refused reference', () => {
    const granted = Array.from({ length: 300 }, (_, index) => index)
    const { table, backend } = setUp(granted)
    const map = () => backend.mapAt(windowPage(0), run(0, 600), true, new Int32Array(600))
    expect(caught(map)).toMatchObject({
      failedReference: 300,
      references: [0, 1, 2, 3, 4, 5, 6, 7],
      referenceCount: 600,
    })
    expect(probesOf(table).map((batch) => [batch.length, batch[0]])).toEqual([
      [256, 0],
      [256, 256],
    ])
  })

  test('the probe is bounded to 4,096 references, and the reason says so', () => {
    const granted = Array.from({ length: 4096 }, (_, index) => index)
    const { table, backend } = setUp(granted)
    table.tableSize = 10_000
    const error = caught(() =>
      backend.mapAt(windowPage(0), run(0, 5000), true, new Int32Array(5000)),
    )
    expect(error).toMatchObject({ failedReference: undefined, status: undefined })
    expect(error).toHaveProperty(
      'reason',
      expect.stringContaining('the first 4096 references can be read'),
    )
    expect(probesOf(table).flat()).toHaveLength(4096)
  })

  test('S56 a read-only grant mapped for writing: the likely causes, no probe by writing', () => {
    const { table, map } = setUp()
    const entry = table.grant(9, { readOnly: true })
    entry.bytes.fill(0x5a)
    const error = caught(() => map(0, [9], true))
    expect(error).toMatchObject({
      code: 'ERR_XMC_GRANT_MAP',
      failedReference: undefined,
      status: undefined,
      reason:
        "every reference can be read, so likely a grant is read-only, or a reference has 128 mappings, others' included, or this domain's map-track table is full",
    })
    expect(table.calls.map((call) => ('direction' in call ? call.direction : 'map'))).toEqual([
      'map',
      'from-grant',
    ])
    expect(entry.bytes.every((byte) => byte === 0x5a)).toBe(true)
    map(0, [9], false)
    expect(table.mappings.size).toBe(1)
  })

  test('others’ 128 mappings: for reading, a read-only grant is not among the causes', () => {
    const { table, map } = setUp([7])
    table.foreignMappings = 128
    expect(caught(() => map(0, [7], false))).toMatchObject({
      reason:
        "every reference can be read, so likely a reference has 128 mappings, others' included, or this domain's map-track table is full",
    })
  })

  test('no room for good references is a shortage that others’ release ends, and says what to do', () => {
    const { table, map } = setUp([7, 8])
    map(1, [8], false)
    table.foreignMappings = 128
    for (const writable of [false, true]) {
      const error = caught(() => map(0, [7], writable))
      expect(error).toMatchObject({ code: 'ERR_XMC_GRANT_MAP', shortage: 'passing' })
      expect(error).toHaveProperty('message', expect.stringContaining('gnttab_max_maptrack_frames'))
    }
    expect(table.mappings.size).toBe(1)
  })

  test('a read-only grant is told from a shortage by a mapping for reading, which goes at once', () => {
    const { table, map } = setUp([8])
    table.grant(9, { readOnly: true })
    map(1, [8])
    table.calls.length = 0
    expect(caught(() => map(0, [9]))).toMatchObject({
      shortage: undefined,
      reason: expect.stringContaining('a grant is read-only'),
    })
    expect(table.calls).toEqual([
      { map: [9], at: 0, writable: true },
      { copy: [9], direction: 'from-grant' },
      { map: [9], at: 0, writable: false },
      { unmap: 1, at: 0 },
    ])
    expect(table.mappings.size).toBe(1)
  })

  test('a mapping for reading that cannot be removed again is an error of its own', () => {
    const { table, map } = setUp([8])
    table.grant(9, { readOnly: true })
    map(1, [8])
    table.refuse.unmap = new SystemCallError('gntdev unmap', EINVAL, 'refused')
    expect(caught(() => map(0, [9]))).toMatchObject({
      code: 'ERR_XMC_GRANT_UNMAP',
      references: [9],
      cause: table.refuse.unmap,
      mayBeMapped: true,
    })
  })

  test('a bad reference is no shortage, however little room there is', () => {
    const { table, map } = setUp([7])
    map(1, [7], false)
    table.foreignMappings = 128
    expect(caught(() => map(0, [7, 99]))).toMatchObject({
      failedReference: 99,
      shortage: undefined,
    })
  })

  test.each([
    [ENOMEM, 'passing'],
    [constants.errno.ENOSPC, 'passing'],
    [EIO, undefined],
  ])('errno %d as a shortage: %s', (errno, shortage) => {
    const { table, map } = setUp()
    table.refuse.map = new SystemCallError('gntdev map', errno, 'refused')
    expect(caught(() => map(0, [7]))).toMatchObject({ code: 'ERR_XMC_GRANT_MAP', shortage })
  })

  test('a probe that cannot be made leaves the likely causes, and its own error', () => {
    const { table, map } = setUp()
    const broken = new SystemCallError('gntdev copy', constants.errno.ENOSYS, 'no grant copy')
    table.refuse.copy = broken
    expect(caught(() => map(0, [7], false))).toMatchObject({
      code: 'ERR_XMC_GRANT_MAP',
      failedReference: undefined,
      reason: expect.stringContaining('a reference is not granted to this domain'),
      probeError: broken,
      errnoName: 'EINVAL',
    })
  })

  test.each([
    [ENOMEM, 'ENOMEM', 'no memory'],
    [EIO, 'EIO', 'the provider refused the call'],
  ])('errno %d is not probed', (errno, errnoName, reason) => {
    const { table, map } = setUp()
    table.refuse.map = new SystemCallError('gntdev map', errno, 'refused')
    expect(caught(() => map(0, [7]))).toMatchObject({
      errnoName,
      reason: expect.stringContaining(reason),
    })
    expect(probesOf(table)).toEqual([])
  })

  test('a provider error without errno keeps its cause', () => {
    const { table, map } = setUp()
    table.refuse.map = new TypeError('broken provider')
    expect(caught(() => map(0, [7]))).toMatchObject({
      code: 'ERR_XMC_GRANT_MAP',
      errno: undefined,
      cause: table.refuse.map,
    })
  })

  test('the asynchronous form explains too', async () => {
    const { backend } = setUp()
    await expect(
      backend.mapAtAsync(windowPage(0), run(3, 1), true, new Int32Array(1)),
    ).rejects.toMatchObject({ code: 'ERR_XMC_GRANT_MAP', failedReference: 3, status: -1 })
  })
})

describe('the limit of 128 mappings of a reference', () => {
  test('S80 the 129th read-only map is refused by name; a writable one still succeeds', () => {
    const { table, map } = setUp([7])
    for (let at = 0; at < 128; at++) map(at, [7], false)
    const error = caught(() => map(128, [7], false))
    expect(error).toMatchObject({
      code: 'ERR_XMC_GRANT_LIMIT',
      limitName: 'mappings-per-reference',
      limit: 128,
      value: 129,
      reference: 7,
      shortage: 'passing',
      message:
        'domain 3: reference 7 would have 129 mappings of one kind, over the limit of 128: release some',
    })
    expect(error).toHaveProperty('cause.errnoName', 'EINVAL')
    expect(probesOf(table)).toEqual([])
    map(129, [7], true)
    expect(table.mappings.size).toBe(129)
  })

  test('a reference that occurs 129 times in one map is refused by name', () => {
    const { map } = setUp([7])
    expect(caught(() => map(0, Array<number>(129).fill(7)))).toMatchObject({
      code: 'ERR_XMC_GRANT_LIMIT',
      value: 129,
      reference: 7,
      shortage: 'lasting',
    })
  })

  test('a released mapping does not count, a refused release does', () => {
    const { table, backend, map } = setUp([7])
    for (let at = 0; at < 128; at++) map(at, [7])
    backend.unmapAt(windowPage(5), 1)
    map(5, [7])
    table.refuse.unmap = new SystemCallError('gntdev unmap', EINVAL, 'refused')
    caught(() => backend.unmapAt(windowPage(5), 1))
    expect(caught(() => map(200, [7]))).toMatchObject({ code: 'ERR_XMC_GRANT_LIMIT', value: 129 })
  })

  test('the asynchronous forms count alike', async () => {
    const { backend, map } = setUp([7])
    const mapAsync = async (at: number) =>
      backend.mapAtAsync(windowPage(at), run(7, 1), true, new Int32Array(1))
    await Promise.all(Array.from({ length: 128 }, async (_, at) => mapAsync(at)))
    expect(caught(() => map(128, [7]))).toMatchObject({ code: 'ERR_XMC_GRANT_LIMIT', value: 129 })
    await backend.unmapAtAsync(windowPage(3), 1)
    await mapAsync(3)
    await expect(mapAsync(128)).rejects.toMatchObject({ code: 'ERR_XMC_GRANT_LIMIT', value: 129 })
  })

  test.each(['unmapAt', 'unmapAtAsync'] as const)(
    '%s ends the count of its mapping',
    async (form) => {
      const { table, backend, map } = setUp([7])
      const places = Array.from({ length: 128 }, (_, at) => windowPage(at))
      for (const at of places) map(at, [7])
      await Promise.all(places.map(async (at) => backend[form](at, 1)))
      table.foreignMappings = 128
      expect(caught(() => map(200, [7]))).toMatchObject({ code: 'ERR_XMC_GRANT_MAP' })
      table.foreignMappings = 127
      map(200, [7])
      expect(caught(() => map(201, [7]))).toMatchObject({ code: 'ERR_XMC_GRANT_MAP' })
    },
  )

  test('mappings of the other kind do not count', () => {
    const { table, map } = setUp([7])
    for (let at = 0; at < 128; at++) map(at, [7], false)
    table.foreignMappings = 128
    expect(caught(() => map(200, [7], true))).toMatchObject({ code: 'ERR_XMC_GRANT_MAP' })
    expect(caught(() => map(200, [7], false))).toMatchObject({ code: 'ERR_XMC_GRANT_LIMIT' })
  })

  test('a failed map does not count', () => {
    const { table, map } = setUp([7])
    for (let attempt = 0; attempt < 200; attempt++) caught(() => map(0, [7, 99]))
    table.foreignMappings = 128
    expect(caught(() => map(0, [7]))).toMatchObject({ code: 'ERR_XMC_GRANT_MAP' })
  })

  test('a list that its caller changes afterwards is counted as it was mapped', () => {
    const { backend, map } = setUp([7, 8])
    const list: GrantReference[] = Array<GrantReference>(128).fill(grantReference(7))
    backend.mapAt(windowPage(0), list, true, new Int32Array(128))
    list.fill(grantReference(8))
    expect(caught(() => map(200, [7]))).toMatchObject({ code: 'ERR_XMC_GRANT_LIMIT', reference: 7 })
    map(201, [8])
  })

  test('the count agrees with the table over random maps and unmaps', () => {
    const step = fc.record({
      at: fc.integer({ min: 0, max: 9 }),
      references: fc.array(fc.integer({ min: 0, max: 1 }), { minLength: 1, maxLength: 60 }),
      writable: fc.boolean(),
      unmap: fc.boolean(),
      refused: fc.boolean(),
    })
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const { table, backend, map } = setUp([0, 1])
        const answers: unknown[] = []
        const wanted: unknown[] = []
        for (const { at, references, writable, unmap, refused } of steps) {
          const live = table.mappings.get(at)
          if (unmap) {
            const count = live === undefined || refused ? 61 : countPages(live.references)
            caught(() => backend.unmapAt(windowPage(at), count))
          } else if (live === undefined) {
            const over = [0, 1].some(
              (reference) =>
                references.filter((other) => other === reference).length +
                  pins(table, reference, writable) >
                128,
            )
            const error = caught(() => map(at, references, writable))
            answers.push(error instanceof GrantLimitError ? error.limitName : error)
            wanted.push(over ? 'mappings-per-reference' : undefined)
          }
        }
        expect(answers).toEqual(wanted)
      }),
      propertyRuns(200),
    )
  })
})

describe('unmapAt', () => {
  test('review d, S52: the exact count goes to the port, no rounding', () => {
    const { table, backend, map } = setUp([7, 8, 9, 10])
    map(0, [7])
    map(8, [7, 8, 9, 10])
    backend.unmapAt(windowPage(8), 4)
    backend.unmapAt(windowPage(0), 1)
    expect(table.calls.slice(2)).toEqual([
      { unmap: 4, at: 8 },
      { unmap: 1, at: 0 },
    ])
    expect(table.mappings.size).toBe(0)
  })

  test('review e, S60, S83, M15: a refused unmap is a typed error that names what is still mapped', async () => {
    const { table, backend, map } = setUp([7, 8])
    map(4, [7, 8])
    const error = caught(() => backend.unmapAt(windowPage(4), 1))
    expect(error).toBeInstanceOf(GrantUnmapError)
    expect(error).toMatchObject({
      code: 'ERR_XMC_GRANT_UNMAP',
      domain: 3,
      windowPage: 4,
      pageCount: 1,
      references: [7, 8],
      errno: EINVAL,
      errnoName: 'EINVAL',
    })
    expect(error).toHaveProperty('cause.code', 'ERR_XMC_SYSTEM_CALL')
    await expect(backend.unmapAtAsync(windowPage(5), 1)).rejects.toMatchObject({
      code: 'ERR_XMC_GRANT_UNMAP',
      references: [],
    })
    expect(table.mappings.size).toBe(1)
    await backend.unmapAtAsync(windowPage(4), 2)
    expect(table.mappings.size).toBe(0)
  })
})

describe('copyFrom and copyTo', () => {
  test('S53 move bytes of a page that is not mapped', () => {
    const { table, backend } = setUp()
    const entry = table.grant(7)
    entry.bytes.set([1, 2, 3, 4], 4092)
    const target = new Uint8Array(3)
    backend.copyFrom(grantReference(7), 4093, target)
    expect([...target]).toEqual([2, 3, 4])
    backend.copyTo(grantReference(7), 0, Uint8Array.of(9, 8))
    expect([...entry.bytes.subarray(0, 3)]).toEqual([9, 8, 0])
    expect(table.mappings.size).toBe(0)
  })

  test('a refused copy carries its status by name', () => {
    const { table, backend } = setUp()
    table.grant(9, { readOnly: true })
    const error = caught(() => backend.copyTo(grantReference(9), 0, new Uint8Array(1)))
    expect(error).toBeInstanceOf(GrantCopyError)
    expect(error).toMatchObject({
      code: 'ERR_XMC_GRANT_COPY',
      domain: 3,
      reference: 9,
      direction: 'to-grant',
      status: -1,
      statusName: 'GNTST_general_error',
    })
    expect(caught(() => backend.copyFrom(grantReference(600), 0, new Uint8Array(1)))).toMatchObject(
      { direction: 'from-grant', status: -3, statusName: 'GNTST_bad_gntref' },
    )
  })

  test('a call that is refused as a whole keeps its cause; no status is an error too', () => {
    const { table, backend } = setUp([7])
    table.refuse.copy = new SystemCallError('gntdev copy', EINVAL, 'refused')
    const read = () => backend.copyFrom(grantReference(7), 0, new Uint8Array(1))
    expect(caught(read)).toMatchObject({
      code: 'ERR_XMC_GRANT_COPY',
      status: undefined,
      cause: table.refuse.copy,
    })
    table.copy = () => new Int16Array(0)
    expect(caught(read)).toMatchObject({ code: 'ERR_XMC_GRANT_COPY', status: undefined })
  })

  test('bytes over the end of the page are refused without a call, no bytes need none', () => {
    const { table, backend } = setUp([7])
    const refused = expect.objectContaining({ code: 'ERR_XMC_ARGUMENT' })
    const page = grantReference(7)
    expect(() => backend.copyFrom(page, 4095, new Uint8Array(2))).toThrow(refused)
    expect(() => backend.copyTo(page, -1, new Uint8Array(1))).toThrow(refused)
    expect(() => backend.copyTo(page, 0.5, new Uint8Array(1))).toThrow(refused)
    backend.copyFrom(page, 4096, new Uint8Array(0))
    expect(table.calls).toEqual([])
  })
})

describe('setUnmapNotify', () => {
  test('reaches the port with the place and what to do', () => {
    const { table, backend, map } = setUp([7])
    map(6, [7])
    backend.setUnmapNotify(windowPage(6), { clearByte: 4095, eventChannel: 11 })
    expect(table.calls[1]).toEqual({ notify: { clearByte: 4095, eventChannel: 11 }, at: 6 })
  })

  test('refuses a byte outside the page without a call, and passes the port’s refusal on', () => {
    const { table, backend } = setUp()
    expect(() => backend.setUnmapNotify(windowPage(6), { clearByte: 4096 })).toThrow(
      expect.objectContaining({ code: 'ERR_XMC_ARGUMENT' }),
    )
    expect(table.calls).toEqual([])
    expect(() => backend.setUnmapNotify(windowPage(6), { clearByte: 0 })).toThrow(
      expect.objectContaining({ code: 'ERR_XMC_SYSTEM_CALL', errno: ENOENT }),
    )
  })
})

function pins(table: SmallGrantTable, reference: number, writable: boolean): number {
  let count = 0
  for (const { references, writable: kind } of table.mappings.values()) {
    if (kind !== writable || !isPageList(references)) continue
    count += references.filter((other) => other === reference).length
  }
  return count
}
