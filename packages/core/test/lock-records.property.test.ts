import { LOCK_DMA } from '@xmc/core'
import { windowPage as toWindowPage } from '@xmc/interface'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { propertyRuns } from '../../../vitest.properties.ts'
import { LockRecords } from '../src/internal/lock-records.ts'
import { testPage } from './doubles/guest-double.ts'
import { setUp, small } from './doubles/set-up.ts'

const pointer = fc.record({
  windowPage: fc.constantFrom(0, 0, 1),
  offset: fc.constantFrom(0, 1, 4095),
})
const add = fc.record({
  kind: fc.constant('add' as const),
  at: pointer,
  tag: fc.constantFrom(0, 4, 8, LOCK_DMA, 4 | LOCK_DMA, 8 | LOCK_DMA),
})
const remove = pointer.map((at) => ({ kind: 'remove' as const, at, tag: 0 }))
const clear = pointer.map((at) => ({ kind: 'clear' as const, at, tag: 0 }))

/** The locks of each pointer as a plain list of their flags, in the order in which they were taken. */
class Locks {
  private readonly taken: Map<string, number[]> = new Map()
  /** Flags that a pointer counts as locked with, until its last lock goes. */
  private readonly tags: Map<string, number> = new Map()

  add(windowPage: number, offset: number, tag: number): void {
    const key = `${windowPage}:${offset}`
    const before = this.taken.get(key) ?? []
    if (before.length === 0 || (tag & LOCK_DMA) !== 0) this.tags.set(key, tag)
    this.taken.set(key, [...before, tag])
  }

  remove(windowPage: number, offset: number): boolean {
    const key = `${windowPage}:${offset}`
    const before = this.taken.get(key) ?? []
    if (before.length <= 1) this.taken.delete(key)
    else this.taken.set(key, before.slice(1))
    return before.length > 0
  }

  clear(windowPage: number): void {
    for (const key of this.taken.keys()) {
      if (key.startsWith(`${windowPage}:`)) this.taken.delete(key)
    }
  }

  /** By pointer: how many locks, and the flags. */
  all(): Map<string, string> {
    return new Map(
      [...this.taken].map(([key, { length }]) => [key, `${length} ${this.tags.get(key)}`]),
    )
  }
}

describe('LockRecords', () => {
  it('counts as lists of locks do, flags included', () => {
    const step = fc.oneof(
      { weight: 5, arbitrary: add },
      { weight: 5, arbitrary: remove },
      { weight: 1, arbitrary: clear },
    )
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60, size: 'max' }), (steps) => {
        const locks = new LockRecords(2)
        const model = new Locks()
        for (const { kind, at, tag } of steps) {
          const { windowPage, offset } = at
          if (kind === 'add') {
            expect(locks.add(windowPage, offset, tag)).toBe(true)
            model.add(windowPage, offset, tag)
          } else if (kind === 'remove') {
            expect(locks.remove(windowPage, offset)).toBe(model.remove(windowPage, offset))
          } else {
            locks.clear(windowPage, 1)
            model.clear(windowPage)
          }
          const records = [...locks.within(0, 2)]
          const counted = records.map(
            (record) =>
              [`${record.windowPage}:${record.offset}`, `${record.count} ${record.tag}`] as const,
          )
          expect(new Map(counted)).toEqual(model.all())
          expect(records).toHaveLength(model.all().size)
          for (const page of [0, 1]) {
            expect(locks.has(page, 4095)).toBe(model.all().has(`${page}:4095`))
          }
        }
      }),
      propertyRuns(300, 5000),
    )
  })
})

describe('MapCache.invalidateAll', () => {
  it('reports every lock for DMA, whatever was locked and unlocked before in whichever order', async () => {
    // Few pointers, so that most sequences come to the same offset in more than one way.
    const near = fc.record({ windowPage: fc.constant(0), offset: fc.constantFrom(0, 16) })
    const step = fc.tuple(fc.oneof(add, remove), near).map(([action, where]) => ({
      ...action,
      at: where,
    }))
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 12, size: 'max' }), async (steps) => {
        const { cache } = setUp(small(1))
        const model = new Locks()
        for (const { kind, at, tag } of steps) {
          const { windowPage, offset } = at
          // The only bucket is bucket 0, so page and window page are the same number.
          if (kind === 'add') {
            const place = cache.lock(testPage(windowPage), offset, 1, tag)
            model.add(place, offset, tag)
          } else if (model.remove(windowPage, offset)) {
            cache.unlock(toWindowPage(windowPage), offset)
          }
        }
        const { lockedDma } = await cache.invalidateAll()
        const dma = [...model.all()].filter(
          ([, text]) => (Number(text.split(' ')[1]) & LOCK_DMA) !== 0,
        )
        expect(
          new Map(lockedDma.map((lock) => [`${lock.windowPage}:${lock.offset}`, lock.locks])),
        ).toEqual(new Map(dma.map(([key, text]) => [key, Number(text.split(' ')[0])])))
        cache.close({ force: true })
      }),
      propertyRuns(300, 5000),
    )
  })
})
