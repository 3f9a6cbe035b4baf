import { describe, expect, test } from 'vitest'
import { joinAddress, splitAddress } from '../src/index.ts'

describe('splitAddress', () => {
  test('is exact up to the last byte of 64 bits', () => {
    expect(splitAddress(0n)).toEqual({ page: 0, offset: 0 })
    expect(splitAddress(0x8000_0000_0000_7123n)).toEqual({ page: 2 ** 51 + 7, offset: 0x123 })
    expect(splitAddress(2n ** 64n - 1n)).toEqual({ page: 2 ** 52 - 1, offset: 4095 })
  })

  test.each([-1n, 2n ** 64n])('refuses %d', (address) => {
    expect(() => splitAddress(address)).toThrow(
      expect.objectContaining({ code: 'ERR_XMC_ARGUMENT', received: address }),
    )
  })
})

describe('joinAddress', () => {
  test('is the inverse', () => {
    expect(joinAddress(2 ** 51 + 7, 0x123)).toBe(0x8000_0000_0000_7123n)
    expect(joinAddress(2 ** 52 - 1, 4095)).toBe(2n ** 64n - 1n)
  })

  test.each([
    [2 ** 52, 0],
    [-1, 0],
    [0.5, 0],
    [0, 4096],
    [0, -1],
    [0, 1.5],
  ])('refuses page %d, offset %d', (page, offset) => {
    expect(() => joinAddress(page, offset)).toThrow(
      expect.objectContaining({ code: 'ERR_XMC_ARGUMENT' }),
    )
  })
})
