import { domainId, grantReference, guestFrame } from '@xmc/interface'
import fc from 'fast-check'
import { beforeEach, describe, expect, test } from 'vitest'
import { propertyRuns } from '../../../vitest.properties.ts'
import { GrantDma, GuestGrantTable } from '../src/grant-dma.ts'
import { GRANT_MAP_FLAGS, GrantTables, readGrantEntry } from '../src/grant-table.ts'

const BACKEND = domainId(0)
const GUEST = domainId(1)
const BIT_63 = 1n << 63n
const FRAME = guestFrame(0x40000)

let tables: GrantTables
let grants: GuestGrantTable
let dma: GrantDma
beforeEach(() => {
  tables = new GrantTables(
    {
      domainExists: () => true,
      machinePage: (_domain, frame) => frame,
      isPagedOut: () => false,
      pageBytes: () => new Uint8Array(4096),
    },
    { maximumFrames: 3 },
  )
  grants = new GuestGrantTable(tables, GUEST)
  dma = new GrantDma(grants, BACKEND)
})

function entry(reference: number): { flags: number; domain: number; frame: number } {
  return readGrantEntry(tables.sharedTable(GUEST), grantReference(reference))
}

function map(reference: number): { mapper: typeof BACKEND; handle: number; address: number } {
  const address = 0x1000 * (reference + 1)
  const result = tables.map({
    mapper: BACKEND,
    granter: GUEST,
    reference: grantReference(reference),
    flags: GRANT_MAP_FLAGS.host_map | GRANT_MAP_FLAGS.readonly,
    address,
  })
  if (result.status !== 0) throw new Error(`refused with ${result.status}`)
  return { mapper: BACKEND, handle: result.handle, address }
}

describe('DMA addresses', () => {
  test('S77 page offset 0x1F80, length 0x200, to the device: 2 read-only references', () => {
    const address = dma.mapPages({
      frame: FRAME,
      offset: 0x1f80,
      length: 0x200,
      direction: 'to-device',
    })
    expect(address).toBe(BIT_63 | (8n << 12n) | 0xf80n)
    expect(entry(8)).toEqual({ flags: 5, domain: BACKEND, frame: FRAME + 1 })
    expect(entry(9)).toEqual({ flags: 5, domain: BACKEND, frame: FRAME + 2 })
    expect(entry(10).flags).toBe(0)
    expect(dma.live).toEqual([{ address, first: 8, count: 2 }])
  })

  test.each(['from-device', 'bidirectional'] as const)('%s is writable', (direction) => {
    dma.mapPages({ frame: FRAME, offset: 0, length: 4096, direction })
    expect(entry(8)).toEqual({ flags: 1, domain: BACKEND, frame: FRAME })
    expect(entry(9).flags).toBe(0)
  })

  test('coherent memory is whole pages, always writable', () => {
    expect(dma.allocateCoherent(FRAME, 2)).toBe(BIT_63 | (8n << 12n))
    expect([entry(8), entry(9)]).toEqual([
      { flags: 1, domain: BACKEND, frame: FRAME },
      { flags: 1, domain: BACKEND, frame: FRAME + 1 },
    ])
  })

  test('two buffers in one page have references of their own', () => {
    const buffer = { frame: FRAME, length: 16, direction: 'to-device' } as const
    const first = dma.mapPages({ ...buffer, offset: 0 })
    const second = dma.mapPages({ ...buffer, offset: 16 })
    expect([first, second]).toEqual([BIT_63 | (8n << 12n), BIT_63 | (9n << 12n) | 16n])
    expect(entry(8).frame).toBe(entry(9).frame)
  })

  test('what is no buffer is refused, and takes no reference', () => {
    const buffer = { frame: FRAME, offset: 0, length: 1, direction: 'to-device' } as const
    expect(() => dma.mapPages({ ...buffer, offset: -1 })).toThrow(
      expect.objectContaining({ field: 'offset' }),
    )
    expect(() => dma.mapPages({ ...buffer, length: 0 })).toThrow(
      expect.objectContaining({ field: 'length' }),
    )
    expect(() => dma.allocateCoherent(FRAME, 0)).toThrow(
      expect.objectContaining({ field: 'count' }),
    )
    expect(() => dma.allocateCoherent(guestFrame(2 ** 32 - 1), 2)).toThrow(
      expect.objectContaining({ field: 'frame' }),
    )
    expect(() => dma.unmap(BIT_63)).toThrow(expect.objectContaining({ field: 'address' }))
    expect(grants.takenCount).toBe(0)
  })
})

describe('unmapping', () => {
  test('ends every grant and gives the references back', () => {
    const first = dma.allocateCoherent(FRAME, 2)
    const second = dma.allocateCoherent(FRAME, 1)
    const mapping = map(8)
    expect(tables.unmap(mapping)).toBe(0)
    expect(dma.unmap(first)).toBe(true)
    expect([entry(8).flags, entry(9).flags, entry(10).flags]).toEqual([0, 0, 1])
    expect(() => dma.unmap(first)).toThrow(expect.objectContaining({ code: 'ERR_XMC_ARGUMENT' }))
    expect(dma.allocateCoherent(FRAME, 3)).toBe(BIT_63 | (11n << 12n))
    expect(dma.allocateCoherent(FRAME, 2)).toBe(first)
    expect(dma.unmap(second)).toBe(true)
    expect(grants.takenCount).toBe(5)
  })

  test('S78 while the backend holds a page: broken for ever, references leaked', () => {
    const address = dma.allocateCoherent(FRAME, 3)
    const mapping = map(9)
    expect(dma.unmap(address)).toBe(false)
    expect(dma.broken).toBe(true)
    expect([entry(8).flags, entry(9).flags, entry(10).flags]).toEqual([0, 9, 1])
    tables.unmap(mapping)
    const broken = expect.objectContaining({ code: 'ERR_XMC_GRANT_DMA_BROKEN', reference: 9 })
    const buffer = { frame: FRAME, offset: 0, length: 1, direction: 'to-device' } as const
    expect(() => dma.mapPages(buffer)).toThrow(broken)
    expect(() => dma.allocateCoherent(FRAME, 1)).toThrow(broken)
    expect(() => dma.unmap(address)).toThrow(broken)
    expect(dma.live).toHaveLength(1)
    expect(grants.takenCount).toBe(3)
    // The guest's other devices go on, with other references.
    expect(new GrantDma(grants, BACKEND).allocateCoherent(FRAME, 1)).toBe(BIT_63 | (11n << 12n))
  })
})

describe('references', () => {
  test('are the lowest run that is free, from 8 on; the table grows for them', () => {
    expect(grants.allocate(504)).toBe(8)
    expect(tables.size(GUEST)).toBe(512)
    expect(grants.allocate(2)).toBe(512)
    expect(tables.size(GUEST)).toBe(1024)
    grants.free(grantReference(20), 1)
    grants.free(grantReference(100), 2)
    expect(grants.allocate(2)).toBe(100)
    expect(grants.allocate(1)).toBe(20)
    expect(grants.allocate(1023)).toBe(undefined)
    expect(grants.allocate(1e12)).toBe(undefined)
    expect(grants.takenCount).toBe(506)
    expect(grants.allocate(1022)).toBe(514)
    expect(grants.allocate(1)).toBe(undefined)
    expect(() => dma.allocateCoherent(FRAME, 1)).toThrow(
      expect.objectContaining({ code: 'ERR_XMC_NO_GRANT_REFERENCES', count: 1 }),
    )
  })

  test('that are not taken cannot be freed, and a count must be one', () => {
    grants.allocate(1)
    expect(() => grants.free(grantReference(8), 2)).toThrow(
      expect.objectContaining({ field: 'reference', received: 9 }),
    )
    expect(() => grants.allocate(0)).toThrow(expect.objectContaining({ field: 'count' }))
  })

  test('a frame of more than 32 bits does not fit an entry of version 1', () => {
    const grant = { grantee: BACKEND, frame: guestFrame(2 ** 32), readOnly: false }
    expect(() => grants.grant(grantReference(8), grant)).toThrow(
      expect.objectContaining({ field: 'frame' }),
    )
  })

  test('any sequence of allocations and frees hands out disjoint, lowest runs', () => {
    const step = fc.oneof(fc.record({ take: fc.integer({ min: 1, max: 9 }) }), fc.nat(30))
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const table = new GuestGrantTable(tables, domainId(3))
        const runs: Run[] = []
        for (const action of steps) {
          const expected = typeof action === 'number' ? undefined : lowestRun(runs, action.take)
          const [run] = typeof action === 'number' ? runs.splice(action, 1) : []
          if (run) table.free(grantReference(run.first), run.count)
          const first = typeof action === 'number' ? undefined : table.allocate(action.take)
          expect(first).toBe(expected)
          if (first !== undefined && typeof action !== 'number') {
            runs.push({ first, count: action.take })
          }
          expect(table.takenCount).toBe(runs.reduce((sum, { count }) => sum + count, 0))
        }
      }),
      propertyRuns(100),
    )
  })
})

interface Run {
  readonly first: number
  readonly count: number
}

/** The lowest reference from 8 on with `count` free ones, `runs` being taken. */
function lowestRun(runs: readonly Run[], count: number): number {
  let first = 8
  while (runs.some((run) => run.first < first + count && first < run.first + run.count)) first++
  return first
}
