import { describe, expect, it } from 'vitest'
import {
  countPages,
  InvalidArgumentError,
  isPageList,
  PAGE_SHIFT,
  PAGE_SIZE,
  windowPage,
} from '../src/index.ts'

describe('PAGE_SIZE', () => {
  it('is 4 KiB', () => {
    expect(PAGE_SIZE).toBe(4096)
  })
})

describe('PAGE_SHIFT', () => {
  it('is the logarithm of the page size', () => {
    expect(2 ** PAGE_SHIFT).toBe(4096)
  })
})

describe('countPages', () => {
  it('counts a run', () => {
    expect(countPages({ first: 7, count: 3 })).toBe(3)
  })

  it('counts a list', () => {
    expect(countPages([9, 1, 9, 4])).toBe(4)
    expect(countPages([])).toBe(0)
  })
})

describe('isPageList', () => {
  it('tells lists from runs', () => {
    expect(isPageList([1])).toBe(true)
    expect(isPageList({ first: 1, count: 1 })).toBe(false)
  })
})

describe('windowPage', () => {
  it.each([0, 1, 2 ** 20, 2 ** 31 - 1])('accepts %d', (value) => {
    expect(windowPage(value)).toBe(value)
  })

  it.each([-1, 2 ** 31, 0.5, Number.NaN, Number.POSITIVE_INFINITY])('refuses %d', (value) => {
    expect(() => windowPage(value)).toThrow(InvalidArgumentError)
    expect(() => windowPage(value)).toThrow(
      `windowPage: expected an integer from 0 to 2147483647, got ${value}`,
    )
  })
})
