import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { propertyRuns } from '../../../vitest.properties.ts'
import { type CallLane, CallPool, poolThreads } from '../src/internal/call-pool.ts'

/** Starts `count` calls that stand still; returns how many are under way. */
function hang(lane: CallLane, count: number): number {
  for (let call = 0; call < count; call++) lane.run(() => undefined)
  return lane.running
}

describe('lanes', () => {
  test('one alone has all places, which are the threads but one', () => {
    const pool = new CallPool(4)
    expect(pool.places).toBe(3)
    expect(hang(pool.open(), 10)).toBe(3)
  })

  test('a place is kept for each that has no call', () => {
    const pool = new CallPool(4)
    const [first, second, third] = [pool.open(), pool.open(), pool.open()]
    expect(hang(first, 10)).toBe(1)
    expect(hang(second, 10)).toBe(1)
    expect(hang(third, 10)).toBe(1)
    third.ended()
    expect([first.running, second.running, third.running]).toEqual([1, 1, 1])
  })

  test('with more of them than places, they take turns', () => {
    const pool = new CallPool(3)
    const lanes = Array.from({ length: 5 }, () => pool.open())
    const order: number[] = []
    for (let round = 0; round < 3; round++) {
      for (const [index, lane] of lanes.entries()) lane.run(() => order.push(index))
    }
    expect(order).toEqual([0, 1])
    while (order.length < 15) {
      lanes.find(({ running }) => running > 0)?.ended()
    }
    for (const index of lanes.keys()) {
      expect(order.filter((each) => each === index).length).toBe(3)
    }
    expect(order.slice(2, 5)).toEqual([2, 3, 4])
  })

  test('one that is closed leaves its place', () => {
    const pool = new CallPool(3)
    const [first, second] = [pool.open(), pool.open()]
    expect(hang(first, 4)).toBe(1)
    second.close()
    second.close()
    expect(first.running).toBe(2)
  })

  test('one with a limit over the places may fill the pool, and takes no place of others', () => {
    const pool = new CallPool(4)
    const [wide, other] = [pool.open(32), pool.open()]
    expect(hang(wide, 40)).toBe(32)
    expect(hang(other, 10)).toBe(3)
    wide.ended()
    expect(wide).toMatchObject({ running: 32, waiting: 7 })
    other.ended()
    expect(other.running).toBe(3)
  })

  test('a call that ends at once', () => {
    const pool = new CallPool(4)
    const lane = pool.open()
    let calls = 0
    for (let call = 0; call < 10; call++) {
      lane.run(() => {
        calls += 1
        lane.ended()
      })
    }
    expect(calls).toBe(10)
    expect(lane).toMatchObject({ running: 0, waiting: 0, mostRunning: 1, waited: 0 })
  })

  test('a pool of one thread has a place', () => {
    expect(hang(new CallPool(1).open(), 2)).toBe(1)
  })
})

test('whatever comes and ends: no more than the places, all calls in order, and none is forgotten', () => {
  const step = fc.oneof(fc.record({ run: fc.nat(3) }), fc.record({ end: fc.nat(3) }))
  const property = fc.property(
    fc.integer({ min: 4, max: 8 }),
    fc.array(fc.option(fc.integer({ min: 1, max: 3 }), { nil: undefined }), {
      minLength: 1,
      maxLength: 4,
    }),
    fc.array(step, { maxLength: 60 }),
    (threads, limits, steps) => {
      const pool = new CallPool(threads)
      const lanes = limits.map((limit) => pool.open(limit))
      const started = lanes.map((): number[] => [])
      const asked = lanes.map(() => 0)
      const check = (): void => {
        const running = lanes.reduce((sum, lane) => sum + lane.running, 0)
        expect(running).toBeLessThanOrEqual(pool.places)
        for (const [index, lane] of lanes.entries()) {
          expect(lane.running).toBeLessThanOrEqual(limits[index] ?? pool.places)
          // Where there is room for one call of each, one that waits has a call under way.
          const starved = lanes.length <= pool.places && lane.waiting > 0 && lane.running === 0
          expect(starved).toBe(false)
        }
      }
      const end = (index: number): void => {
        const lane = lanes[index % lanes.length]
        if (lane !== undefined && lane.running > 0) lane.ended()
      }
      for (const each of steps) {
        if ('end' in each) end(each.end)
        else {
          const index = each.run % lanes.length
          const number = asked[index] ?? 0
          asked[index] = number + 1
          lanes[index]?.run(() => started[index]?.push(number))
        }
        check()
      }
      while (lanes.some(({ running }) => running > 0)) {
        for (const index of lanes.keys()) end(index)
        check()
      }
      for (const [index, calls] of started.entries()) {
        expect(calls).toEqual(Array.from({ length: asked[index] ?? 0 }, (_, number) => number))
      }
    },
  )
  expect(() => fc.assert(property, propertyRuns(100))).not.toThrow()
})

test.each([
  [undefined, 4],
  ['1', 1],
  ['0', 1],
  ['16', 16],
  ['5000', 1024],
  ['many', 1],
])('UV_THREADPOOL_SIZE %s: %d threads', (size, threads) => {
  expect(poolThreads({ UV_THREADPOOL_SIZE: size })).toBe(threads)
})
