import { MapCache } from '@xmc/core'
import { describe, expect, test } from 'vitest'
import {
  AddressSpace,
  ContainerRegion,
  type MappedLength,
  type RamBacking,
  ResidentBlock,
  XenMemory,
} from '../src/index.ts'
import { caught } from './doubles/caught.ts'
import { GrantedPages } from './doubles/granted-pages.ts'
import { grantPage } from './doubles/machine.ts'

/** A machine whose backings are the caches of the engine. */
function setUp() {
  const guest = new GrantedPages({ pinned: false, bucketShift: 20 })
  const table = new GrantedPages({ pinned: true, bucketShift: 12 })
  const foreign = new MapCache({ backend: guest, name: 'foreign' })
  const granted = new MapCache({ backend: table, name: 'grants' })
  const xen = new XenMemory({
    memory: foreign,
    banks: [{ name: 'xen.ram.lo', address: 0x40000000n, size: 0x1000000n }],
    grants: granted,
  })
  const root = new ContainerRegion({ name: 'system' })
  xen.addTo(root)
  return { guest, table, foreign, granted, xen, space: new AddressSpace({ root }) }
}

describe('a map cache behind a region', () => {
  test('is a RamBacking as it is', () => {
    const { foreign, granted } = setUp()
    const backings: RamBacking[] = [foreign, granted]
    expect(backings.map(({ name }) => name)).toEqual(['foreign', 'grants'])
  })

  test('loads, stores and maps of RAM reach the frame; its bucket is mapped once', () => {
    const { guest, foreign, space } = setUp()
    expect(space.loadUint32(0x40012, 0)).toBe(0x40012)
    space.storeUint32At(0x40012004n, 7)
    const mapping = space.map(0x40012, 0, 0x3000, true)
    expect([...mapping.bytes.subarray(0, 5)]).toEqual([0x12, 0, 4, 0, 7])
    expect(new DataView(mapping.bytes.buffer).getUint32(mapping.start + 0x2000, true)).toBe(0x40014)
    expect(foreign.statistics.locks).toBe(1)
    mapping.release(0x3000)
    expect(foreign.statistics.locks).toBe(0)
    expect(guest.log).toEqual(['map 262144+256 write'])
  })

  test('a grant is mapped by its reference, and unmapped with its last lock', () => {
    const { table, granted, space } = setUp()
    const first = space.mapAt(0x8000_0000_0000_7123n, 100, false)
    const second = space.mapAt(0x8000_0000_0000_7200n, 16, false)
    expect(table.log).toEqual(['map 7+1 read'])
    expect(granted.pageOf(granted.pointerOf(first.bytes).windowPage)).toBe(7)
    first.release(0)
    expect(table.mappedPages).toBe(1)
    second.release(0)
    expect(table.log).toEqual(['map 7+1 read', 'unmap 1'])
    expect(table.mappedPages).toBe(0)
  })

  test('S53 plain access to a grant leaves nothing mapped', () => {
    const { table, space } = setUp()
    expect(space.loadUint32At(0x8000_0000_0000_9000n)).toBe(9)
    space.storeUint32At(0x8000_0000_0000_9004n, 10)
    expect(table.contentsOf(9)[4]).toBe(10)
    expect(table.mappedPages).toBe(0)
  })

  test('S71 a failed map of a grant leaves no lock, no mapping and no reference', async () => {
    const { table, granted, xen, space } = setUp()
    table.missing.add(9)
    const mapped: MappedLength = { length: 4096 }
    expect(space.tryMap(grantPage(8), 0, { length: 8192 }, true)).toBeNull()
    expect(space.tryMap(grantPage(9), 0, mapped, true)).toBeNull()
    expect(mapped).toMatchObject({ length: 0, cause: { code: 'ERR_XMC_SYSTEM_CALL', errno: 22 } })
    await expect(space.mapAsync(grantPage(9), 0, 1, true)).rejects.toMatchObject({ errno: 22 })
    expect(granted.statistics.locks).toBe(0)
    expect(table.mappedPages).toBe(0)
    expect(xen.grants?.references).toBe(0)
  })

  test('S75 a split ring in one granted page: two mappings, three locks', () => {
    const { table, granted, space } = setUp()
    const page = grantPage(7)
    const rings = [
      space.openRing(page, 0, 1024, false),
      space.openRing(page, 1216, 518, true),
      space.openRing(page, 1024, 134, false),
    ]
    expect(granted.statistics.locks).toBe(3)
    expect(granted.statistics.lockedEntries).toBe(2)
    expect(table.log).toEqual(['map 7+1 read', 'map 7+1 write'])
    for (const ring of rings) ring.close()
    expect(table.mappedPages).toBe(0)
  })

  test('S76 a packed ring in one granted page: one mapping for reading and writing', () => {
    const { table, granted, space } = setUp()
    const ring = space.openRing(grantPage(7), 0, 1024, true)
    expect(ring.loadUint32(0)).toBe(7)
    expect(table.log).toEqual(['map 7+1 write'])
    expect(granted.statistics.locks).toBe(1)
    ring.close()
    expect(table.mappedPages).toBe(0)
  })

  test('a user of the space has slots of both windows: a bucket of RAM, each page of a grant', () => {
    const { foreign, granted, space } = setUp()
    expect([foreign.pagesPerSlot, granted.pagesPerSlot]).toEqual([256, 1])
    const user = space.registerUser({ name: 'disk' })
    // Two mappings of the bucket at 0x40000, one over it and the next, and three granted pages.
    const held = [
      user.map(0x40012, 0, 4096, true),
      user.map(0x40013, 0, 4096, false),
      user.map(0x400ff, 8, 4096, false),
      user.map(grantPage(7), 4, 8192, true),
    ]
    const slots = () => Object.fromEntries(user.shares.map(({ backing, used }) => [backing, used]))
    // The mapping over two buckets has slots of its own.
    expect(slots()).toEqual({ foreign: 3, grants: 3 })
    for (const mapping of held) mapping.release(0)
    expect(slots()).toEqual({ foreign: 0, grants: 0 })
  })

  test('S72 S73 a ROM in guest memory is one locked mapping of 1 MiB, in which every page is found', () => {
    const { guest, foreign } = setUp()
    const block = new ResidentBlock({ backing: foreign, firstPage: 0x80000, length: 0x40000 })
    expect(block.loadUint32(0x80003, 0, true)).toBe(0x80003)
    expect(block.loadUint32(0x8003f, 0, true)).toBe(0x8003f)
    expect(guest.log).toEqual(['map 524288+256 write'])
    expect(foreign.statistics.locks).toBe(1)
    const windowPage = block.lock(0x80003, 0x100, 1, 0)
    expect(block.pageOf(windowPage)).toBe(0x80003)
    block.unlock(windowPage, 0x100)
    block.close()
    expect(foreign.statistics.locks).toBe(0)
  })

  test('a hole is reported with its frame', () => {
    const { guest, space } = setUp()
    guest.missing.add(0x40012)
    expect(caught(() => space.loadUint8(0x40012, 0))).toMatchObject({
      code: 'ERR_XMC_PAGES_MISSING',
      page: 0x40012,
    })
    expect(space.loadUint32(0x40013, 0)).toBe(0x40013)
  })
})
