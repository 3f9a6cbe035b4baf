import { XEN_GRANT_ADDRESS_OFFSET } from '@xmc/interface'
import { describe, expect, test } from 'vitest'
import {
  AddressSpace,
  AliasRegion,
  ContainerRegion,
  MmioRegion,
  PlainMemory,
  RamRegion,
  RomRegion,
  XenMemory,
} from '../src/index.ts'
import { caught } from './doubles/caught.ts'
import { PagedMemory } from './doubles/paged-memory.ts'
import { RegisterBank } from './doubles/register-bank.ts'

/** RAM of four pages at 0x10000 whose first page in the backing is 0x40; a device behind it; a ROM at 0. */
function setUp() {
  const memory = new PagedMemory()
  const device = new RegisterBank(0x100)
  const root = new ContainerRegion({ name: 'root' })
  const ram = new RamRegion({ name: 'ram', size: 0x4000n, backing: memory, firstPage: 0x40 })
  root.add(ram, 0x10000n)
  root.add(new MmioRegion({ name: 'regs', size: 0x100n, device }), 0x14000n)
  root.add(new RomRegion({ name: 'rom', contents: Uint8Array.of(1, 2, 3, 4), size: 0x1000n }), 0n)
  const space = new AddressSpace({ root, name: 'cpu' })
  return { memory, device, root, ram, space }
}

describe('loads and stores', () => {
  test('of every size and byte order, by page and by address', () => {
    const { space } = setUp()
    space.storeUint8(0x10, 0, 0x11)
    space.storeUint16(0x10, 2, 0x2233)
    space.storeUint32(0x10, 4, 0x44556677)
    space.storeBigUint64(0x10, 8, 0x8899aabbccddeeffn)
    expect(space.loadUint8At(0x10000n)).toBe(0x11)
    expect(space.loadUint16At(0x10002n)).toBe(0x2233)
    expect(space.loadUint16At(0x10002n, false)).toBe(0x3322)
    expect(space.loadUint32At(0x10004n)).toBe(0x44556677)
    expect(space.loadUint32At(0x10004n, false)).toBe(0x77665544)
    expect(space.loadBigUint64At(0x10008n)).toBe(0x8899aabbccddeeffn)
    expect(space.loadBigUint64At(0x10008n, false)).toBe(0xffeeddccbbaa9988n)
    space.storeUint8At(0x10100n, 0x11)
    space.storeUint16At(0x10102n, 0x2233, false)
    space.storeUint32At(0x10104n, 0x44556677, false)
    space.storeBigUint64At(0x10108n, 0x8899aabbccddeeffn, false)
    expect(space.loadUint8(0x10, 0x100)).toBe(0x11)
    expect(space.loadUint16(0x10, 0x102)).toBe(0x3322)
    expect(space.loadUint32(0x10, 0x104)).toBe(0x77665544)
    expect(space.loadBigUint64(0x10, 0x108)).toBe(0xffeeddccbbaa9988n)
  })

  test('go to the page of the backing, in one call', () => {
    const { memory, space } = setUp()
    space.loadUint32(0x11, 8)
    space.loadUint32(0x12, 8)
    space.storeUint16(0x13, 4094, 1)
    expect(memory.log).toEqual(['load 0x41:0x8 4', 'load 0x42:0x8 4', 'store 0x43:0xffe 2'])
  })

  test('that cross pages of one region are one call too', () => {
    const { memory, space } = setUp()
    space.storeUint32(0x10, 4094, 0x11223344)
    expect(space.loadUint32(0x10, 4094)).toBe(0x11223344)
    expect(memory.log).toEqual(['store 0x40:0xffe 4', 'load 0x40:0xffe 4'])
  })

  test('that cross into another region are made of parts', () => {
    const { memory, device, space } = setUp()
    space.storeUint32(0x13, 4094, 0x11223344)
    expect(space.loadUint32(0x13, 4094)).toBe(0x11223344)
    expect([...memory.page(0x43).subarray(4094)]).toEqual([0x44, 0x33])
    expect(device.log).toEqual(['write 0x0 2 0x1122', 'read 0x0 2'])
    space.storeBigUint64(0x13, 4092, 0x1122334455667788n, false)
    expect(space.loadBigUint64(0x13, 4092, false)).toBe(0x1122334455667788n)
  })

  test('reach memory that does not lie at a page, exactly', () => {
    const { memory, root, ram, space } = setUp()
    root.add(new AliasRegion({ name: 'odd', size: 0x1800n, target: ram, offset: 0xff0n }), 0x20004n)
    space.storeUint32At(0x20004n + 0x1008n, 0x11223344)
    expect(memory.log).toEqual(['store 0x41:0xff8 4'])
    expect(space.loadUint32At(0x10000n + 0xff0n + 0x1008n)).toBe(0x11223344)
    space.loadUint8(0x20, 0x4)
    space.loadUint8(0x20, 0x14)
    expect(memory.log.slice(-2)).toEqual(['load 0x40:0xff0 1', 'load 0x41:0x0 1'])
    space.map(0x20, 0x4, 0x20, true).release(0)
    expect(memory.log.slice(-2)).toEqual(['lock 0x40:0xff0 32 write dma', 'unlock 0x40:0xff0'])
  })
})

describe('read and write', () => {
  test('of one region are one call, of several one for each', () => {
    const { memory, device, space } = setUp()
    const source = Uint8Array.from({ length: 0x2010 }, (_, i) => i & 0xff)
    space.writeAt(0x11ff0n, source.subarray(0, 0x2000))
    expect(memory.log.splice(0)).toEqual(['write 0x41:0xff0 8192'])
    space.writeAt(
      0x13ff0n,
      Uint8Array.from({ length: 0x14 }, (_, i) => i),
    )
    expect(memory.log.splice(0)).toEqual(['write 0x43:0xff0 16'])
    expect(device.log).toEqual(['write 0x0 4 0x13121110'])
    const target = new Uint8Array(0x14)
    space.readAt(0x13ff0n, target)
    expect([...target]).toEqual(Array.from({ length: 0x14 }, (_, i) => i))
  })

  test('of no bytes do nothing, wherever', () => {
    const { memory, space } = setUp()
    space.readAt(0x99999000n, new Uint8Array(0))
    expect(memory.log).toEqual([])
  })
})

describe('faults', () => {
  test('nothing is there: the address, and what was tried', () => {
    const { space } = setUp()
    expect(caught(() => space.loadUint32(0x50, 8))).toMatchObject({
      code: 'ERR_XMC_UNASSIGNED',
      address: 0x50008n,
      length: 4,
      access: 'read',
      message: 'cpu: no region at 0x50008 for a read of 4 bytes: see mtree() for what is where',
    })
    expect(caught(() => space.storeUint8At(0x5000n, 1))).toMatchObject({
      address: 0x5000n,
      access: 'write',
    })
  })

  test('a run that ends in nothing: the first address without a region, and what came before is done', () => {
    const { device, space } = setUp()
    expect(caught(() => space.writeAt(0x140fcn, Uint8Array.of(1, 2, 3, 4, 5, 6)))).toMatchObject({
      code: 'ERR_XMC_UNASSIGNED',
      address: 0x14100n,
      length: 2,
    })
    expect(device.log).toEqual(['write 0xfc 4 0x4030201'])
    expect(caught(() => space.loadUint32(0x14, 0xfe))).toMatchObject({ address: 0x14100n })
  })

  test('over the end of 2^64 nothing is there either', () => {
    const root = new RamRegion({
      name: 'all',
      size: 2n ** 64n,
      backing: new PagedMemory(),
    })
    const space = new AddressSpace({ root })
    expect(caught(() => space.loadUint32(2 ** 52 - 1, 4094))).toMatchObject({
      code: 'ERR_XMC_UNASSIGNED',
      address: 2n ** 64n,
      length: 2,
    })
  })

  test('a ROM is read directly; a write changes nothing and is reported', () => {
    const { space } = setUp()
    expect(space.loadUint32(0, 0)).toBe(0x04030201)
    expect(space.loadUint32(0, 0xff0)).toBe(0)
    for (const write of [
      () => space.storeUint32(0, 0, 0),
      () => space.storeBigUint64(0, 0, 0n),
      () => space.write(0, 0, new Uint8Array(4)),
    ]) {
      expect(caught(write)).toMatchObject({
        code: 'ERR_XMC_READ_ONLY_REGION',
        region: 'rom',
        address: 0n,
      })
    }
    expect(space.loadUint32(0, 0)).toBe(0x04030201)
  })

  test('RAM behind a read-only alias is a ROM there', () => {
    const { memory, root, ram, space } = setUp()
    root.add(
      new AliasRegion({ name: 'shadow', size: 0x1000n, target: ram, readOnly: true }),
      0xf0000n,
    )
    space.storeUint8(0x10, 0, 7)
    expect(space.loadUint8(0xf0, 0)).toBe(7)
    expect(caught(() => space.storeUint8(0xf0, 0, 8))).toMatchObject({
      code: 'ERR_XMC_READ_ONLY_REGION',
    })
    expect(memory.page(0x40)[0]).toBe(7)
  })

  test("memory that is missing is the backing's error", () => {
    const { memory, space } = setUp()
    memory.missing.add(0x41)
    expect(caught(() => space.loadUint8(0x11, 0))).toMatchObject({
      code: 'ERR_XMC_PAGES_MISSING',
      page: 0x41,
    })
    expect(space.loadUint8(0x12, 0)).toBe(0)
  })

  test.each([
    [-1, 0],
    [0.5, 0],
    [2 ** 52, 0],
    [Number.NaN, 0],
    [0x50, 4096],
    [0x50, -1],
  ])('page %d, offset %d is no address', (page, offset) => {
    const { space } = setUp()
    for (const access of [
      () => space.loadUint32(page, offset),
      () => space.storeBigUint64(page, offset, 0n),
      () => space.read(page, offset, new Uint8Array(1)),
    ]) {
      expect(caught(access)).toMatchObject({ code: 'ERR_XMC_ARGUMENT' })
    }
  })
})

/** RAM at 1 GiB, and grants. */
function machine(allowGrantAccess?: boolean) {
  const grants = new PagedMemory('grants')
  const xen = new XenMemory({
    memory: new PagedMemory('foreign'),
    banks: [{ name: 'xen.ram.lo', address: 0x40000000n, size: 0x1000000n }],
    grants,
    allowGrantAccess,
  })
  const root = new ContainerRegion({ name: 'system' })
  xen.addTo(root)
  return { grants, space: new AddressSpace({ root }) }
}

describe('S53 plain access to a grant address', () => {
  const address = XEN_GRANT_ADDRESS_OFFSET + 0x7000n

  test('S53 works through the backing, which copies', () => {
    const { grants, space } = machine()
    space.storeUint32At(address, 0x11223344)
    space.writeAt(address + 4n, Uint8Array.of(5, 6, 7, 8))
    const target = new Uint8Array(8)
    space.readAt(address, target)
    expect([...target]).toEqual([0x44, 0x33, 0x22, 0x11, 5, 6, 7, 8])
    expect(space.loadBigUint64At(address)).toBe(0x0807060511223344n)
    expect(grants.log).toEqual([
      'store 0x7:0x0 4',
      'write 0x7:0x4 4',
      'read 0x7:0x0 8',
      'load 0x7:0x0 8',
    ])
  })

  test('S53 fails where it is not allowed: that access only, and nothing reaches the backing', () => {
    const { grants, space } = machine(false)
    const target = new Uint8Array(4)
    const accesses: [() => unknown, 'read' | 'write'][] = [
      [() => space.readAt(address, target), 'read'],
      [() => space.writeAt(address, target), 'write'],
      [() => space.loadUint8At(address), 'read'],
      [() => space.loadUint16At(address), 'read'],
      [() => space.loadUint32At(address), 'read'],
      [() => space.loadBigUint64At(address), 'read'],
      [() => space.storeUint8At(address, 1), 'write'],
      [() => space.storeUint16At(address, 1), 'write'],
      [() => space.storeUint32At(address, 1), 'write'],
      [() => space.storeBigUint64At(address, 1n), 'write'],
    ]
    for (const [action, access] of accesses) {
      expect(caught(action)).toMatchObject({
        code: 'ERR_XMC_MAP_ONLY',
        region: 'xen.grants',
        address,
        access,
      })
    }
    expect(grants.log).toEqual([])
    space.mapAt(address, 100, false).release(0)
    expect(grants.log).toEqual(['lock 0x7:0x0 100 read dma', 'unlock 0x7:0x0'])
    space.storeUint8At(0x40000000n, 1)
    expect(space.loadUint8At(0x40000000n)).toBe(1)
  })
})

describe('addWriteListener', () => {
  test('is told of every store and write to memory, and of no read and no register', () => {
    const { ram, space } = setUp()
    const written: string[] = []
    const stop = space.addWriteListener((region, page, offset, length) => {
      expect(region).toBe(ram)
      written.push(`0x${page.toString(16)}:${offset} ${length}`)
    })
    space.storeUint8(0x10, 1, 0)
    space.storeUint16(0x10, 2, 0)
    space.storeUint32(0x10, 4, 0)
    space.storeBigUint64(0x10, 8, 0n)
    space.write(0x10, 4000, new Uint8Array(200))
    space.loadUint32(0x10, 0)
    space.storeUint32(0x14, 0, 0)
    stop()
    space.storeUint8(0x10, 0, 0)
    expect(written).toEqual(['0x10:1 1', '0x10:2 2', '0x10:4 4', '0x10:8 8', '0x10:4000 200'])
  })
})

test('a device may change the map while it is accessed: what follows goes to what is there then', () => {
  const root = new ContainerRegion({ name: 'root' })
  const backing = new PlainMemory({ pageCount: 1 })
  const ram = new RamRegion({ name: 'ram', size: 0x1000n, backing, enabled: false })
  const device = {
    read: () => 0,
    write: () => {
      ram.enabled = true
    },
  }
  root.add(new MmioRegion({ name: 'switch', size: 4n, device }), 0n)
  root.add(ram, 4n)
  const space = new AddressSpace({ root })
  space.write(0, 0, Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8))
  expect(backing.loadUint32(0, 0)).toBe(0x08070605)
  expect(space.loadUint8(0, 4)).toBe(5)
})
