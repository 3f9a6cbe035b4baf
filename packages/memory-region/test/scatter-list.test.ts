import { describe, expect, test } from 'vitest'
import type { DmaRange } from '../src/index.ts'
import { caught } from './doubles/caught.ts'
import { grantPage, machine } from './doubles/machine.ts'

/** Three buffers: in a grant, in RAM, and over the end of the grants into nothing if `bad`. */
function ranges(bad = false): DmaRange[] {
  return [
    { page: grantPage(7), offset: 0xff0, length: 32 },
    { page: 0x40001, offset: 0, length: 100 },
    { page: grantPage(511), offset: 0, length: bad ? 4097 : 4096 },
  ]
}

describe('mapList', () => {
  test('maps all ranges in order, and releases them together', () => {
    const { grants, memory, space } = machine({ grantFrames: 1 })
    const list = space.mapList(ranges(), true)
    expect(list.length).toBe(4228)
    expect(list.mappings.map(({ address, length }) => [address, length])).toEqual([
      [0x8000_0000_0000_7ff0n, 32],
      [0x4000_1000n, 100],
      [0x8000_0000_001f_f000n, 4096],
    ])
    expect(grants.locks + memory.locks).toBe(3)
    list.release(4228)
    expect(list.released).toBe(true)
    expect(grants.locks + memory.locks).toBe(0)
    expect(space.mappings).toBe(0)
  })

  test('the bytes accessed are counted through from the first range', () => {
    const { space } = machine()
    const written: number[] = []
    space.addWriteListener((_region, _page, _offset, length) => written.push(length))
    space.mapList(ranges(), true).release(40)
    expect(written).toEqual([32, 8])
  })

  test('a range that is not contiguous is several mappings', () => {
    const { registers, root, space } = machine({ grantFrames: 1 })
    root.move(registers, 0x41000000n)
    const list = space.mapList([{ page: 0x40fff, offset: 0xffe, length: 6 }], true)
    expect(list.mappings.map(({ address, length, bounced }) => [address, length, bounced])).toEqual(
      [
        [0x40ff_fffen, 2, false],
        [0x4100_0000n, 4, true],
      ],
    )
    list.mappings[1]?.bytes.set([1, 2, 3, 4])
    list.release(6)
    expect(space.loadUint32(0x41000, 0)).toBe(0x04030201)
  })

  test('maps all or nothing', async () => {
    const { grants, memory, xen, space } = machine({ grantFrames: 1 })
    const expected = { code: 'ERR_XMC_UNASSIGNED', address: 0x8000_0000_0020_0000n }
    expect(caught(() => space.mapList(ranges(true), true))).toMatchObject(expected)
    await expect(space.mapListAsync(ranges(true), true)).rejects.toMatchObject(expected)
    memory.missing.add(0x40001)
    const missing = { code: 'ERR_XMC_PAGES_MISSING' }
    expect(caught(() => space.mapList(ranges(), true))).toMatchObject(missing)
    await expect(space.mapListAsync(ranges(), true)).rejects.toMatchObject(missing)
    expect(grants.locks + memory.locks).toBe(0)
    expect(xen.memory.references).toBe(0)
    expect(xen.grants?.references).toBe(0)
    expect(space.mappings).toBe(0)
  })

  test('a range without bytes is refused', () => {
    const { space } = machine()
    const list = [...ranges(), { page: 0x40000, offset: 0, length: 0 }]
    expect(caught(() => space.mapList(list, true))).toMatchObject({ code: 'ERR_XMC_ARGUMENT' })
    expect(space.mappings).toBe(0)
  })

  test('no ranges are a list of no bytes', async () => {
    const { space } = machine()
    expect(space.mapList([], true).length).toBe(0)
    expect((await space.mapListAsync([], true)).mappings).toEqual([])
  })

  test('asynchronously it is the same', async () => {
    const { grants, memory, space } = machine({ grantFrames: 1 })
    const list = await space.mapListAsync(ranges(), false)
    expect(list.length).toBe(4228)
    list.release(0)
    expect(grants.locks + memory.locks).toBe(0)
  })
})

describe('ScatterList', () => {
  test('is released once', () => {
    const { space } = machine()
    const list = space.mapList(ranges(), true)
    list.release(0)
    expect(caught(() => list.release(0))).toMatchObject({ code: 'ERR_XMC_RELEASED' })
  })

  test('refuses more bytes than it has, and stays', () => {
    const { space } = machine()
    const list = space.mapList(ranges(), true)
    expect(caught(() => list.release(4229))).toMatchObject({ field: 'accessed' })
    expect(list.released).toBe(false)
    list.release(4228)
  })

  test('that fails to write something back releases the rest', () => {
    const { device, memory, space } = machine()
    const list = space.mapList(
      [
        { page: 0x2000, offset: 0, length: 4 },
        { page: 0x40001, offset: 0, length: 16 },
        { page: 0x2000, offset: 8, length: 4 },
      ],
      true,
    )
    device.write = () => {
      throw new Error('the device is broken')
    }
    expect(caught(() => list.release(24))).toMatchObject({
      errors: [new Error('the device is broken'), new Error('the device is broken')],
    })
    expect(space.mappings).toBe(0)
    expect(space.bounceBytes).toBe(0)
    expect(memory.locks).toBe(0)
  })
})
