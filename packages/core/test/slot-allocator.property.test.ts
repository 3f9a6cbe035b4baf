import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { propertyRuns } from '../../../vitest.properties.ts'
import { SlotAllocator } from '../src/internal/slot-allocator.ts'

const SLOTS = 16

/** Takes back the nth held run, or asks for a new one. */
const step = fc.oneof(
  fc.record({ kind: fc.constant('allocate' as const), count: fc.integer({ min: 1, max: 6 }) }),
  fc.record({ kind: fc.constant('allocate' as const), count: fc.constant(1) }),
  fc.record({ kind: fc.constant('free' as const), nth: fc.nat() }),
)

function hasFreeRun(used: readonly boolean[], count: number): boolean {
  return used.some((_, slot) => {
    const run = used.slice(slot, slot + count)
    return run.length === count && !run.includes(true)
  })
}

describe('SlotAllocator', () => {
  it('never hands out a slot in use, and finds a run whenever one exists', () => {
    fc.assert(
      fc.property(
        fc.array(step, { maxLength: 80, size: 'max' }),
        fc.integer({ min: 0, max: 2 * SLOTS }),
        (steps, quarantine) => {
          const slots = new SlotAllocator(SLOTS, quarantine)
          const used = Array.from({ length: SLOTS }, () => false)
          const held: { slot: number; count: number }[] = []
          for (const action of steps) {
            if (action.kind === 'free') {
              const [run] = held.splice(action.nth % Math.max(1, held.length), 1)
              if (run === undefined) continue
              slots.free(run.slot, run.count)
              used.fill(false, run.slot, run.slot + run.count)
              continue
            }
            const slot = slots.allocate(action.count)
            expect(slot >= 0).toBe(hasFreeRun(used, action.count))
            if (slot < 0) continue
            const taken = used.slice(slot, slot + action.count)
            expect(taken).toEqual(Array.from({ length: action.count }, () => false))
            used.fill(true, slot, slot + action.count)
            held.push({ slot, count: action.count })
          }
        },
      ),
      propertyRuns(100, 1000),
    )
  })

  it('rests every single slot as long as others are to be had', () => {
    fc.assert(
      fc.property(
        fc.array(fc.option(fc.nat()), { maxLength: 100, size: 'max' }),
        fc.integer({ min: 0, max: SLOTS }),
        (steps, quarantine) => {
          const slots = new SlotAllocator(SLOTS, quarantine)
          const held: number[] = []
          const freedAt = new Map<number, number>()
          let frees = 0
          let fresh = 0
          for (const nth of steps) {
            if (nth !== null && held.length > 0) {
              for (const slot of held.splice(nth % held.length, 1)) {
                slots.free(slot, 1)
                freedAt.set(slot, ++frees)
              }
              continue
            }
            const oldest = [...freedAt].toSorted((a, b) => a[1] - b[1])[0]
            const rested = oldest !== undefined && frees - oldest[1] >= quarantine
            const slot = slots.allocate(1)
            if (!rested && fresh < SLOTS) expect(slot).toBe(fresh++)
            else expect(slot).toBe(oldest?.[0] ?? -1)
            if (slot >= 0) held.push(slot)
            freedAt.delete(slot)
          }
        },
      ),
      propertyRuns(100, 500),
    )
  })
})
