import { describe, expect, test } from 'vitest'
import { AliasRegion } from '../src/index.ts'
import { caught } from './doubles/caught.ts'
import { grantPage, machine } from './doubles/machine.ts'

// A split ring of 64 entries in one page: 16 bytes a descriptor, 6 + 2 a slot, 6 + 8 a slot.
const DESCRIPTORS = { offset: 0, length: 1024 }
const AVAILABLE = { offset: 1024, length: 134 }
const USED = { offset: 1216, length: 518 }

describe('openRing', () => {
  test('S75 the parts of a split ring are three locks of one page: two for reading, one for writing', () => {
    const { grants, xen, space } = machine()
    const page = grantPage(7)
    const descriptors = space.openRing(page, DESCRIPTORS.offset, DESCRIPTORS.length, false)
    const used = space.openRing(page, USED.offset, USED.length, true)
    const available = space.openRing(page, AVAILABLE.offset, AVAILABLE.length, false)
    expect(grants.log).toEqual([
      'lock 0x7:0x0 1024 read dma',
      'lock 0x7:0x4c0 518 write dma',
      'lock 0x7:0x400 134 read dma',
    ])
    expect(grants.locks).toBe(3)
    expect(xen.grants?.references).toBe(3)
    expect(space.mappings).toBe(3)
    for (const ring of [descriptors, used, available]) ring.close()
    expect(grants.locks).toBe(0)
    expect(xen.grants?.references).toBe(0)
    expect(space.mappings).toBe(0)
  })

  test('S76 a packed ring is one lock for writing, which is for reading too', () => {
    const { grants, space } = machine()
    grants.page(7)[3] = 5
    const ring = space.openRingAt(0x8000_0000_0000_7000n, 1024, true)
    expect(grants.log).toEqual(['lock 0x7:0x0 1024 write dma'])
    expect(ring.loadUint8(3)).toBe(5)
    ring.storeUint8(3, 6)
    expect(grants.page(7)[3]).toBe(6)
    ring.close()
  })

  test('S75 a structure that is not contiguous is refused, with nothing mapped', async () => {
    const { grants, memory, root, xen, space } = machine({ grantFrames: 1 })
    const expected = {
      code: 'ERR_XMC_SHORT_MAPPING',
      address: 0x8000_0000_001f_f000n,
      requested: 4097,
      available: 4096,
    }
    expect(caught(() => space.openRing(grantPage(511), 0, 4097, true))).toMatchObject(expected)
    await expect(space.openRingAsync(grantPage(511), 0, 4097, true)).rejects.toMatchObject(expected)
    const options = { target: xen.memory, offset: 0x40000000n }
    root.add(new AliasRegion({ name: 'over', size: 0x1000n, ...options }), 0x40003000n, {
      priority: 1,
    })
    expect(caught(() => space.openRing(0x40002, 0, 4097, true))).toMatchObject({ available: 4096 })
    expect([...grants.log, ...memory.log]).toEqual([])
    expect(space.mappings).toBe(0)
  })

  test('over contiguous pages it is one lock', () => {
    const { memory, space } = machine()
    const ring = space.openRing(0x40001, 0xf00, 0x3000, true)
    expect(memory.log).toEqual(['lock 0x40001:0xf00 12288 write dma'])
    ring.close()
  })

  test('is of RAM only', () => {
    const { space } = machine()
    expect(caught(() => space.openRing(0x2000, 0, 16, true))).toMatchObject({
      code: 'ERR_XMC_NOT_RAM',
      region: 'virtio-mmio',
      address: 0x2000000n,
    })
    expect(caught(() => space.openRing(0, 0, 16, true))).toMatchObject({
      code: 'ERR_XMC_READ_ONLY_REGION',
    })
    expect(caught(() => space.openRing(0x99999, 0, 16, true))).toMatchObject({
      code: 'ERR_XMC_UNASSIGNED',
    })
    expect(caught(() => space.openRing(0x40000, 0, 0, true))).toMatchObject({ field: 'length' })
  })

  test('passes on why the backing refuses, and leaves nothing', async () => {
    const { grants, xen, space } = machine()
    grants.missing.add(9)
    const expected = { code: 'ERR_XMC_PAGES_MISSING', page: 9 }
    expect(caught(() => space.openRing(grantPage(9), 0, 16, true))).toMatchObject(expected)
    await expect(space.openRingAsync(grantPage(9), 0, 16, true)).rejects.toMatchObject(expected)
    expect(space.mappings).toBe(0)
    expect(xen.grants?.references).toBe(0)
  })
})

describe('Ring', () => {
  test('loads and stores in both byte orders, and its bytes are the memory', async () => {
    const { grants, space } = machine()
    const ring = await space.openRingAsync(grantPage(7), 16, 64, true)
    ring.storeUint8(0, 0x11)
    ring.storeUint16(2, 0x2233)
    ring.storeUint32(4, 0x44556677, false)
    ring.storeBigUint64(8, 0x8899aabbccddeeffn)
    expect(ring.loadUint8(0)).toBe(0x11)
    expect(ring.loadUint16(2, false)).toBe(0x3322)
    expect(ring.loadUint32(4)).toBe(0x77665544)
    expect(ring.loadBigUint64(8, false)).toBe(0xffeeddccbbaa9988n)
    expect([...ring.bytes.subarray(0, 8)]).toEqual([0x11, 0, 0x33, 0x22, 0x44, 0x55, 0x66, 0x77])
    expect(grants.page(7)[16]).toBe(0x11)
    expect({ address: ring.address, length: ring.length, write: ring.write }).toEqual({
      address: 0x8000_0000_0000_7010n,
      length: 64,
      write: true,
    })
  })

  test.each([-1, 61, 1.5, Number.NaN])('4 bytes at %d of 64 are refused', (offset) => {
    const ring = machine().space.openRing(grantPage(7), 0, 64, true)
    expect(caught(() => ring.loadUint32(offset))).toMatchObject({ code: 'ERR_XMC_ARGUMENT' })
    expect(caught(() => ring.storeUint32(offset, 0))).toMatchObject({ field: 'offset' })
  })

  test('for reading it takes no store', () => {
    const { grants, space } = machine()
    const ring = space.openRing(grantPage(7), 0, 64, false)
    expect(caught(() => ring.storeUint16(0, 1))).toMatchObject({ code: 'ERR_XMC_READ_ONLY' })
    expect(caught(() => ring.markWritten(0, 1))).toMatchObject({ code: 'ERR_XMC_READ_ONLY' })
    expect(grants.page(7)[0]).toBe(0)
  })

  test('closed, it is no more, and closes once', () => {
    const { space } = machine()
    const ring = space.openRing(grantPage(7), 0, 64, true)
    ring.close()
    expect(ring.closed).toBe(true)
    for (const use of [() => ring.loadUint8(0), () => ring.bytes, () => ring.close()]) {
      expect(caught(use)).toMatchObject({ code: 'ERR_XMC_RELEASED' })
    }
    ring[Symbol.dispose]()
    const other = space.openRing(grantPage(7), 0, 64, true)
    other[Symbol.dispose]()
    expect(space.mappings).toBe(0)
  })

  test('reports its stores, and those through its bytes that it is told of', () => {
    const { space } = machine()
    const written: [number, number, number][] = []
    space.addWriteListener((_region, page, offset, length) => written.push([page, offset, length]))
    const ring = space.openRing(0x40001, 0xff0, 64, true)
    ring.storeUint16(4, 1)
    ring.storeBigUint64(16, 1n)
    ring.bytes.fill(1)
    ring.markWritten(8, 40)
    ring.close()
    expect(written).toEqual([
      [0x40001, 0xff4, 2],
      [0x40002, 0, 8],
      [0x40001, 0xff8, 40],
    ])
  })
})
