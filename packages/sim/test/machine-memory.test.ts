import { describe, expect, test } from 'vitest'
import { MachineMemory } from '../src/machine-memory.ts'

function opened() {
  const machine = new MachineMemory('test')
  return Object.assign(machine, { [Symbol.dispose]: () => machine.close() })
}

describe('allocate', () => {
  test('gives every page out once, also after it was freed', () => {
    using machine = opened()
    expect(machine.allocate(4)).toBe(0)
    machine.free({ first: 0, count: 4 })
    expect(machine.allocate(2)).toBe(4)
    expect(machine.allocatedPages).toBe(2)
  })

  test('2^30 pages are all there are: ENOMEM', () => {
    using machine = opened()
    machine.allocate(2 ** 30 - 1)
    expect(() => machine.allocate(2)).toThrow(expect.objectContaining({ errnoName: 'ENOMEM' }))
    expect(machine.allocate(1)).toBe(2 ** 30 - 1)
    machine.bytesOf(2 ** 30 - 1)[4095] = 1
  })
})

describe('bytesOf', () => {
  test('shows the page itself, for two pages at once', () => {
    using machine = opened()
    machine.allocate(200)
    const a = machine.bytesOf(3)
    const b = machine.bytesOf(67)
    a[0] = 1
    b[0] = 2
    expect([machine.bytesOf(3)[0], machine.bytesOf(67)[0]]).toEqual([1, 2])
    for (let page = 0; page < 200; page++) machine.bytesOf(page)[4095] = page
    const last = Array.from({ length: 200 }, (_, page) => machine.bytesOf(page)[4095])
    expect(last).toEqual(Array.from({ length: 200 }, (_, page) => page))
    expect(machine.bytesOf(3)[0]).toBe(1)
  })
})

describe('free and hold', () => {
  test('a freed page reads as zeros; a held one keeps its bytes until the last hold goes', () => {
    using machine = opened()
    machine.allocate(3)
    for (const page of [0, 1, 2]) machine.bytesOf(page)[0] = 9
    const first = machine.hold([{ first: 1, count: 1 }])
    const second = machine.hold([{ first: 0, count: 2 }])
    machine.free({ first: 0, count: 3 })
    const bytes = () => [0, 1, 2].map((page) => machine.bytesOf(page)[0])
    expect(bytes()).toEqual([9, 9, 0])
    expect([machine.allocatedPages, machine.orphanedPages]).toEqual([2, 2])
    machine.release(second)
    expect(bytes()).toEqual([0, 9, 0])
    expect(machine.isHeld(1)).toBe(true)
    machine.release(first)
    machine.release(first)
    expect(bytes()).toEqual([0, 0, 0])
    expect([machine.allocatedPages, machine.orphanedPages, machine.isHeld(1)]).toEqual([
      0,
      0,
      false,
    ])
  })

  test('a hold in the middle of a freed run keeps only its pages', () => {
    using machine = opened()
    machine.allocate(10)
    const hold = machine.hold([
      { first: 2, count: 2 },
      { first: 7, count: 1 },
    ])
    machine.free({ first: 0, count: 10 })
    expect([machine.allocatedPages, machine.orphanedPages]).toEqual([3, 3])
    machine.release(hold)
    expect(machine.allocatedPages).toBe(0)
  })
})
