import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { propertyRuns } from '../../../vitest.properties.ts'
import { LockRecords } from '../src/internal/lock-records.ts'

const pointer = fc.record({
  windowPage: fc.integer({ min: 0, max: 3 }),
  offset: fc.constantFrom(0, 1, 2, 4095),
})
const step = fc.oneof(
  { weight: 5, arbitrary: pointer.map((at) => ({ kind: 'add' as const, ...at })) },
  { weight: 5, arbitrary: pointer.map((at) => ({ kind: 'remove' as const, ...at })) },
  { weight: 1, arbitrary: pointer.map((at) => ({ kind: 'clear' as const, ...at })) },
)

describe('LockRecords', () => {
  it('counts as a map of pointers does', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const locks = new LockRecords(4)
        const model = new Map<string, number>()
        for (const { kind, windowPage, offset } of steps) {
          const key = `${windowPage}:${offset}`
          const count = model.get(key) ?? 0
          if (kind === 'add') {
            expect(locks.add(windowPage, offset, 0)).toBe(true)
            model.set(key, count + 1)
          } else if (kind === 'remove') {
            expect(locks.remove(windowPage, offset)).toBe(count > 0)
            model.set(key, Math.max(0, count - 1))
          } else {
            locks.clear(windowPage, 1)
            for (const other of model.keys()) {
              if (other.startsWith(`${windowPage}:`)) model.set(other, 0)
            }
          }
          const records = [...locks.within(0, 4)]
          const counted = records.map((at) => [`${at.windowPage}:${at.offset}`, at.count] as const)
          const expected = [...model].filter(([, locked]) => locked > 0)
          expect(counted).toHaveLength(expected.length)
          expect(new Map(counted)).toEqual(new Map(expected))
        }
      }),
      propertyRuns(50, 500),
    )
  })
})
