import { describe, expect, it } from 'vitest'
import { BucketTable } from '../src/internal/bucket-table.ts'
import { VictimQueue } from '../src/internal/victim-queue.ts'

/** A table with entries in slots 0, 1, … that were used at the given times. */
function tableOf(...stamps: number[]): BucketTable {
  const table = new BucketTable(16, 1)
  for (const [slot, stamp] of stamps.entries()) {
    table.insertRun(slot, { first: 100 + slot, count: 1 }, 0, stamp, undefined)
  }
  return table
}

function takeAll(queue: VictimQueue, table: BucketTable): number[] {
  const order: number[] = []
  for (let slot = queue.next(); slot >= 0; slot = queue.next()) {
    order.push(slot)
    table.remove(slot)
  }
  return order
}

describe('VictimQueue', () => {
  it('has no victim in an empty table', () => {
    expect(new VictimQueue(tableOf()).next()).toBe(-1)
  })

  it('names the least recently used first', () => {
    const table = tableOf(5, 2, 9, 1)
    expect(takeAll(new VictimQueue(table), table)).toEqual([3, 1, 0, 2])
  })

  it('names the lower slot first among equally old ones', () => {
    const table = tableOf(2, 1, 2, 1)
    expect(takeAll(new VictimQueue(table), table)).toEqual([1, 3, 0, 2])
  })

  it('passes over locked entries', () => {
    const table = tableOf(1, 2, 3)
    table.locks[0] = 1
    table.locks[2] = 1
    const queue = new VictimQueue(table)
    expect(takeAll(queue, table)).toEqual([1])
    expect(queue.next()).toBe(-1)
    table.locks[2] = 0
    expect(queue.next()).toBe(2)
  })

  it('passes over an entry that was used since it was sorted', () => {
    const table = tableOf(1, 2, 3)
    const queue = new VictimQueue(table)
    expect(queue.next()).toBe(0)
    table.remove(0)
    table.stamp[1] = 4
    expect(takeAll(queue, table)).toEqual([2, 1])
  })

  it('passes over an entry that was locked since it was sorted', () => {
    const table = tableOf(1, 2, 3)
    const queue = new VictimQueue(table)
    expect(queue.next()).toBe(0)
    table.remove(0)
    table.locks[1] = 1
    expect(takeAll(queue, table)).toEqual([2])
  })

  it('passes over a slot that holds another entry since it was sorted', () => {
    const table = tableOf(1, 2, 3)
    const queue = new VictimQueue(table)
    expect(queue.next()).toBe(0)
    table.remove(0)
    table.remove(1)
    table.insertRun(1, { first: 900, count: 1 }, 0, 5, undefined)
    expect(takeAll(queue, table)).toEqual([2, 1])
  })
})
