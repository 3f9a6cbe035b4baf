import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { propertyRuns } from '../../../vitest.properties.ts'
import { addressOfFrame, guestAddress, guestFrame, splitGuestAddress } from '../src/index.ts'

const refused = expect.objectContaining({ code: 'ERR_XMC_ARGUMENT' })

describe('guestAddress', () => {
  test('takes every 64-bit address and no other', () => {
    expect(guestAddress(0n)).toBe(0n)
    expect(guestAddress(2n ** 64n - 1n)).toBe(0xffff_ffff_ffff_ffffn)
    expect(() => guestAddress(-1n)).toThrow(refused)
    expect(() => guestAddress(2n ** 64n)).toThrow(refused)
  })
})

describe('splitGuestAddress', () => {
  test('S13 frame and offset of 0x700FFF80', () => {
    expect(splitGuestAddress(guestAddress(0x700f_ff80n))).toEqual({ frame: 0x700ff, offset: 0xf80 })
  })

  test('is exact at the top of the address space', () => {
    expect(splitGuestAddress(guestAddress(0xffff_ffff_ffff_ffffn))).toEqual({
      frame: 2 ** 52 - 1,
      offset: 4095,
    })
  })

  test('is the inverse of addressOfFrame', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 2 ** 52 - 1 }),
        fc.integer({ min: 0, max: 4095 }),
        (frame, offset) => {
          const address = addressOfFrame(guestFrame(frame), offset)
          expect(splitGuestAddress(address)).toEqual({ frame, offset })
        },
      ),
      propertyRuns(100),
    )
  })
})

describe('addressOfFrame', () => {
  test('is frame times 4096 plus offset', () => {
    expect(addressOfFrame(guestFrame(0x40000))).toBe(0x4000_0000n)
    expect(addressOfFrame(guestFrame(2 ** 51), 1)).toBe(0x8000_0000_0000_0001n)
  })

  test.each([-1, 4096, 0.5])('refuses offset %d', (offset) => {
    expect(() => addressOfFrame(guestFrame(1), offset)).toThrow(refused)
  })
})
