import assert from 'node:assert/strict'
import { LOCK_DMA, LOCK_WRITE } from '@xmc/core'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { propertyRuns } from '../../../vitest.properties.ts'
import { testPage } from './doubles/guest-double.ts'
import { settle } from './doubles/set-up.ts'
import { BUCKET, CacheModel, codeOf, countOf, type Kind } from './models/cache-model.ts'

const kind: fc.Arbitrary<Kind> = fc.record({
  access: fc.constantFrom('read-write', 'as-requested'),
  pinned: fc.boolean(),
  keep: fc.constantFrom(undefined, 2, 100),
  translate: fc.boolean(),
})
const page = fc.oneof(
  fc.integer({ min: 1, max: 8 * BUCKET }),
  fc.integer({ min: 1, max: 8 * BUCKET }).map((nth) => nth + 2 ** 40),
)
const range = fc.record({
  page,
  offset: fc.constantFrom(0, 8, 4095),
  length: fc.constantFrom(0, 1, 16, 4096, 3 * 4096, BUCKET * 4096, 2 * BUCKET * 4096),
  flags: fc.constantFrom(0, 0, LOCK_WRITE, LOCK_DMA | LOCK_WRITE),
})
const choice = fc.nat({ max: 1000 })

const lock = range.map((value) => ({ kind: 'lock' as const, ...value }))
const lockAsync = range.map((value) => ({ kind: 'lockAsync' as const, ...value }))
const list = fc.record({
  kind: fc.constant('list' as const),
  pages: fc.array(page, { minLength: 1, maxLength: 2 * BUCKET }),
  write: fc.boolean(),
})
const unlock = choice.map((value) => ({ kind: 'unlock' as const, nth: value }))
const unlockAsync = choice.map((value) => ({ kind: 'unlockAsync' as const, nth: value }))
const read = fc.record({
  kind: fc.constant('read' as const),
  page,
  pages: fc.integer({ min: 1, max: 3 }),
})
const replace = fc.record({
  kind: fc.constant('replace' as const),
  nth: choice,
  to: fc.integer({ min: 0, max: 8 }),
})
const punch = fc.record({
  kind: fc.constantFrom('punch' as const, 'populate' as const),
  first: page,
  count: fc.integer({ min: 1, max: 2 * BUCKET }),
  errno: fc.constantFrom(22, 2),
})
const single = fc.constantFrom(
  { kind: 'invalidateAll' as const },
  { kind: 'flush' as const },
  { kind: 'arriving' as const },
  { kind: 'failMap' as const },
  { kind: 'failUnmap' as const },
)
const settled = fc.constant({ kind: 'settle' as const })

const step = fc.oneof(
  { weight: 8, arbitrary: lock },
  { weight: 2, arbitrary: list },
  { weight: 8, arbitrary: unlock },
  { weight: 3, arbitrary: read },
  { weight: 2, arbitrary: replace },
  { weight: 3, arbitrary: punch },
  { weight: 2, arbitrary: single },
)
const asyncStep = fc.oneof(
  { weight: 8, arbitrary: lockAsync },
  { weight: 3, arbitrary: unlockAsync },
  { weight: 4, arbitrary: settled },
  { weight: 10, arbitrary: step },
)
type Of<A> = A extends fc.Arbitrary<infer T> ? T : never
type Step = Of<typeof step>
type AsyncStep = Of<typeof asyncStep>

const MISSING = ['ERR_XMC_PAGES_MISSING', 'ERR_XMC_PAGED_OUT']
const FAILED = ['ERR_XMC_SYSTEM_CALL', 'ERR_XMC_UNMAP_FAILED']

/** Does one step, and checks its outcome; with requests under way, what can be said of it. */
async function run(model: CacheModel, action: Step, isQuiet: boolean): Promise<void> {
  const { cache, double } = model
  const isArmed = double.failNextMap !== undefined || double.failNextUnmap
  /** Checks an error against what may go wrong. */
  const check = (error: unknown, hasPages: boolean, slotCount: number): void => {
    const codes = [
      ...(isArmed ? FAILED : []),
      ...(hasPages ? [] : MISSING),
      ...(isQuiet && model.hasRoom(slotCount) ? [] : ['ERR_XMC_WINDOW_FULL']),
    ]
    if (!codes.includes(String(codeOf(error)))) throw error
  }
  switch (action.kind) {
    case 'lock': {
      const { page: first, offset, length, flags } = action
      const count = countOf(action)
      const hasPages = model.has(first, count)
      try {
        model.took(cache.lock(testPage(first), offset, length, flags), action)
      } catch (error) {
        check(error, hasPages, Math.ceil(((first % BUCKET) + count) / BUCKET))
      }
      break
    }
    case 'list': {
      const { pages, write } = action
      const hasPages = pages.every((at) => !double.missing.has(at))
      try {
        const mapping = cache.mapList(pages.map(testPage), { write })
        model.tookList(mapping.pointer().windowPage, pages, write ? LOCK_WRITE : 0)
      } catch (error) {
        check(error, hasPages, Math.ceil(pages.length / BUCKET))
      }
      break
    }
    case 'unlock': {
      const taken = model.takeBack(action.nth)
      try {
        if (taken !== undefined) cache.unlock(taken.place, taken.offset)
      } catch (error) {
        check(error, true, 0)
      }
      break
    }
    case 'read': {
      const { page: first, pages } = action
      const bytes = new Uint8Array(pages * 4096)
      const hasPages = model.has(first, pages)
      try {
        cache.read(testPage(first), 0, bytes)
        const words = new DataView(bytes.buffer)
        for (let at = 0; at < pages; at++) {
          assert.ok(model.mayBe(first + at).includes(words.getUint32(at * 4096, true)))
        }
      } catch (error) {
        check(error, hasPages, Math.ceil(((first % BUCKET) + pages) / BUCKET))
      }
      break
    }
    case 'replace':
      if (isQuiet) runReplace(model, action)
      break
    case 'punch':
      double.punch(action.first, action.count, action.errno)
      break
    case 'populate':
      double.populate(action.first, action.count)
      break
    case 'invalidateAll': {
      // What was hidden before was reported then.
      const before = model.locks.filter((at) => (at.flags & LOCK_DMA) !== 0 && at.retired === 'no')
      const empty = model.empty()
      const report = await cache.invalidateAll()
      model.invalidated(empty)
      const reported = report.lockedDma.reduce((sum, at) => sum + at.locks, 0)
      assert.ok(reported >= (double.pinned ? 0 : before.length))
      break
    }
    case 'flush':
      cache.flush()
      break
    case 'arriving':
      model.setArriving(!cache.guestArriving)
      break
    case 'failMap':
      double.failNextMap = 12
      break
    case 'failUnmap':
      double.failNextUnmap = true
      break
  }
}

/** Replaces the mapping of the nth lock. */
function runReplace(model: CacheModel, action: { nth: number; to: number }): void {
  const { cache, double } = model
  const from = model.locks[action.nth % Math.max(1, model.locks.length)]
  const { index, slotCount } = from ?? { index: 0, slotCount: 1 }
  if (index < 0) return
  const count = slotCount * BUCKET
  const first = action.to * BUCKET
  const locks = model.replaceable(index, slotCount)
  const isMissing = !Array.from({ length: count }, (_, nth) => first + nth).every(
    (at) => !double.missing.has(at),
  )
  const isArmed = double.failNextMap !== undefined
  let code: unknown
  try {
    cache.replace(testPage(index * BUCKET), testPage(first), count)
  } catch (error) {
    code = codeOf(error)
  }
  const isMoved = (at: (typeof locks)[number]): boolean =>
    cache.pageOf(at.place) === (at.contents[0]?.page ?? 0) + first - index * BUCKET
  if (double.pinned) assert.equal(code, 'ERR_XMC_REFUSED')
  else if (code === 'ERR_XMC_NOT_MAPPED') {
    assert.ok(locks.every((at) => at.retired === 'maybe'))
  } else {
    const ofMissing = isMissing ? 'ERR_XMC_PAGES_MISSING' : undefined
    assert.equal(code, isArmed ? 'ERR_XMC_SYSTEM_CALL' : ofMissing)
    // The address of a mapping does not tell whether its call failed: it may have been this one before.
    const failed = locks.filter((at) => isArmed && at.slot * BUCKET === double.failedMapAt)
    const others = locks.filter((at) => !failed.includes(at))
    const moved = index === action.to ? others : others.filter(isMoved)
    assert.ok(others.every((at) => moved.includes(at) || at.retired === 'maybe'))
    model.replaceFailed(failed)
    model.replaced(moved, action.to)
  }
}

/** Starts an asynchronous step; resolves when it has ended and its outcome was checked. */
async function start(model: CacheModel, action: AsyncStep): Promise<void> {
  const { cache } = model
  if (action.kind === 'lockAsync') {
    const { page: first, offset, length, flags } = action
    const asked = model.invalidations
    try {
      const place = await cache.lockAsync(testPage(first), offset, length, flags)
      model.took(place, action, asked)
    } catch (error) {
      // The guest, the window and what fails may have changed any number of times.
      const codes = [...MISSING, ...FAILED, 'ERR_XMC_WINDOW_FULL']
      if (!codes.includes(String(codeOf(error)))) throw error
    }
  } else if (action.kind === 'unlockAsync') {
    const taken = model.takeBack(action.nth)
    if (taken === undefined) return
    try {
      await cache.unlockAsync(taken.place, taken.offset)
    } catch (error) {
      assert.equal(codeOf(error), 'ERR_XMC_UNMAP_FAILED')
    }
  }
}

describe('MapCache', () => {
  it('does what a simple model says, step by step', async () => {
    await fc.assert(
      fc.asyncProperty(
        kind,
        fc.array(step, { maxLength: 40, size: 'max' }),
        async (made, steps) => {
          const model = new CacheModel(made)
          try {
            for (const action of steps) {
              await run(model, action, true)
              model.check()
            }
            model.end()
            expect(model.locks).toEqual([])
          } finally {
            model.dispose()
          }
        },
      ),
      propertyRuns(60, 500),
    )
  })

  it('does what a simple model says with any number of requests under way', async () => {
    await fc.assert(
      fc.asyncProperty(
        kind,
        fc.array(asyncStep, { maxLength: 40, size: 'max' }),
        async (made, steps) => {
          const model = new CacheModel(made)
          const underWay = new Set<Promise<void>>()
          const failures: unknown[] = []
          model.hasAsynchronous = true
          model.double.beforeMap = settle
          model.double.beforeUnmap = settle
          try {
            for (const action of steps) {
              if (action.kind === 'settle') await settle()
              else if (action.kind === 'lockAsync' || action.kind === 'unlockAsync') {
                const ended = start(model, action)
                  .catch((error: unknown) => failures.push(error))
                  .then(() => void underWay.delete(ended))
                underWay.add(ended)
              } else await run(model, action, underWay.size === 0)
              model.check(underWay.size === 0)
              expect(failures).toEqual([])
            }
            await Promise.all(underWay)
            expect(failures).toEqual([])
            model.check()
            model.end()
          } finally {
            model.dispose()
          }
        },
      ),
      propertyRuns(60, 500),
    )
  })
})
