import { describe, expect, test } from 'vitest'
import {
  AliasRegion,
  ContainerRegion,
  type MemoryRegion,
  PlainMemory,
  RamRegion,
} from '../src/index.ts'

function ram(name: string, size = 0x1000n): RamRegion {
  return new RamRegion({ name, size, backing: new PlainMemory({ pageCount: 1 }) })
}

function names(container: ContainerRegion): string[] {
  return container.subregions.map((region: MemoryRegion) => region.name)
}

describe('ContainerRegion', () => {
  test('is a whole address space unless a size is given', () => {
    expect(new ContainerRegion({ name: 'system' }).size).toBe(2n ** 64n)
    expect(new ContainerRegion({ name: 'pci', size: 16n }).size).toBe(16n)
  })

  test('keeps what hides others first: priority, then who came last', () => {
    const container = new ContainerRegion({ name: 'system' })
    container.add(ram('a'), 0n)
    container.add(ram('b'), 0n, { priority: 1 })
    container.add(ram('c'), 0n)
    container.add(ram('d'), 0n, { priority: -1 })
    expect(names(container)).toEqual(['b', 'c', 'a', 'd'])
  })

  test('moves a region in one step, with its priority or a new one', () => {
    const container = new ContainerRegion({ name: 'system' })
    const region = ram('a')
    container.add(region, 0n, { priority: 2 })
    container.add(ram('b'), 0n, { priority: 1 })
    container.move(region, 0x2000n)
    expect(region.placement).toEqual({ container, address: 0x2000n, priority: 2 })
    container.move(region, 0n, { priority: 0 })
    expect(names(container)).toEqual(['b', 'a'])
  })

  test('a region stands in one container; removed, it may stand in another', () => {
    const one = new ContainerRegion({ name: 'one' })
    const other = new ContainerRegion({ name: 'other' })
    const region = ram('a')
    one.add(region, 0n)
    expect(() => other.add(region, 0n)).toThrow(
      expect.objectContaining({
        code: 'ERR_XMC_REGION',
        message: 'a: stands in one already: remove it, or add an alias',
      }),
    )
    one.remove(region)
    expect(region.placement).toBeUndefined()
    other.add(region, 0n)
    expect(names(other)).toEqual(['a'])
    expect(() => one.remove(region)).toThrow(expect.objectContaining({ code: 'ERR_XMC_REGION' }))
    expect(() => one.move(region, 0n)).toThrow(expect.objectContaining({ code: 'ERR_XMC_REGION' }))
  })

  test('no region contains itself, through an alias neither', () => {
    const outer = new ContainerRegion({ name: 'outer' })
    const inner = new ContainerRegion({ name: 'inner', size: 0x10000n })
    outer.add(inner, 0n)
    const alias = new AliasRegion({ name: 'window', size: 0x1000n, target: outer })
    for (const region of [outer, alias]) {
      expect(() => inner.add(region, 0n)).toThrow(
        expect.objectContaining({ code: 'ERR_XMC_REGION', region: region.name }),
      )
    }
  })

  test.each([
    [0x10000n, 0],
    [-1n, 0],
    [0n, 0.5],
    [0n, 2 ** 31],
  ])('refuses address %d with priority %d, and places nothing', (address, priority) => {
    const container = new ContainerRegion({ name: 'small', size: 0x10000n })
    const region = ram('a')
    expect(() => container.add(region, address, { priority })).toThrow(
      expect.objectContaining({ code: 'ERR_XMC_ARGUMENT' }),
    )
    expect(names(container)).toEqual([])
    expect(region.placement).toBeUndefined()
  })
})

describe('MemoryRegion', () => {
  test.each([0n, -1n, 2n ** 64n + 1n])('refuses size %d', (size) => {
    expect(() => ram('a', size)).toThrow(
      expect.objectContaining({ code: 'ERR_XMC_ARGUMENT', field: 'a: size' }),
    )
  })

  test('refuses an empty name', () => {
    expect(() => ram('')).toThrow(expect.objectContaining({ field: 'name' }))
  })

  test('an alias starts inside its target', () => {
    const target = ram('a')
    const make = (offset: bigint) => () => new AliasRegion({ name: 'b', size: 1n, target, offset })
    expect(make(0xfffn)().offset).toBe(0xfffn)
    expect(make(0x1000n)).toThrow(expect.objectContaining({ field: 'b: offset' }))
  })

  test('the pages of RAM stay below 2^52', () => {
    const backing = new PlainMemory({ pageCount: 1 })
    const make = (firstPage: number) => () =>
      new RamRegion({ name: 'a', size: 0x2000n, backing, firstPage })
    expect(make(2 ** 52 - 2)().firstPage).toBe(2 ** 52 - 2)
    for (const firstPage of [2 ** 52 - 1, -1, 0.5]) {
      expect(make(firstPage)).toThrow(expect.objectContaining({ field: 'a: firstPage' }))
    }
  })
})
