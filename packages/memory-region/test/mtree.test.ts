import { describe, expect, test } from 'vitest'
import {
  AddressSpace,
  AliasRegion,
  ContainerRegion,
  MmioRegion,
  mtree,
  PlainMemory,
  RamRegion,
  RomRegion,
} from '../src/index.ts'
import { machine } from './doubles/machine.ts'
import { RegisterBank } from './doubles/register-bank.ts'

describe('mtree', () => {
  test('shows containers, aliases with their targets, kinds, priorities, and what is disabled', () => {
    const { root, rom, space } = machine()
    const low = new ContainerRegion({ name: 'low', size: 0x10000n, enabled: false })
    root.add(low, 0x3000000n, { priority: -1 })
    low.add(
      new MmioRegion({ name: 'uart', size: 0x1000n, device: new RegisterBank(0x1000) }),
      0x9000n,
    )
    root.add(new AliasRegion({ name: 'rom.high', size: 0x1000n, target: rom }), 2n ** 64n - 0x1000n)
    expect(mtree(space)).toBe(`address-space: memory
  0000000000000000-ffffffffffffffff (prio 0, i/o): system
    0000000000000000-0000000000000fff (prio 0, rom): rom
    0000000002000000-00000000020000ff (prio 0, i/o): virtio-mmio
    0000000003000000-000000000300ffff (prio -1, i/o): low [disabled]
      0000000003009000-0000000003009fff (prio 0, i/o): uart
    0000000040000000-0000000040ffffff (prio 0, ram): alias xen.ram.lo @xen.ram 0000000040000000-0000000040ffffff
    8000000000000000-8000000007ffffff (prio 0, ram): xen.grants
    fffffffffffff000-ffffffffffffffff (prio 0, rom): alias rom.high @rom 0000000000000000-0000000000000fff

memory-region: xen.ram
  0000000000000000-0000000040ffffff (prio 0, ram): xen.ram
`)
  })

  test('flat, it shows the ranges that are seen, with the offset in the region', () => {
    const { space } = machine()
    expect(mtree(space, { flat: true })).toBe(`flat view: memory, root system
  0000000000000000-0000000000000fff (prio 0, rom): rom
  0000000002000000-00000000020000ff (prio 0, i/o): virtio-mmio
  0000000040000000-0000000040ffffff (prio 0, ram): xen.ram @0000000040000000
  8000000000000000-8000000007ffffff (prio 0, ram): xen.grants
`)
  })

  test('of two at one address the one that is seen comes first, and a read-only alias is a ROM', () => {
    const backing = new PlainMemory({ pageCount: 1 })
    const ram = new RamRegion({ name: 'ram', size: 0x1000n, backing })
    const root = new ContainerRegion({ name: 'root', size: 0x2000n })
    const shadow = { name: 'shadow', size: 0x1000n, target: ram, readOnly: true }
    root.add(new RomRegion({ name: 'rom', contents: new Uint8Array(16) }), 0n)
    root.add(new AliasRegion(shadow), 0n, { priority: 1 })
    const space = new AddressSpace({ root, name: 'bus' })
    expect(mtree(space)).toBe(`address-space: bus
  0000000000000000-0000000000001fff (prio 0, i/o): root
    0000000000000000-0000000000000fff (prio 1, rom): alias shadow @ram 0000000000000000-0000000000000fff
    0000000000000000-000000000000000f (prio 0, rom): rom

memory-region: ram
  0000000000000000-0000000000000fff (prio 0, ram): ram
`)
    expect(mtree(space, { flat: true })).toBe(`flat view: bus, root root
  0000000000000000-0000000000000fff (prio 0, rom): ram
`)
  })

  test('an alias of a container shows it below, and what that shows', () => {
    const backing = new PlainMemory({ pageCount: 1 })
    const ram = new RamRegion({ name: 'ram', size: 0x1000n, backing })
    const pci = new ContainerRegion({ name: 'pci', size: 0x10000n })
    pci.add(new AliasRegion({ name: 'bar', size: 0x1000n, target: ram }), 0x4000n)
    const root = new AliasRegion({ name: 'window', size: 0x8000n, target: pci })
    expect(mtree(new AddressSpace({ root }))).toBe(`address-space: memory
  0000000000000000-0000000000007fff (prio 0, i/o): alias window @pci 0000000000000000-0000000000007fff

memory-region: pci
  0000000000000000-000000000000ffff (prio 0, i/o): pci
    0000000000004000-0000000000004fff (prio 0, ram): alias bar @ram 0000000000000000-0000000000000fff

memory-region: ram
  0000000000000000-0000000000000fff (prio 0, ram): ram
`)
  })

  test('says so when nothing is seen', () => {
    const space = new AddressSpace({ root: new ContainerRegion({ name: 'empty' }) })
    expect(mtree(space, { flat: true })).toBe('flat view: memory, root empty\n  nothing is seen\n')
  })
})
