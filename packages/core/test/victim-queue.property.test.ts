import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { propertyRuns } from '../../../vitest.properties.ts'
import { BucketTable } from '../src/internal/bucket-table.ts'
import { VictimQueue } from '../src/internal/victim-queue.ts'

describe('VictimQueue', () => {
  it('is exact however entries are used, locked and removed in between', () => {
    const step = fc.record({
      slot: fc.integer({ min: 0, max: 7 }),
      kind: fc.constantFrom('use', 'lock', 'unlock', 'victim', 'victim'),
    })
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60, size: 'max' }), (steps) => {
        const table = new BucketTable(8, 1)
        const queue = new VictimQueue(table)
        // Oldest first.
        const used: number[] = []
        let now = 0
        for (const { slot, kind } of steps) {
          if (kind === 'victim') {
            const expected = used.find((entry) => table.locks[entry] === 0) ?? -1
            expect(queue.next()).toBe(expected)
            if (expected < 0) continue
            table.remove(expected)
            used.splice(used.indexOf(expected), 1)
            continue
          }
          now++
          if (table.flags[slot] === 0) {
            table.insertRun(slot, { first: slot, count: 1 }, 0, now, undefined)
          } else {
            used.splice(used.indexOf(slot), 1)
          }
          used.push(slot)
          table.stamp[slot] = now
          if (kind === 'lock') table.locks[slot] = 1
          if (kind === 'unlock') table.locks[slot] = 0
        }
      }),
      propertyRuns(100, 500),
    )
  })
})
