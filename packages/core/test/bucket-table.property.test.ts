import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { propertyRuns } from '../../../vitest.properties.ts'
import { BucketTable, LIVE, WRITABLE } from '../src/internal/bucket-table.ts'

const SLOTS = 8
const PAGES_PER_BUCKET = 2

interface Entry {
  readonly index: number
  readonly bucketCount: number
  readonly writable: boolean
  readonly errors: readonly number[]
  readonly hidden: boolean
}

const shape = fc.record({
  index: fc.constantFrom(0, 1, 8, 9, 2 ** 32, 2 ** 50),
  bucketCount: fc.integer({ min: 1, max: 2 }),
  writable: fc.boolean(),
  errors: fc.array(fc.constantFrom(0, 0, 22), { minLength: 4, maxLength: 4 }),
})
const step = fc.record({
  kind: fc.constantFrom('insert', 'insert', 'remove', 'retire', 'move', 'list'),
  // Even: entries of two buckets do not overlap.
  slot: fc.integer({ min: 0, max: SLOTS / 2 - 1 }).map((nth) => nth * 2),
  shape,
})

/** The entries of the model that serve a read or write of all pages of some buckets. */
function serving(
  model: Map<number, Entry>,
  index: number,
  bucketCount: number,
  write: boolean,
): number[] {
  const matches = [...model].filter(
    ([, entry]) =>
      !entry.hidden &&
      entry.index === index &&
      entry.bucketCount === bucketCount &&
      (entry.writable || !write) &&
      entry.errors.every((errno) => errno === 0),
  )
  return matches.map(([slot]) => slot)
}

describe('BucketTable', () => {
  it('finds what a map of entries has', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 25, size: 'max' }), (steps) => {
        const table = new BucketTable(SLOTS, PAGES_PER_BUCKET)
        const model = new Map<number, Entry>()
        for (const { kind, slot, shape: wanted } of steps) {
          const entry = model.get(slot)
          const { index, bucketCount, writable } = wanted
          const errors = wanted.errors.slice(0, bucketCount * PAGES_PER_BUCKET)
          const holes = errors.includes(22) ? Int32Array.from(errors) : undefined
          const flags = writable ? WRITABLE : 0
          const first = index * PAGES_PER_BUCKET
          if (kind === 'insert' && entry === undefined) {
            const count = bucketCount * PAGES_PER_BUCKET
            table.insertRun(slot, { first, count }, flags, 0, holes)
            model.set(slot, { index, bucketCount, writable, errors, hidden: false })
          } else if (kind === 'list' && entry === undefined) {
            table.insertList(slot, [first, first + 1], flags, 0)
            model.set(slot, { index, bucketCount: 1, writable, errors: [], hidden: true })
          } else if (kind === 'remove' && entry !== undefined) {
            table.remove(slot)
            model.delete(slot)
          } else if (kind === 'retire' && entry !== undefined) {
            table.retire(slot)
            model.set(slot, { ...entry, hidden: true })
          } else if (kind === 'move' && entry !== undefined && !entry.hidden) {
            const moved = wanted.errors.slice(0, entry.bucketCount * PAGES_PER_BUCKET)
            const movedHoles = moved.includes(22) ? Int32Array.from(moved) : undefined
            table.moveTo(slot, first, LIVE | flags, movedHoles)
            model.set(slot, { ...entry, index, writable, errors: moved })
          }
          expect(table.entries.toSorted((a, b) => a - b)).toEqual(
            [...model.keys()].toSorted((a, b) => a - b),
          )
          const wrong: unknown[] = []
          for (const asked of [0, 1, 8, 9, 2 ** 32, 2 ** 50]) {
            for (const [count, write] of [
              [1, false],
              [1, true],
              [2, false],
              [2, true],
            ] as const) {
              const request = {
                index: asked,
                bucketCount: count,
                firstPage: 0,
                lastPage: count * PAGES_PER_BUCKET - 1,
                write,
                partial: -1,
                missingPage: -1,
                missingErrno: 0,
              }
              const candidates = serving(model, asked, count, write)
              const found = table.find(request)
              const isRight = candidates.length === 0 ? found === -1 : candidates.includes(found)
              if (!isRight) wrong.push({ asked, count, write, found, candidates })
            }
          }
          expect(wrong).toEqual([])
        }
      }),
      propertyRuns(50, 300),
    )
  })
})
