import { describe, expect, test } from 'vitest'
import {
  AddressSpace,
  AliasRegion,
  ContainerRegion,
  type MemorySection,
  MmioRegion,
  PlainMemory,
  RamRegion,
  RomRegion,
} from '../src/index.ts'
import { RegisterBank } from './doubles/register-bank.ts'

function ram(name: string, size: bigint): RamRegion {
  return new RamRegion({ name, size, backing: new PlainMemory({ pageCount: 16, name }) })
}

function mmio(name: string, size: bigint): MmioRegion {
  return new MmioRegion({ name, size, device: new RegisterBank(Number(size)) })
}

function text({ region, address, size, offset, readOnly }: MemorySection): string {
  const range = `${address.toString(16)}+${size.toString(16)}`
  return `${range} ${region.name}@${offset.toString(16)}${readOnly ? ' ro' : ''}`
}

function shown(space: AddressSpace): string[] {
  return space.sections.map((section) => text(section))
}

describe('the flattened view', () => {
  test('a greater priority hides a lesser one, within one container only', () => {
    const root = new ContainerRegion({ name: 'root', size: 0x8000n })
    const space = new AddressSpace({ root })
    const b = new ContainerRegion({ name: 'b', size: 0x4000n })
    const c = ram('c', 0x6000n)
    root.add(b, 0x2000n, { priority: 2 })
    root.add(c, 0n, { priority: 1 })
    b.add(ram('d', 0x1000n), 0n, { priority: -7 })
    b.add(ram('e', 0x1000n), 0x2000n)
    expect(shown(space)).toEqual([
      '0+2000 c@0',
      '2000+1000 d@0',
      '3000+1000 c@3000',
      '4000+1000 e@0',
      '5000+1000 c@5000',
    ])
  })

  test('what reaches over the end of its container is cut off', () => {
    const root = new ContainerRegion({ name: 'root', size: 0x3000n })
    root.add(ram('a', 0x4000n), 0x2800n)
    expect(shown(new AddressSpace({ root }))).toEqual(['2800+800 a@0'])
  })

  test('an alias shows a part of its target, wherever that stands, and is read-only if it says so', () => {
    const root = new ContainerRegion({ name: 'root' })
    const target = ram('target', 0x4000n)
    root.add(target, 0x10000n)
    const options = { target, offset: 0x1000n }
    root.add(new AliasRegion({ name: 'part', size: 0x1000n, ...options }), 0n)
    root.add(new AliasRegion({ name: 'rest', size: 0x8000n, ...options, readOnly: true }), 0x20000n)
    expect(shown(new AddressSpace({ root }))).toEqual([
      '0+1000 target@1000',
      '10000+4000 target@0',
      '20000+3000 target@1000 ro',
    ])
  })

  test('S66 neighbouring aliases of one region that continue each other are one range', () => {
    const root = new ContainerRegion({ name: 'root' })
    const target = ram('ram', 0x8000n)
    for (let i = 0n; i < 4n; i++) {
      const offset = i * 0x1000n
      root.add(new AliasRegion({ name: `part ${i}`, size: 0x1000n, target, offset }), offset)
    }
    expect(shown(new AddressSpace({ root }))).toEqual(['0+4000 ram@0'])
  })

  test('a disabled region is transparent until it is enabled', () => {
    const root = new ContainerRegion({ name: 'root' })
    const space = new AddressSpace({ root })
    root.add(ram('low', 0x2000n), 0n)
    const over = new RamRegion({
      name: 'over',
      size: 0x1000n,
      backing: new PlainMemory({ pageCount: 1 }),
      enabled: false,
    })
    root.add(over, 0n, { priority: 1 })
    expect(shown(space)).toEqual(['0+2000 low@0'])
    over.enabled = true
    expect(shown(space)).toEqual(['0+1000 over@0', '1000+1000 low@1000'])
    root.enabled = false
    expect(shown(space)).toEqual([])
  })

  test('the last byte of 2^64 is reached, and a region of 2^64 bytes', () => {
    const root = new ContainerRegion({ name: 'root' })
    const space = new AddressSpace({ root })
    root.add(ram('top', 0x1000n), 2n ** 64n - 0x1000n)
    space.storeUint8At(2n ** 64n - 1n, 0x5a)
    expect(space.loadUint8(2 ** 52 - 1, 4095)).toBe(0x5a)
    const all = new AddressSpace({ root: ram('all', 2n ** 64n) })
    all.storeUint8(15, 4095, 0x5a)
    expect(all.loadUint8At(0xffffn)).toBe(0x5a)
    expect(shown(all)).toEqual(['0+10000000000000000 all@0'])
  })

  test('regions of less than a page stand beside each other', () => {
    const root = new ContainerRegion({ name: 'root' })
    for (let i = 0n; i < 3n; i++)
      root.add(mmio(`virtio-mmio ${i}`, 0x200n), 0x2000000n + i * 0x200n)
    expect(shown(new AddressSpace({ root }))).toEqual([
      '2000000+200 virtio-mmio 0@0',
      '2000200+200 virtio-mmio 1@0',
      '2000400+200 virtio-mmio 2@0',
    ])
  })

  test('two spaces see one region, each from its viewpoint', () => {
    const shared = ram('shared', 0x1000n)
    const cpu = new ContainerRegion({ name: 'cpu' })
    cpu.add(shared, 0x4000n)
    const device = new ContainerRegion({ name: 'device' })
    device.add(new AliasRegion({ name: 'window', size: 0x1000n, target: shared }), 0n)
    const spaces = [new AddressSpace({ root: cpu }), new AddressSpace({ root: device })]
    spaces[0]?.storeUint8(4, 0, 9)
    expect(spaces[1]?.loadUint8(0, 0)).toBe(9)
    shared.enabled = false
    expect(spaces.map((space) => shown(space))).toEqual([[], []])
  })
})

describe('transaction', () => {
  test('builds the view once, at the end of the outermost', () => {
    const root = new ContainerRegion({ name: 'root' })
    const space = new AddressSpace({ root })
    const before = space.rebuilds
    const result = space.transaction(() => {
      root.add(ram('a', 0x1000n), 0n)
      space.transaction(() => root.add(ram('b', 0x1000n), 0x1000n))
      expect(shown(space)).toEqual([])
      return 'done'
    })
    expect(result).toBe('done')
    expect(space.rebuilds - before).toBe(1)
    expect(shown(space)).toEqual(['0+1000 a@0', '1000+1000 b@0'])
  })

  test('builds nothing when nothing changed', () => {
    const space = new AddressSpace({ root: new ContainerRegion({ name: 'root' }) })
    const before = space.rebuilds
    space.transaction(() => {})
    expect(space.rebuilds).toBe(before)
  })

  test('that throws shows what it had altered', () => {
    const root = new ContainerRegion({ name: 'root' })
    const space = new AddressSpace({ root })
    expect(() =>
      space.transaction(() => {
        root.add(ram('a', 0x1000n), 0n)
        throw new Error('half way')
      }),
    ).toThrow('half way')
    expect(shown(space)).toEqual(['0+1000 a@0'])
    root.add(ram('b', 0x1000n), 0x1000n)
    expect(shown(space)).toHaveLength(2)
  })
})

/** Adds a listener that writes down what it is told. */
function recorder(space: AddressSpace): { events: string[]; stop: () => void } {
  const events: string[] = []
  const stop = space.addListener({
    added: (section) => events.push(`+ ${text(section)}`),
    removed: (section) => events.push(`- ${text(section)}`),
  })
  return { events, stop }
}

describe('addListener', () => {
  test('tells what is there, then what goes before what comes, and nothing of what stays', () => {
    const root = new ContainerRegion({ name: 'root' })
    const space = new AddressSpace({ root })
    const low = ram('low', 0x2000n)
    root.add(low, 0n)
    root.add(ram('far', 0x1000n), 0x8000n)
    const { events, stop } = recorder(space)
    expect(events.splice(0)).toEqual(['+ 0+2000 low@0', '+ 8000+1000 far@0'])
    root.add(new RomRegion({ name: 'rom', contents: new Uint8Array(4096) }), 0n, { priority: 1 })
    expect(events.splice(0)).toEqual([
      '- 0+2000 low@0',
      '+ 0+1000 rom@0 ro',
      '+ 1000+1000 low@1000',
    ])
    stop()
    root.remove(low)
    expect(events).toEqual([])
  })

  test('one that throws makes the change throw; all are called, and the map is changed', () => {
    const root = new ContainerRegion({ name: 'root' })
    const space = new AddressSpace({ root })
    space.addListener({
      added: () => {
        throw new Error('listener')
      },
      removed: () => {},
    })
    const { events } = recorder(space)
    expect(() => root.add(ram('a', 0x1000n), 0n)).toThrow('listener')
    expect(events).toEqual(['+ 0+1000 a@0'])
    expect(shown(space)).toEqual(['0+1000 a@0'])
  })

  test('one may change the map: that is reported after the change it was told of', () => {
    const root = new ContainerRegion({ name: 'root' })
    const space = new AddressSpace({ root })
    const second = ram('second', 0x1000n)
    space.addListener({
      added: ({ region }) => {
        if (region.name === 'first') root.add(second, 0x1000n)
      },
      removed: () => {},
    })
    const { events } = recorder(space)
    root.add(ram('first', 0x1000n), 0n)
    expect(events).toEqual(['+ 0+1000 first@0', '+ 1000+1000 second@0'])
  })
})

describe('close', () => {
  test('reports everything as removed, and changes are nothing to the space any more', () => {
    const root = new ContainerRegion({ name: 'root' })
    const space = new AddressSpace({ root })
    root.add(ram('a', 0x1000n), 0n)
    const removed: string[] = []
    space.addListener({ added: () => {}, removed: ({ region }) => removed.push(region.name) })
    space.close()
    expect(removed).toEqual(['a'])
    expect(() => space.loadUint8(0, 0)).toThrow(
      expect.objectContaining({ code: 'ERR_XMC_UNASSIGNED' }),
    )
    const { rebuilds } = space
    root.add(ram('b', 0x1000n), 0x1000n)
    expect(space.rebuilds).toBe(rebuilds)
  })

  test('is refused while something is mapped', () => {
    const space = new AddressSpace({ root: ram('a', 0x1000n) })
    const mapping = space.map(0, 0, 16, true)
    expect(() => space.close()).toThrow(expect.objectContaining({ code: 'ERR_XMC_BUSY', locks: 1 }))
    mapping.release(0)
    space.close()
    expect(space.sections).toEqual([])
  })
})
