import { describe, expect, it } from 'vitest'
import { runChild } from './run-child.ts'

describe('M6 a replacement in place', () => {
  it('shows another thread the old page, the new one or zeros, and never a hole', async () => {
    const child = await runChild(new URL('children/read-during-replacement.ts', import.meta.url))
    const count: unknown = expect.any(Number)
    const output = { zero: count, old: count, new: count, other: 0 }
    expect(child).toEqual({ status: 0, signal: null, stderr: '', output })
  })
})
