import { describe, expect, it } from 'vitest'
import { SlotAllocator } from '../src/internal/slot-allocator.ts'

const times = <T>(count: number, make: () => T): T[] => Array.from({ length: count }, make)

describe('SlotAllocator', () => {
  it('hands out slots that were never used in order', () => {
    const slots = new SlotAllocator(4, 0)
    expect(times(5, () => slots.allocate(1))).toEqual([0, 1, 2, 3, -1])
  })

  it('uses freed slots again oldest first', () => {
    const slots = new SlotAllocator(4, 0)
    times(4, () => slots.allocate(1))
    for (const slot of [2, 0, 3]) slots.free(slot, 1)
    expect(times(4, () => slots.allocate(1))).toEqual([2, 0, 3, -1])
  })

  it('without quarantine prefers a freed slot to one that was never used', () => {
    const slots = new SlotAllocator(4, 0)
    slots.allocate(1)
    slots.free(0, 1)
    expect(slots.allocate(1)).toBe(0)
    expect(slots.allocate(1)).toBe(1)
  })

  it('rests a freed slot until as many more were freed as the quarantine says', () => {
    const slots = new SlotAllocator(8, 2)
    times(3, () => slots.allocate(1))
    slots.free(1, 1)
    expect(slots.allocate(1)).toBe(3)
    slots.free(0, 1)
    expect(slots.allocate(1)).toBe(4)
    slots.free(2, 1)
    expect(slots.allocate(1)).toBe(1)
    expect(slots.allocate(1)).toBe(5)
  })

  it('breaks the quarantine, oldest first, when nothing else is left', () => {
    const slots = new SlotAllocator(3, 100)
    times(3, () => slots.allocate(1))
    slots.free(2, 1)
    slots.free(1, 1)
    expect(times(3, () => slots.allocate(1))).toEqual([2, 1, -1])
  })

  it('hands out runs, contiguous', () => {
    const slots = new SlotAllocator(10, 0)
    expect(slots.allocate(4)).toBe(0)
    expect(slots.allocate(4)).toBe(4)
    expect(slots.allocate(4)).toBe(-1)
    expect(slots.allocate(2)).toBe(8)
  })

  it('puts a run where freed neighbours make room for it', () => {
    const slots = new SlotAllocator(6, 0)
    times(6, () => slots.allocate(1))
    for (const slot of [4, 1, 2]) slots.free(slot, 1)
    expect(slots.allocate(3)).toBe(-1)
    slots.free(3, 1)
    expect(slots.allocate(4)).toBe(1)
    expect(slots.allocate(1)).toBe(-1)
  })

  it('lets a run rest as single slots do, and breaks the rest when nothing else is left', () => {
    const slots = new SlotAllocator(8, 4)
    expect(slots.allocate(3)).toBe(0)
    slots.free(0, 3)
    expect(slots.allocate(3)).toBe(3)
    // Two never used ones are left: too few.
    expect(slots.allocate(3)).toBe(0)
  })

  it('reaches from freed slots into those that were never used', () => {
    const slots = new SlotAllocator(6, 100)
    expect(slots.allocate(4)).toBe(0)
    slots.free(2, 2)
    expect(slots.allocate(4)).toBe(2)
    slots.free(0, 2)
    expect(times(3, () => slots.allocate(1))).toEqual([0, 1, -1])
  })

  it('takes a run from the middle of the freed list', () => {
    const slots = new SlotAllocator(6, 0)
    times(6, () => slots.allocate(1))
    for (const slot of [0, 3, 4, 5]) slots.free(slot, 1)
    expect(slots.allocate(2)).toBe(3)
    expect(times(3, () => slots.allocate(1))).toEqual([0, 5, -1])
  })

  it('goes on with the search for runs after the last one, and around', () => {
    const slots = new SlotAllocator(6, 0)
    times(6, () => slots.allocate(1))
    slots.free(0, 6)
    expect(slots.allocate(2)).toBe(0)
    slots.free(0, 2)
    expect(slots.allocate(2)).toBe(2)
    expect(slots.allocate(2)).toBe(4)
    expect(slots.allocate(2)).toBe(0)
    expect(slots.allocate(2)).toBe(-1)
  })

  it('finds a run across the place where the last search ended', () => {
    const slots = new SlotAllocator(6, 0)
    times(6, () => slots.allocate(1))
    slots.free(0, 3)
    expect(slots.allocate(3)).toBe(0)
    slots.free(2, 1)
    slots.free(3, 1)
    expect(slots.allocate(2)).toBe(2)
  })

  it('has no run that is larger than the window', () => {
    const slots = new SlotAllocator(4, 0)
    expect(slots.allocate(5)).toBe(-1)
    expect(slots.allocate(4)).toBe(0)
  })

  it('gives the slot that was freed last when told so, though it has not rested, and a fresh one without any', () => {
    const slots = new SlotAllocator(8, 4)
    times(3, () => slots.allocate(1))
    slots.free(0, 1)
    slots.free(2, 1)
    expect(slots.allocate(1, true)).toBe(2)
    expect(slots.allocate(1, true)).toBe(0)
    expect(slots.allocate(1, true)).toBe(3)
  })
})
