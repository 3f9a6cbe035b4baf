import { GRANT_STATUS } from '@xmc/interface'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { propertyRuns } from '../../../vitest.properties.ts'
import { GRANT_FLAGS } from '../src/grant-table.ts'
import { BACKEND, GrantWorld, HOST, READ_ONLY, RO, RW } from './helpers/grant-world.ts'

interface LiveMapping {
  readonly reference: number
  readonly writable: boolean
  readonly handle: number
  readonly address: number
}

type Step =
  | { readonly map: number; readonly writable: boolean }
  | { readonly unmap: number }
  | { readonly grant: number; readonly flags: number }

/** Takes one step and returns its status with the one that the guest's flags let expect. */
function take(
  world: GrantWorld,
  step: Step,
  live: LiveMapping[],
): { status: number; expected: number } {
  if ('map' in step) {
    const flags = world.flags(step.map)
    const refused = (flags & RW) === 0 || (step.writable && (flags & GRANT_FLAGS.readonly) !== 0)
    const address = 0x1000 * (live.length + 1) + Math.max(0, ...live.map((m) => m.address))
    const result = world.map(step.map, step.writable ? HOST : READ_ONLY, { address })
    if (result.status === 0) {
      live.push({ reference: step.map, writable: step.writable, handle: result.handle, address })
    }
    return { status: result.status, expected: refused ? GRANT_STATUS.general_error : 0 }
  }
  if ('unmap' in step) {
    const [mapping] = live.splice(step.unmap, 1)
    return { status: mapping ? world.unmap(mapping) : 0, expected: 0 }
  }
  // A guest that changes an entry in use is not part of this property.
  if (live.every(({ reference }) => reference !== step.grant)) world.grant(step.grant, step.flags)
  return { status: 0, expected: 0 }
}

test('any sequence of maps and unmaps keeps pins, flags and mappings in step', () => {
  const references = [8, 9, 10, 11, 12]
  const step = fc.oneof<fc.Arbitrary<Step>[]>(
    fc.record({ map: fc.constantFrom(...references), writable: fc.boolean() }),
    fc.record({ unmap: fc.nat(40) }),
    fc.record({ grant: fc.constantFrom(...references), flags: fc.constantFrom(0, RW, RO) }),
  )
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const world = new GrantWorld({ maximumMaptrackFrames: 1 })
      const live: LiveMapping[] = []
      for (const action of steps) {
        const { status, expected } = take(world, action, live)
        expect(status).toBe(expected)
        expect([...world.tables.mappings()]).toHaveLength(live.length)
        for (const reference of references) {
          const mine = live.filter((mapping) => mapping.reference === reference)
          const write = mine.filter(({ writable }) => writable).length
          expect(world.pins(reference)).toEqual({ read: mine.length - write, write })
          expect((world.flags(reference) & GRANT_FLAGS.reading) !== 0).toBe(mine.length > 0)
          expect((world.flags(reference) & GRANT_FLAGS.writing) !== 0).toBe(write > 0)
          expect(world.tables.isPinned(1000 + reference)).toBe(mine.length > 0)
        }
      }
      world.tables.releaseMapper(BACKEND)
      expect([...world.tables.pinnedEntries()]).toEqual([])
    }),
    propertyRuns(50, 200),
  )
})
