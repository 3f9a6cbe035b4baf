import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { propertyRuns } from '../../../vitest.properties.ts'
import {
  grantAddress,
  grantReference,
  splitGrantAddress,
  XEN_GRANT_ADDRESS_OFFSET,
} from '../src/index.ts'

const refused = expect.objectContaining({ code: 'ERR_XMC_ARGUMENT' })

describe('grantAddress', () => {
  test('is bit 63, the reference from bit 12 on, the offset', () => {
    expect(XEN_GRANT_ADDRESS_OFFSET).toBe(0x8000_0000_0000_0000n)
    expect(grantAddress(grantReference(0x49))).toBe(0x8000_0000_0004_9000n)
    expect(grantAddress(grantReference(7), 0x123)).toBe(0x8000_0000_0000_7123n)
    expect(grantAddress(grantReference(0xffff_ffff), 4095)).toBe(0x8000_0fff_ffff_ffffn)
  })

  test.each([-1, 4096, 1.5])('refuses offset %d', (offset) => {
    expect(() => grantAddress(grantReference(7), offset)).toThrow(refused)
  })
})

describe('splitGrantAddress', () => {
  test('S47 0x8000000000007123 is byte 0x123 of reference 7', () => {
    expect(splitGrantAddress(0x8000_0000_0000_7123n)).toEqual({ reference: 7, offset: 0x123 })
  })

  test.each([0n, 0x7123n, 0x7fff_ffff_ffff_ffffn, -1n])(
    'refuses %s: bit 63 is not set',
    (value) => {
      expect(() => splitGrantAddress(value)).toThrow(refused)
    },
  )

  test.each([0x8000_1000_0000_0000n, 0xffff_ffff_ffff_ffffn, 0x1_8000_0000_0000_0000n])(
    'refuses %s rather than cut its reference to 32 bits',
    (value) => {
      expect(() => splitGrantAddress(value)).toThrow(refused)
    },
  )

  test('is the inverse of grantAddress', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 2 ** 32 - 1 }),
        fc.integer({ min: 0, max: 4095 }),
        (reference, offset) => {
          expect(splitGrantAddress(grantAddress(grantReference(reference), offset))).toEqual({
            reference,
            offset,
          })
        },
      ),
      propertyRuns(100),
    )
  })
})
