import { describe, expect, it } from 'vitest'
import { FULL_RECORD, LockRecords, MAX_LOCKS_PER_POINTER } from '../src/internal/lock-records.ts'

const DMA = 2

describe('MAX_LOCKS_PER_POINTER', () => {
  it('is what fits above the offset in a positive Int32', () => {
    expect(MAX_LOCKS_PER_POINTER).toBe(524_287)
    expect(MAX_LOCKS_PER_POINTER * 4096 + 4095).toBe(2 ** 31 - 1)
  })
})

describe('FULL_RECORD', () => {
  it('is the smallest record with as many locks as can be counted', () => {
    expect(FULL_RECORD).toBe(MAX_LOCKS_PER_POINTER * 4096)
  })
})

describe('LockRecords', () => {
  it('counts locks at one pointer', () => {
    const locks = new LockRecords(8)
    expect(locks.add(3, 100, 0)).toBe(true)
    expect(locks.add(3, 100, 0)).toBe(true)
    expect([...locks.within(0, 8)]).toEqual([{ windowPage: 3, offset: 100, count: 2, tag: 0 }])
    expect(locks.remove(3, 100)).toBe(true)
    expect(locks.remove(3, 100)).toBe(true)
    expect(locks.remove(3, 100)).toBe(false)
    expect([...locks.within(0, 8)]).toEqual([])
  })

  it('M13 refuses every pointer that was not handed out', () => {
    const locks = new LockRecords(8)
    locks.add(3, 100, 0)
    expect(locks.remove(3, 101)).toBe(false)
    expect(locks.remove(3, 0)).toBe(false)
    expect(locks.remove(2, 100)).toBe(false)
    expect(locks.remove(4, 100)).toBe(false)
    expect(locks.remove(8, 100)).toBe(false)
    expect(locks.remove(-1, 100)).toBe(false)
    expect(locks.remove(Number.NaN, 100)).toBe(false)
    expect(locks.remove(3, Number.NaN)).toBe(false)
    expect([...locks.within(0, 8)]).toEqual([{ windowPage: 3, offset: 100, count: 1, tag: 0 }])
  })

  it('keeps a second offset in a page apart from the first', () => {
    const locks = new LockRecords(8)
    locks.add(3, 0, 0)
    locks.add(3, 64, 0)
    locks.add(3, 64, 0)
    expect([...locks.within(3, 1)]).toEqual([
      { windowPage: 3, offset: 0, count: 1, tag: 0 },
      { windowPage: 3, offset: 64, count: 2, tag: 0 },
    ])
    expect(locks.remove(3, 0)).toBe(true)
    expect(locks.remove(3, 0)).toBe(false)
    expect(locks.remove(3, 64)).toBe(true)
    expect(locks.remove(3, 64)).toBe(true)
    expect(locks.remove(3, 64)).toBe(false)
  })

  it('does not take a pointer written in another way for one that is locked', () => {
    const locks = new LockRecords(8)
    locks.add(3, 0, 0)
    locks.add(3, 64, 0)
    // 2 × 4096 + 4160, 4 × 4096 − 4032 and 2.5 × 4096 + 2112 are byte 3 × 4096 + 64 too.
    expect(locks.remove(2, 4160)).toBe(false)
    expect(locks.remove(4, -4032)).toBe(false)
    expect(locks.remove(2.5, 2112)).toBe(false)
    expect(locks.remove(3, 64)).toBe(true)
  })

  it('tells of one pointer once, also when it was the second of its page', () => {
    const locks = new LockRecords(8)
    locks.add(3, 0, 0)
    locks.add(3, 64, 0)
    locks.remove(3, 0)
    locks.add(3, 64, DMA)
    expect([...locks.within(0, 8)]).toEqual([{ windowPage: 3, offset: 64, count: 2, tag: DMA }])
    expect([locks.remove(3, 64), locks.remove(3, 64), locks.remove(3, 64)]).toEqual([
      true,
      true,
      false,
    ])
  })

  it('M7 S33 counts 524,287 locks at one pointer, and refuses one more without a change', () => {
    const locks = new LockRecords(2)
    for (let nth = 0; nth < 524_287; nth++) locks.add(1, 4095, 0)
    expect(locks.records[2]).toBe(2 ** 31 - 1)
    expect(locks.add(1, 4095, 0)).toBe(false)
    expect([...locks.within(0, 2)]).toEqual([
      { windowPage: 1, offset: 4095, count: 524_287, tag: 0 },
    ])
    expect(locks.remove(1, 4095)).toBe(true)
    expect(locks.add(1, 4095, 0)).toBe(true)
    expect(locks.add(1, 4095, 0)).toBe(false)
  })

  it('M7 S33 counts as many at a second offset of the page', () => {
    const locks = new LockRecords(2)
    locks.add(1, 0, 0)
    for (let nth = 0; nth < 524_287; nth++) locks.add(1, 8, 0)
    expect(locks.add(1, 8, 0)).toBe(false)
    expect(locks.add(1, 0, 0)).toBe(true)
    expect([...locks.within(0, 2)]).toEqual([
      { windowPage: 1, offset: 0, count: 2, tag: 0 },
      { windowPage: 1, offset: 8, count: 524_287, tag: 0 },
    ])
  })

  it('tags a pointer with its first lock, and then with its last one for DMA', () => {
    const locks = new LockRecords(2)
    const tagAt = (offset: number): number | undefined =>
      [...locks.within(0, 2)].find((record) => record.offset === offset)?.tag
    for (const offset of [0, 16]) {
      locks.add(0, offset, 4)
      locks.add(0, offset, 8)
      expect(tagAt(offset)).toBe(4)
      locks.add(0, offset, 12 | DMA)
      expect(tagAt(offset)).toBe(14)
      locks.add(0, offset, 16)
      expect(tagAt(offset)).toBe(14)
    }
  })

  it('keeps the tag of a pointer until its last lock goes, whatever is locked beside it', () => {
    const locks = new LockRecords(2)
    locks.add(0, 16, 0)
    locks.add(0, 32, 4)
    locks.remove(0, 16)
    locks.add(0, 32, 8 | DMA)
    locks.remove(0, 32)
    expect([...locks.within(0, 1)]).toEqual([{ windowPage: 0, offset: 32, count: 1, tag: 8 | DMA }])
    locks.add(0, 48, 0)
    expect([...locks.within(0, 1)]).toEqual([
      { windowPage: 0, offset: 48, count: 1, tag: 0 },
      { windowPage: 0, offset: 32, count: 1, tag: 8 | DMA },
    ])
    locks.remove(0, 32)
    locks.remove(0, 48)
    locks.add(0, 32, 4)
    expect([...locks.within(0, 1)]).toEqual([{ windowPage: 0, offset: 32, count: 1, tag: 4 }])
  })

  it('counts 524,287 locks at one pointer also when it was the second of its page', () => {
    const locks = new LockRecords(1)
    locks.add(0, 0, 0)
    locks.add(0, 8, 0)
    locks.remove(0, 0)
    for (let nth = 1; nth < 524_287; nth++) locks.add(0, 8, 0)
    expect(locks.add(0, 8, 0)).toBe(false)
    expect([...locks.within(0, 1)]).toEqual([{ windowPage: 0, offset: 8, count: 524_287, tag: 0 }])
  })

  it('starts the tag afresh when the first lock of a page comes back', () => {
    const locks = new LockRecords(2)
    locks.add(0, 0, 4 | DMA)
    locks.remove(0, 0)
    locks.add(0, 0, 8)
    expect([...locks.within(0, 1)]).toEqual([{ windowPage: 0, offset: 0, count: 1, tag: 8 }])
  })

  it('forgets a range, second offsets included, and nothing beside it', () => {
    const locks = new LockRecords(8)
    for (const page of [1, 2, 3, 4]) {
      locks.add(page, 0, 0)
      locks.add(page, 8, 0)
    }
    locks.clear(2, 2)
    expect([...locks.within(0, 8)].map(({ windowPage, offset }) => [windowPage, offset])).toEqual([
      [1, 0],
      [1, 8],
      [4, 0],
      [4, 8],
    ])
    expect(locks.remove(2, 0)).toBe(false)
    expect(locks.remove(3, 8)).toBe(false)
  })
})
