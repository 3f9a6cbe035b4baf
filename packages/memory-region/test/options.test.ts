import { describe, expect, it } from 'vitest'
import {
  AddressSpace,
  AliasRegion,
  ContainerRegion,
  MmioRegion,
  PlainMemory,
  RamRegion,
  ResidentBlock,
  RomRegion,
  XenMemory,
} from '../src/index.ts'

// Programs in plain JavaScript have no compiler that finds these.

const backing = new PlainMemory({ pageCount: 1 })
const region = { name: 'region', size: 4096n }
const target = new RamRegion({ ...region, backing })
const device = { read: () => 0, write: () => {} }

describe('options', () => {
  it.each<[string, string, new (options: never) => object, object]>([
    ['RAM', 'readonly', RamRegion, { ...region, backing, readonly: true }],
    ['ROM', 'content', RomRegion, { name: 'rom', contents: new Uint8Array(1), content: 1 }],
    ['an alias', 'ofset', AliasRegion, { ...region, target, ofset: 1n }],
    ['registers', 'byteorder', MmioRegion, { ...region, device, byteorder: 'big' }],
    ['a container', 'sise', ContainerRegion, { name: 'container', sise: 4096n }],
    ['a space', 'bouncebudget', AddressSpace, { root: target, bouncebudget: 0 }],
    ['plain memory', 'pages', PlainMemory, { pages: 1 }],
    ['a block', 'writable', ResidentBlock, { backing, firstPage: 0, length: 1, writable: true }],
    ['memory of Xen', 'grantframes', XenMemory, { memory: backing, banks: [], grantframes: 1 }],
  ])('of %s that are misspelt are refused: %s', (_, field, kind, options) => {
    expect(() => Reflect.construct(kind, [options])).toThrow(
      expect.objectContaining({ code: 'ERR_XMC_ARGUMENT', field }),
    )
  })

  it('of a place in a container that are misspelt are refused, and nothing is placed', () => {
    const container = new ContainerRegion({ name: 'container' })
    const member = new RamRegion({ ...region, backing })
    // @ts-expect-error there is no such option
    expect(() => container.add(member, 0n, { prioritty: 1 })).toThrow(/^prioritty: /)
    expect(container.subregions).toEqual([])
    container.add(member, 0n)
    // @ts-expect-error there is no such option
    expect(() => container.move(member, 0n, { prioritty: 1 })).toThrow(/^prioritty: /)
  })
})

describe('what a region stands on', () => {
  it.each<[string, new (options: never) => object, object]>([
    ['backing', RamRegion, region],
    ['backing', RamRegion, { ...region, backing: new Uint8Array(4096) }],
    ['device', MmioRegion, region],
    ['device', MmioRegion, { ...region, device: { read: () => 0 } }],
  ])('has to fit: %s', (field, kind, options) => {
    expect(() => Reflect.construct(kind, [options])).toThrow(
      expect.objectContaining({ code: 'ERR_XMC_ARGUMENT', field }),
    )
  })
})
