import { describe, expect, it } from 'vitest'
import { parsePart } from '../src/dom0/part.ts'

describe('parsePart', () => {
  it('takes everything unless a part is named', () => {
    const { names, part } = parsePart(['smoke', 'growth'])
    expect(names).toEqual(['smoke', 'growth'])
    expect(part.of([1, 2, 3])).toEqual([1, 2, 3])
  })

  it('shares a list out without a rest', () => {
    const [first, second] = ['--part=1/2', '--part=2/2'].map((given) => parsePart([given]).part)
    expect(first?.of([1, 2, 3, 4, 5])).toEqual([1, 3, 5])
    expect(second?.of([1, 2, 3, 4, 5])).toEqual([2, 4])
    expect(parsePart(['--part=2/2', 'smoke']).names).toEqual(['smoke'])
  })
})
