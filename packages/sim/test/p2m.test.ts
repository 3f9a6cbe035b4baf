import { describe, expect, test } from 'vitest'
import { PhysicalToMachine } from '../src/p2m.ts'

function populated(...runs: readonly (readonly [frame: number, count: number, machine: number])[]) {
  const p2m = new PhysicalToMachine()
  for (const [frame, count, machine] of runs) p2m.insert({ frame, count, machine })
  return p2m
}

const rows = (p2m: PhysicalToMachine) =>
  p2m.runs.map(({ frame, count, machine }) => [frame, count, machine])

describe('insert', () => {
  test('neighbours that go on in the machine become one run, others do not', () => {
    expect(rows(populated([10, 5, 100], [15, 5, 105], [5, 5, 95]))).toEqual([[5, 15, 95]])
    expect(rows(populated([10, 5, 100], [15, 5, 200]))).toEqual([
      [10, 5, 100],
      [15, 5, 200],
    ])
    expect(rows(populated([10, 1, 100], [12, 1, 102], [11, 1, 101]))).toEqual([[10, 3, 100]])
  })

  test('counts frames and tells listeners until they stop', () => {
    const p2m = new PhysicalToMachine()
    const changes: unknown[] = []
    const stop = p2m.onChange((...change) => changes.push(change))
    p2m.insert({ frame: 3, count: 4, machine: 0 })
    p2m.remove(4, 2)
    stop()
    p2m.insert({ frame: 100, count: 1, machine: 9 })
    expect(changes).toEqual([
      [3, 4, true],
      [4, 2, false],
    ])
    expect(p2m.frameCount).toBe(3)
  })
})

describe('remove', () => {
  test('splits a run, and takes what lies in the range over several', () => {
    const p2m = populated([10, 10, 100], [30, 10, 500])
    expect(p2m.remove(15, 20)).toEqual([
      { frame: 15, count: 5, machine: 105 },
      { frame: 30, count: 5, machine: 500 },
    ])
    expect(rows(p2m)).toEqual([
      [10, 5, 100],
      [35, 5, 505],
    ])
    expect(p2m.remove(0, 10)).toEqual([])
    p2m.remove(12, 1)
    expect(rows(p2m)).toEqual([
      [10, 2, 100],
      [13, 2, 103],
      [35, 5, 505],
    ])
  })

  test('a removed frame is not paged out when it comes back', () => {
    const p2m = populated([10, 10, 100])
    p2m.setPagedOut(12, true)
    p2m.setPagedOut(18, true)
    p2m.remove(10, 5)
    p2m.insert({ frame: 10, count: 5, machine: 300 })
    expect([p2m.isPagedOut(12), p2m.isPagedOut(18), p2m.pagedOutCount]).toEqual([false, true, 1])
  })
})

describe('lookups', () => {
  const p2m = populated([10, 5, 100], [20, 5, 200], [25, 5, 900])

  test.each([
    [9, -1],
    [10, 100],
    [14, 104],
    [15, -1],
    [20, 200],
    [25, 900],
    [29, 904],
    [30, -1],
    [2 ** 51, -1],
  ])('frame %i is at machine page %i', (frame, machine) => {
    expect(p2m.machineOf(frame)).toBe(machine)
  })

  test('resolve writes −1 for holes', () => {
    const machines = new Float64Array(8)
    p2m.resolve(13, 8, machines)
    expect([...machines]).toEqual([103, 104, -1, -1, -1, -1, -1, 200])
    expect(() => p2m.resolve(0, 9, machines)).toThrow(
      expect.objectContaining({ code: 'ERR_XMC_ARGUMENT' }),
    )
  })

  test('holes and extents', () => {
    expect(p2m.holesIn(8, 20)).toEqual([
      { frame: 8, count: 2 },
      { frame: 15, count: 5 },
    ])
    expect(p2m.extentAround(22)).toEqual({ first: 20, end: 30 })
    expect(p2m.extentAround(27)).toEqual({ first: 20, end: 30 })
    expect(p2m.extentAround(15)).toBeUndefined()
  })

  test('the run of a frame is another object once it has changed', () => {
    const run = p2m.runAt(22)
    expect(run).toBe(p2m.runAt(21))
    expect(p2m.runAt(15)).toBeUndefined()
  })

  test('a hole cannot be paged out', () => {
    expect(() => p2m.setPagedOut(15, true)).toThrow(
      expect.objectContaining({ code: 'ERR_XMC_ARGUMENT' }),
    )
  })
})
