import { describe, expect, test } from 'vitest'
import {
  type AccessRules,
  AddressSpace,
  ContainerRegion,
  MmioRegion,
  type MmioRegionOptions,
} from '../src/index.ts'
import { caught } from './doubles/caught.ts'
import { RegisterBank } from './doubles/register-bank.ts'

function setUp(options: Partial<MmioRegionOptions> = {}) {
  const device = new RegisterBank(0x100, options.byteOrder !== 'big')
  const region = new MmioRegion({ name: 'regs', size: 0x100n, device, ...options })
  const root = new ContainerRegion({ name: 'root' })
  root.add(region, 0x1000n)
  const space = new AddressSpace({ root })
  device.bytes.set(Uint8Array.from({ length: 0x100 }, (_, i) => i))
  return { device, space }
}

const any: AccessRules = { minimum: 1, maximum: 8, unaligned: true }

describe('valid accesses', () => {
  test('by default 1, 2 and 4 bytes, aligned, reach the device as they are', () => {
    const { device, space } = setUp()
    expect(space.loadUint8(1, 3)).toBe(3)
    expect(space.loadUint16(1, 2)).toBe(0x0302)
    expect(space.loadUint32(1, 4)).toBe(0x07060504)
    space.storeUint32(1, 8, -1)
    space.storeUint16(1, 12, 0x12345)
    space.storeUint8(1, 14, 0x1ff)
    expect(device.log).toEqual([
      'read 0x3 1',
      'read 0x2 2',
      'read 0x4 4',
      'write 0x8 4 0xffffffff',
      'write 0xc 2 0x2345',
      'write 0xe 1 0xff',
    ])
  })

  test.each([
    ['8 bytes', 8, 8, 'size'],
    ['unaligned 4 bytes', 4, 2, 'alignment'],
    ['unaligned 2 bytes', 2, 1, 'alignment'],
  ])('%s are a fault with place and reason', (_, size, offset, reason) => {
    const { device, space } = setUp()
    const read = caught(() =>
      size === 8
        ? space.loadBigUint64(1, offset)
        : size === 4
          ? space.loadUint32(1, offset)
          : space.loadUint16(1, offset),
    )
    expect(read).toMatchObject({
      code: 'ERR_XMC_INVALID_ACCESS',
      region: 'regs',
      offset,
      size,
      access: 'read',
      reason,
    })
    expect(device.log).toEqual([])
  })

  test('a minimum refuses smaller ones', () => {
    const { device, space } = setUp({ valid: { minimum: 4 } })
    expect(caught(() => space.storeUint8(1, 0, 1))).toMatchObject({
      code: 'ERR_XMC_INVALID_ACCESS',
      reason: 'size',
      message:
        'regs: a write of 1 bytes at offset 0x0 is not valid (size): the device takes 4 to 4 bytes, aligned',
    })
    expect(device.log).toEqual([])
  })

  test('a rule of the device refuses what it likes', () => {
    const { space } = setUp({ valid: { accepts: (offset, _size, write) => !write || offset < 16 } })
    space.storeUint32(1, 12, 1)
    expect(space.loadUint32(1, 16)).toBe(0x13121110)
    expect(caught(() => space.storeUint32(1, 16, 1))).toMatchObject({ reason: 'refused' })
  })
})

describe('implemented accesses', () => {
  test('too wide an access is split, lowest address first', () => {
    const { device, space } = setUp({ implemented: { maximum: 1 } })
    expect(space.loadUint32(1, 4)).toBe(0x07060504)
    space.storeUint16(1, 0, 0xabcd)
    expect(device.log).toEqual([
      'read 0x4 1',
      'read 0x5 1',
      'read 0x6 1',
      'read 0x7 1',
      'write 0x0 1 0xcd',
      'write 0x1 1 0xab',
    ])
  })

  test('8 bytes become two accesses of 4, or one of 8 where there are such', () => {
    const four = setUp({ valid: any })
    expect(four.space.loadBigUint64(1, 8)).toBe(0x0f0e0d0c0b0a0908n)
    four.space.storeBigUint64(1, 0, 0x1122334455667788n)
    expect(four.device.log).toEqual([
      'read 0x8 4',
      'read 0xc 4',
      'write 0x0 4 0x55667788',
      'write 0x4 4 0x11223344',
    ])
    const eight = setUp({ valid: any, implemented: { maximum: 8 } })
    eight.space.storeBigUint64(1, 0, 0x1122334455667788n)
    expect(eight.space.loadBigUint64(1, 0, false)).toBe(0x8877665544332211n)
    expect(eight.device.log).toEqual(['write 0x0 8 0x1122334455667788', 'read 0x0 8'])
  })

  test('too narrow a read takes the unit around it', () => {
    const { device, space } = setUp({ implemented: { minimum: 4 } })
    expect(space.loadUint8(1, 6)).toBe(6)
    expect(space.loadUint16(1, 10)).toBe(0x0b0a)
    expect(device.log).toEqual(['read 0x4 4', 'read 0x8 4'])
  })

  test('too narrow a write changes the unit around it', () => {
    const { device, space } = setUp({ implemented: { minimum: 4 } })
    space.storeUint8(1, 6, 0xaa)
    expect(device.log).toEqual(['read 0x4 4', 'write 0x4 4 0x7aa0504'])
  })

  test('an unaligned access is made of aligned ones, unless the device takes it', () => {
    const aligned = setUp({ valid: any })
    expect(aligned.space.loadUint32(1, 6)).toBe(0x09080706)
    expect(aligned.device.log).toEqual(['read 0x6 2', 'read 0x8 2'])
    const wide = setUp({ valid: any, implemented: { minimum: 4 } })
    expect(wide.space.loadUint32(1, 6)).toBe(0x09080706)
    expect(wide.device.log).toEqual(['read 0x4 4', 'read 0x8 4'])
    const unaligned = setUp({ valid: any, implemented: { unaligned: true } })
    expect(unaligned.space.loadUint32(1, 6)).toBe(0x09080706)
    expect(unaligned.device.log).toEqual(['read 0x6 4'])
  })
})

describe('byte order', () => {
  test('a load in the other order than the device is swapped', () => {
    const { space } = setUp()
    expect(space.loadUint32(1, 4, false)).toBe(0x04050607)
    expect(space.loadUint16(1, 4, false)).toBe(0x0405)
    space.storeUint32(1, 0, 0x80112233, false)
    expect(space.loadUint32(1, 0)).toBe(0x33221180)
  })

  test('a device with the high byte first, and its parts', () => {
    const { device, space } = setUp({ byteOrder: 'big', implemented: { maximum: 2 } })
    expect(space.loadUint32(1, 4, false)).toBe(0x04050607)
    expect(space.loadUint32(1, 4)).toBe(0x07060504)
    space.storeUint32(1, 0, 0x11223344, false)
    expect(device.log.slice(4)).toEqual(['write 0x0 2 0x1122', 'write 0x2 2 0x3344'])
  })
})

describe('runs of bytes', () => {
  test('are read and written by the largest valid accesses', () => {
    const { device, space } = setUp()
    const target = new Uint8Array(11)
    space.read(1, 1, target)
    expect([...target]).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11])
    expect(device.log.splice(0)).toEqual(['read 0x1 1', 'read 0x2 2', 'read 0x4 4', 'read 0x8 4'])
    space.write(1, 0xf9, Uint8Array.of(1, 2, 3, 4, 5, 6, 7))
    expect(device.log).toEqual(['write 0xf9 1 0x1', 'write 0xfa 2 0x302', 'write 0xfc 4 0x7060504'])
  })

  test('use 8 bytes where these are valid', () => {
    const { device, space } = setUp({ valid: any, implemented: { maximum: 8 } })
    const target = new Uint8Array(12)
    space.read(1, 8, target)
    expect(target[11]).toBe(19)
    space.write(1, 0, Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8))
    expect(device.log).toEqual(['read 0x8 8', 'read 0x10 4', 'write 0x0 8 0x807060504030201'])
  })

  test('are a fault when a part is no valid access; what came before is done', () => {
    const { device, space } = setUp({ valid: { minimum: 4 } })
    expect(caught(() => space.write(1, 0, new Uint8Array(6)))).toMatchObject({
      code: 'ERR_XMC_INVALID_ACCESS',
      offset: 4,
      size: 2,
    })
    expect(device.log).toEqual(['write 0x0 4 0x0'])
  })
})

describe('MmioRegion', () => {
  test.each<[string, Partial<MmioRegionOptions>]>([
    ['valid', { valid: { minimum: 4, maximum: 2 } }],
    ['size', { size: 0xfen, implemented: { minimum: 4 } }],
    ['size', { size: 2n ** 53n + 8n }],
    ['device', { implemented: { maximum: 8 }, device: { read: () => 0, write: () => {} } }],
  ])('refuses a bad %s', (field, options) => {
    expect(() => setUp(options)).toThrow(
      expect.objectContaining({ code: 'ERR_XMC_ARGUMENT', field: `regs: ${field}` }),
    )
  })
})
