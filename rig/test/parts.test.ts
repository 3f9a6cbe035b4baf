import { describe, expect, it } from 'vitest'
import { merged, possibleMachines } from '../src/host/parts.ts'
import type { RunOutcome } from '../src/host/run.ts'

const passed = {
  suite: 'smoke',
  id: '1',
  title: 'it runs',
  outcome: 'passed',
  milliseconds: 1,
} as const

function outcome(console: string, given: Partial<RunOutcome> = {}): RunOutcome {
  return { cases: [passed], problems: [], exitCode: 0, console, tail: [], ...given }
}

describe('merged', () => {
  it('has the cases of all machines', () => {
    const { cases, problems, exitCode } = merged([outcome('1'), outcome('2')])
    expect({ cases: cases.length, problems, exitCode }).toEqual({
      cases: 2,
      problems: [],
      exitCode: 0,
    })
  })

  it('ends as the machine in which something went wrong, and shows its console', () => {
    const wrong = outcome('2', { problems: ['it hung'], exitCode: undefined })
    expect(merged([outcome('1'), wrong])).toMatchObject({
      problems: ['it hung'],
      exitCode: undefined,
      console: '2',
    })
    expect(merged([outcome('1', { exitCode: 1 }), outcome('2')])).toMatchObject({
      exitCode: 1,
      console: '1',
    })
  })
})

describe('possibleMachines', () => {
  it('is 1 or 2', () => {
    expect([1, 2]).toContain(possibleMachines())
  })
})
