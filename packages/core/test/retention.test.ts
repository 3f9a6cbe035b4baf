import { DEFAULT_BUDGET_BYTES } from '@xmc/core'
import { describe, expect, it } from 'vitest'
import { checkRetention } from '../src/retention.ts'

describe('DEFAULT_BUDGET_BYTES', () => {
  it('is 1 GiB', () => {
    expect(DEFAULT_BUDGET_BYTES).toBe(1_073_741_824)
  })
})

describe('checkRetention', () => {
  it.each([
    { kind: 'at-once' } as const,
    { kind: 'keep', budgetBytes: 1 } as const,
    { kind: 'keep', budgetBytes: Number.MAX_SAFE_INTEGER, idleMilliseconds: 0.5 } as const,
    { kind: 'keep', budgetBytes: 4096, idleMilliseconds: 2 ** 31 - 1 } as const,
    { kind: 'keep', budgetBytes: 4096, idleMilliseconds: undefined } as const,
  ])('accepts and gives back %o', (retention) => {
    expect(checkRetention(retention)).toBe(retention)
  })

  it.each([0, -1, 1.5, Number.NaN, 2 ** 53])('refuses a budget of %d', (budgetBytes) => {
    expect(() => checkRetention({ kind: 'keep', budgetBytes })).toThrow(
      `retention.budgetBytes: expected a positive safe integer, got ${budgetBytes}`,
    )
  })

  it.each([0, -1, Number.NaN, 2 ** 31])('refuses an idle time of %d', (idleMilliseconds) => {
    expect(() => checkRetention({ kind: 'keep', budgetBytes: 1, idleMilliseconds })).toThrow(
      `retention.idleMilliseconds: expected a number above 0 and below 2^31, got ${idleMilliseconds}`,
    )
  })
})
