import { describe, expect, it } from 'vitest'
import { HIT_TABLE_BUCKETS, HitTable, PRESENT } from '../src/internal/hit-table.ts'

/** What a hit on bucket `index` would find: its window page, or undefined. */
function lookUp(table: HitTable, index: number, write: boolean): number | undefined {
  const place = (write ? table.writable : table.readable)[index]
  return place === undefined || place === 0 ? undefined : place & ~PRESENT
}

describe('HitTable', () => {
  it('finds nothing at first, bucket 0 included', () => {
    const table = new HitTable(true)
    expect(lookUp(table, 0, false)).toBeUndefined()
    expect(lookUp(table, 0, true)).toBeUndefined()
    expect(lookUp(table, 300, false)).toBeUndefined()
  })

  it('finds a writable mapping for both kinds of access', () => {
    const table = new HitTable(true)
    table.enter(0, 512, true)
    expect(lookUp(table, 0, false)).toBe(512)
    expect(lookUp(table, 0, true)).toBe(512)
  })

  it('finds a mapping at window page 0, and at the last of the largest window', () => {
    const table = new HitTable(true)
    table.enter(3, 0, true)
    table.enter(4, 2 ** 31 - 1, true)
    expect(lookUp(table, 3, true)).toBe(0)
    expect(lookUp(table, 4, true)).toBe(2 ** 31 - 1)
  })

  it('M2 finds a read-only mapping for reads only', () => {
    const table = new HitTable(true)
    table.enter(7, 512, false)
    expect(lookUp(table, 7, false)).toBe(512)
    expect(lookUp(table, 7, true)).toBeUndefined()
  })

  it('keeps a writable mapping for writes beside a read-only one for reads', () => {
    const table = new HitTable(true)
    table.enter(7, 512, true)
    table.enter(7, 1024, false)
    expect(lookUp(table, 7, false)).toBe(1024)
    expect(lookUp(table, 7, true)).toBe(512)
    table.leave(7, 1024)
    expect(lookUp(table, 7, false)).toBeUndefined()
    expect(lookUp(table, 7, true)).toBe(512)
  })

  it('leaves another mapping of the same bucket alone', () => {
    const table = new HitTable(true)
    table.enter(1, 512, true)
    table.leave(1, 1024)
    expect(lookUp(table, 1, true)).toBe(512)
    table.leave(1, 512)
    expect(lookUp(table, 1, false)).toBeUndefined()
    expect(lookUp(table, 1, true)).toBeUndefined()
  })

  it('takes 1,048,576 buckets and leaves those beyond out', () => {
    const table = new HitTable(true)
    expect(HIT_TABLE_BUCKETS).toBe(1_048_576)
    table.enter(1_048_575, 512, true)
    expect(lookUp(table, 1_048_575, true)).toBe(512)
    for (const index of [1_048_576, 2 ** 31, 2 ** 32 + 1_048_575, 2 ** 51]) {
      table.enter(index, 1024, true)
      expect(lookUp(table, index, false)).toBeUndefined()
      table.leave(index, 1024)
    }
    expect(lookUp(table, 1_048_575, true)).toBe(512)
  })

  it('finds nothing once it was cleared, until what is used is entered again', () => {
    const table = new HitTable(true)
    table.enter(1, 512, true)
    table.enter(2, 1024, false)
    table.enter(3, 2048, true)
    table.leave(3, 2048)
    table.clear()
    for (const index of [1, 2, 3]) {
      expect(lookUp(table, index, false)).toBeUndefined()
      expect(lookUp(table, index, true)).toBeUndefined()
    }
    table.enter(2, 1024, false)
    expect(lookUp(table, 2, false)).toBe(1024)
  })

  it('gives the read-only mapping to be read, whichever was entered first', () => {
    for (const first of [false, true]) {
      const table = new HitTable(true)
      table.enter(4, first ? 1024 : 512, first)
      table.enter(4, first ? 512 : 1024, !first)
      expect(lookUp(table, 4, false)).toBe(512)
      expect(lookUp(table, 4, true)).toBe(1024)
      // Used again, it is entered again.
      table.enter(4, 1024, true)
      expect(lookUp(table, 4, false)).toBe(512)
    }
  })
})
