import { describe, expect, it } from 'vitest'
import { caseLine, exitCodeOf, runResults, summaryLine } from '../src/host/results.ts'

const passed = {
  suite: 's',
  id: '1',
  title: 'it works',
  outcome: 'passed',
  milliseconds: 2.4,
} as const
const failed = { ...passed, outcome: 'failed', detail: 'Error: no\n  at x' } as const
const skipped = { ...passed, outcome: 'skipped', detail: 'not here' } as const

function results(cases: readonly (typeof passed | typeof failed | typeof skipped)[], more = {}) {
  const outcome = { cases, problems: [], exitCode: 0, console: '/c', tail: [], ...more }
  return runResults(outcome, 12.345)
}

describe('runResults', () => {
  it('counts', () => {
    expect(results([passed, failed, passed, skipped])).toEqual({
      passed: 2,
      failed: 1,
      skipped: 1,
      cases: [passed, failed, passed, skipped],
      problems: [],
      exitCode: 0,
      seconds: 12.3,
    })
  })
})

describe('exitCodeOf', () => {
  it("is that of dom0's program", () => {
    expect(exitCodeOf(results([passed]))).toBe(0)
    expect(exitCodeOf(results([], { exitCode: 7 }))).toBe(7)
  })

  it('is not 0 when anything failed', () => {
    expect(exitCodeOf(results([failed]))).toBe(1)
    expect(exitCodeOf(results([passed], { problems: ['lost'] }))).toBe(1)
    expect(exitCodeOf(results([], { exitCode: undefined, problems: ['limit'] }))).toBe(1)
    expect(exitCodeOf({ error: { code: 'ERR_XMC_RIG', message: 'no' } })).toBe(1)
  })
})

describe('caseLine', () => {
  it('says what became of a case', () => {
    expect(caseLine(passed)).toBe('passed  s 1 it works  2 ms')
    expect(caseLine(skipped)).toBe('skipped s 1 it works (not here)')
    expect(caseLine(failed)).toBe('failed  s 1 it works  2 ms\n        Error: no\n          at x')
  })
})

describe('summaryLine', () => {
  it('closes a run', () => {
    expect(summaryLine(results([passed, failed]))).toBe('1 passed, 1 failed, 0 skipped')
  })
})
