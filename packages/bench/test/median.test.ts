import { describe, expect, it } from 'vitest'
import { median, quantile } from '../src/median.ts'

describe('median', () => {
  it('is the one in the middle, whatever the order', () => {
    expect(median([3, 1, 2])).toBe(2)
    expect(median([10, 9, 100, 1, 2])).toBe(9)
  })

  it('is the lower one of two in the middle', () => {
    expect(median([4, 1, 3, 2])).toBe(2)
  })

  it('takes other quantiles, too', () => {
    expect(quantile([5, 4, 3, 2, 1], 0.25)).toBe(2)
    expect(quantile([5, 4, 3, 2, 1], 1)).toBe(5)
  })

  it('refuses nothing', () => {
    expect(() => median([])).toThrow(RangeError)
  })
})
