import fc from 'fast-check'
import { expect, test } from 'vitest'
import { propertyRuns } from '../../../vitest.properties.ts'
import { type AccessRules, AddressSpace, MmioRegion } from '../src/index.ts'
import { RegisterBank } from './doubles/register-bank.ts'

const sizes = fc.constantFrom(1, 2, 4, 8)

const rules: fc.Arbitrary<AccessRules> = fc
  .record({
    minimum: fc.constantFrom<1 | 2 | 4 | 8>(1, 2, 4, 8),
    maximum: fc.constantFrom<1 | 2 | 4 | 8>(1, 2, 4, 8),
    unaligned: fc.boolean(),
  })
  .filter(({ minimum, maximum }) => minimum <= maximum)

test('whatever is implemented, a device looks like its bytes, and gets accesses it takes', () => {
  fc.assert(
    fc.property(
      rules,
      fc.boolean(),
      fc.array(
        fc.record({
          size: sizes,
          offset: fc.nat(56),
          value: fc.bigInt(0n, 2n ** 64n - 1n),
          write: fc.boolean(),
          littleEndian: fc.boolean(),
        }),
        { maxLength: 20 },
      ),
      (implemented, deviceIsLittle, accesses) => {
        const device = new RegisterBank(64, deviceIsLittle)
        const byteOrder = deviceIsLittle ? 'little' : 'big'
        const valid = { minimum: 1, maximum: 8, unaligned: true } as const
        const options = { name: 'regs', size: 64n, device, valid, implemented, byteOrder } as const
        const space = new AddressSpace({ root: new MmioRegion(options) })
        const model = new DataView(new ArrayBuffer(64))
        for (const { size, offset, value, write, littleEndian } of accesses) {
          const low = BigInt.asUintN(size * 8, value)
          if (write && size === 8) {
            space.storeBigUint64(0, offset, low, littleEndian)
            model.setBigUint64(offset, low, littleEndian)
          } else if (write) {
            if (size === 4) space.storeUint32(0, offset, Number(low), littleEndian)
            else if (size === 2) space.storeUint16(0, offset, Number(low), littleEndian)
            else space.storeUint8(0, offset, Number(low))
            if (size === 4) model.setUint32(offset, Number(low), littleEndian)
            else if (size === 2) model.setUint16(offset, Number(low), littleEndian)
            else model.setUint8(offset, Number(low))
          } else if (size === 8) {
            const got = space.loadBigUint64(0, offset, littleEndian)
            expect(got).toBe(model.getBigUint64(offset, littleEndian))
          } else if (size === 4) {
            const got = space.loadUint32(0, offset, littleEndian)
            expect(got).toBe(model.getUint32(offset, littleEndian))
          } else if (size === 2) {
            const got = space.loadUint16(0, offset, littleEndian)
            expect(got).toBe(model.getUint16(offset, littleEndian))
          } else {
            expect(space.loadUint8(0, offset)).toBe(model.getUint8(offset))
          }
        }
        expect([...device.bytes]).toEqual([...new Uint8Array(model.buffer)])
        for (const line of device.log) {
          const [, offset, size] = line.split(' ')
          expect(Number(size)).toBeGreaterThanOrEqual(implemented.minimum ?? 1)
          expect(Number(size)).toBeLessThanOrEqual(implemented.maximum ?? 4)
          if (implemented.unaligned !== true) expect(Number(offset) % Number(size)).toBe(0)
        }
      },
    ),
    propertyRuns(100, 500),
  )
})
