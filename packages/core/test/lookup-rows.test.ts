import { describe, expect, it } from 'vitest'
import { LookupRows } from '../src/internal/lookup-rows.ts'

/** What a hit on bucket `index` would find: its window page, or undefined. */
function lookUp(rows: LookupRows, index: number, write: boolean): number | undefined {
  const row = ((index & rows.mask) << 2) | (write ? 2 : 0)
  return rows.rows[row] === ~index ? rows.rows[row + 1] : undefined
}

describe('LookupRows', () => {
  it('has 4 rows for a slot, at least 256 and at most 65,536', () => {
    expect(new LookupRows(1).mask).toBe(255)
    expect(new LookupRows(64).mask).toBe(255)
    expect(new LookupRows(65).mask).toBe(511)
    expect(new LookupRows(4096).mask).toBe(16_383)
    expect(new LookupRows(16_384).mask).toBe(65_535)
    expect(new LookupRows(1_000_000).mask).toBe(65_535)
  })

  it('finds nothing at first, bucket 0 included', () => {
    const rows = new LookupRows(64)
    expect(lookUp(rows, 0, false)).toBeUndefined()
    expect(lookUp(rows, 0, true)).toBeUndefined()
    expect(lookUp(rows, 300, false)).toBeUndefined()
  })

  it('finds a writable mapping for both kinds of access', () => {
    const rows = new LookupRows(64)
    rows.enter(0, 512, true)
    expect(lookUp(rows, 0, false)).toBe(512)
    expect(lookUp(rows, 0, true)).toBe(512)
  })

  it('M2 finds a read-only mapping for reads only', () => {
    const rows = new LookupRows(64)
    rows.enter(7, 512, false)
    expect(lookUp(rows, 7, false)).toBe(512)
    expect(lookUp(rows, 7, true)).toBeUndefined()
  })

  it('keeps a writable mapping for writes beside a read-only one for reads', () => {
    const rows = new LookupRows(64)
    rows.enter(7, 512, true)
    rows.enter(7, 1024, false)
    expect(lookUp(rows, 7, false)).toBe(1024)
    expect(lookUp(rows, 7, true)).toBe(512)
    rows.leave(7, 1024)
    expect(lookUp(rows, 7, false)).toBeUndefined()
    expect(lookUp(rows, 7, true)).toBe(512)
  })

  it('gives the row to the bucket that was entered last', () => {
    const rows = new LookupRows(64)
    rows.enter(1, 512, true)
    rows.enter(257, 1024, true)
    expect(lookUp(rows, 1, false)).toBeUndefined()
    expect(lookUp(rows, 257, false)).toBe(1024)
    rows.leave(1, 512)
    expect(lookUp(rows, 257, true)).toBe(1024)
  })

  it('leaves another mapping of the same bucket alone', () => {
    const rows = new LookupRows(64)
    rows.enter(1, 512, true)
    rows.leave(1, 1024)
    expect(lookUp(rows, 1, true)).toBe(512)
    rows.leave(1, 512)
    expect(lookUp(rows, 1, false)).toBeUndefined()
    expect(lookUp(rows, 1, true)).toBeUndefined()
  })

  it('takes buckets up to 2^31 − 1 and leaves larger ones out', () => {
    const rows = new LookupRows(64)
    rows.enter(2 ** 31 - 1, 512, true)
    expect(lookUp(rows, 2 ** 31 - 1, true)).toBe(512)
    rows.enter(2 ** 31, 1024, true)
    rows.enter(2 ** 32 + 5, 1024, true)
    rows.enter(2 ** 51, 1024, true)
    expect([...rows.rows].filter((value) => value === 1024)).toEqual([])
    // The low 32 bits of this index are those of bucket 2^31 − 1.
    rows.leave(2 ** 32 + 2 ** 31 - 1, 1024)
    expect(lookUp(rows, 2 ** 31 - 1, true)).toBe(512)
  })
})
