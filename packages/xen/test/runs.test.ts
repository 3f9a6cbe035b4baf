import { describe, expect, it } from 'vitest'
import { goodRuns } from '../src/internal/runs.ts'

describe('goodRuns', () => {
  it.each([
    [[0, 0, 0], [{ start: 0, count: 3 }]],
    [[-22, -22], []],
    [
      [-22, 0, 0, -22, 0],
      [
        { start: 1, count: 2 },
        { start: 4, count: 1 },
      ],
    ],
    [
      [0, -2, 0],
      [
        { start: 0, count: 1 },
        { start: 2, count: 1 },
      ],
    ],
  ])('of %j are %j', (statuses, runs) => {
    const all = { start: 0, count: statuses.length }
    expect(goodRuns(Int32Array.from(statuses), all)).toEqual(runs)
  })

  it('looks at its part of the request alone', () => {
    const statuses = Int32Array.of(0, 0, -22, 0, 0)
    expect(goodRuns(statuses, { start: 1, count: 3 })).toEqual([
      { start: 1, count: 1 },
      { start: 3, count: 1 },
    ])
  })
})
