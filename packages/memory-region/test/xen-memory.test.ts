import { XEN_GRANT_ADDRESS_OFFSET } from '@xmc/interface'
import { describe, expect, test } from 'vitest'
import {
  AddressSpace,
  AliasRegion,
  ContainerRegion,
  DEFAULT_GRANT_FRAMES,
  MAX_GRANT_FRAMES,
  REFERENCES_PER_FRAME,
  XenMemory,
  type XenMemoryOptions,
} from '../src/index.ts'
import { caught } from './doubles/caught.ts'
import { grantPage, machine } from './doubles/machine.ts'
import { PagedMemory } from './doubles/paged-memory.ts'

/** 64 MiB of RAM: fewer pages than a grant table of default size has references. */
function small(options: Partial<XenMemoryOptions> = {}): XenMemory {
  return new XenMemory({
    memory: new PagedMemory('foreign'),
    banks: [{ name: 'xen.ram.lo', address: 0n, size: 0x400_0000n }],
    grants: new PagedMemory('grants'),
    ...options,
  })
}

describe('XenMemory', () => {
  test('the numbers of the interface', () => {
    expect(XEN_GRANT_ADDRESS_OFFSET).toBe(0x8000_0000_0000_0000n)
    expect(DEFAULT_GRANT_FRAMES * REFERENCES_PER_FRAME).toBe(32768)
    expect(MAX_GRANT_FRAMES * REFERENCES_PER_FRAME).toBe(2 ** 32)
  })

  test('S67 the grants region has a page for each reference, however small RAM is', () => {
    const grants = new PagedMemory('grants')
    const xen = small({ grants })
    const root = new ContainerRegion({ name: 'system' })
    xen.addTo(root)
    const space = new AddressSpace({ root })
    expect(xen.grants?.size).toBe(32768n * 4096n)
    space.map(grantPage(16384), 0, 16, false).release(0)
    space.map(grantPage(32767), 0, 16, false).release(0)
    expect(grants.log.filter((line) => line.startsWith('lock'))).toEqual([
      'lock 0x4000:0x0 16 read dma',
      'lock 0x7fff:0x0 16 read dma',
    ])
    expect(caught(() => space.map(grantPage(32768), 0, 16, false))).toMatchObject({
      code: 'ERR_XMC_UNASSIGNED',
    })
  })

  test('S67 the table may be of any size, all 2^32 references included', () => {
    expect(small({ grantFrames: 1 }).grants?.size).toBe(512n * 4096n)
    expect(small({ grantFrames: MAX_GRANT_FRAMES }).grants?.size).toBe(2n ** 44n)
    for (const grantFrames of [0, 1.5, -1, MAX_GRANT_FRAMES + 1]) {
      expect(caught(() => small({ grantFrames }))).toMatchObject({ field: 'grantFrames' })
    }
  })

  test('the last reference of 2^32 reaches the backing as it is', () => {
    const grants = new PagedMemory('grants')
    const xen = small({ grants, grantFrames: MAX_GRANT_FRAMES })
    const root = new ContainerRegion({ name: 'system' })
    xen.addTo(root)
    new AddressSpace({ root }).map(grantPage(2 ** 32 - 1), 0, 8192, false).release(0)
    expect(grants.log[0]).toBe('lock 0xffffffff:0x0 4096 read dma')
  })

  test('RAM has the frames of the guest, in every bank', () => {
    const memory = new PagedMemory('foreign')
    const xen = small({
      memory,
      banks: [
        { name: 'xen.ram.lo', address: 0x40000000n, size: 0xc0000000n },
        { name: 'xen.ram.hi', address: 0x200000000n, size: 0x40000000n },
      ],
    })
    const root = new ContainerRegion({ name: 'system' })
    xen.addTo(root)
    const space = new AddressSpace({ root })
    space.map(0x40000, 0, 16, true).release(0)
    space.map(0x200000, 0, 16, true).release(0)
    expect(memory.log.filter((line) => line.startsWith('lock'))).toEqual([
      'lock 0x40000:0x0 16 write dma',
      'lock 0x200000:0x0 16 write dma',
    ])
    expect(xen.memory.size).toBe(0x240000000n)
    expect(caught(() => space.map(0x3ffff, 0, 16, true))).toMatchObject({
      code: 'ERR_XMC_UNASSIGNED',
    })
  })

  test('S74 without grants there is no grants region', () => {
    const xen = small({ grants: undefined })
    const root = new ContainerRegion({ name: 'system' })
    xen.addTo(root)
    const space = new AddressSpace({ root })
    expect(xen.grants).toBeUndefined()
    expect(space.sections.map(({ region }) => region.name)).toEqual(['xen.ram'])
    expect(caught(() => space.map(grantPage(7), 0, 16, false))).toMatchObject({
      code: 'ERR_XMC_UNASSIGNED',
      address: 0x8000_0000_0000_7000n,
    })
  })

  test('S74 RAM is mapped over any number of pages at once, as far as it goes', () => {
    const memory = new PagedMemory('foreign')
    const xen = small({ memory, grants: undefined })
    const root = new ContainerRegion({ name: 'system' })
    xen.addTo(root)
    const mapping = new AddressSpace({ root }).map(0, 0, 0x800000, true)
    expect(mapping.length).toBe(0x800000)
    expect(memory.log).toEqual(['lock 0x0:0x0 8388608 write dma'])
  })

  test.each<[string, XenMemoryOptions['banks']]>([
    ['no bank', []],
    ['a bank over bit 63', [{ name: 'a', address: 1n << 63n, size: 4096n }]],
    ['a bank between pages', [{ name: 'a', address: 1n, size: 4096n }]],
  ])('refuses %s', (_, banks) => {
    expect(caught(() => small({ banks }))).toMatchObject({ code: 'ERR_XMC_ARGUMENT' })
  })
})

describe('what a region is', () => {
  test('grants are Xen memory, but not RAM of the guest', () => {
    const { xen, registers, rom } = machine()
    const { grants } = xen
    if (grants === undefined) throw new Error('the machine has grants')
    const is = [xen.memory, grants, registers, rom].map((region) => [
      xen.isXenMemory(region),
      xen.isXenGrants(region),
      xen.isGuestRam(region),
    ])
    expect(is).toEqual([
      [true, false, true],
      [true, true, false],
      [false, false, false],
      [false, false, false],
    ])
  })

  test('an alias is what it shows', () => {
    const { xen } = machine()
    const [bank] = xen.banks
    if (bank === undefined) throw new Error('the machine has RAM')
    const alias = new AliasRegion({ name: 'alias of an alias', size: 0x1000n, target: bank })
    expect([xen.isXenMemory(alias), xen.isXenGrants(alias), xen.isGuestRam(alias)]).toEqual([
      true,
      false,
      true,
    ])
  })

  test('the regions of another machine are none of its own', () => {
    const one = machine().xen
    const other = machine().xen
    expect(one.isXenMemory(other.memory)).toBe(false)
    expect(other.grants === undefined || one.isXenGrants(other.grants)).toBe(false)
    expect(small({ grants: undefined }).isXenGrants(one.memory)).toBe(false)
  })
})
