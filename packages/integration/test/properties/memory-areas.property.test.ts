import assert from 'node:assert/strict'
import { LOCK_WRITE } from '@xmc/core'
import { MemoryAreaAccount } from '@xmc/hostmem'
import { XmcError } from '@xmc/interface'
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { propertyRuns } from '../../../../vitest.properties.ts'
import { ForeignWorld, frameOf } from '../helpers/foreign-world.ts'
import { contents } from '../helpers/guest-contents.ts'
import { MODES } from '../helpers/modes.ts'
import type { Pointer } from '../helpers/world.ts'

/** 12 buckets of 16 pages. */
const PAGES = 12 * 16

const step = fc.oneof(
  fc.record({
    kind: fc.constantFrom('lock' as const, 'lockAsync' as const, 'read' as const, 'load' as const),
    page: fc.nat({ max: PAGES - 1 }),
    count: fc.integer({ min: 1, max: 20 }),
    write: fc.boolean(),
  }),
  fc.record({ kind: fc.constant('release' as const), nth: fc.nat() }),
  fc.record({
    kind: fc.constantFrom('populate' as const, 'depopulate' as const),
    page: fc.nat({ max: PAGES - 1 }),
    count: fc.integer({ min: 1, max: 3 }),
  }),
  fc.record({ kind: fc.constant('invalidate' as const) }),
)

interface Held extends Pointer {
  readonly address: number
  readonly length: number
}

/** Runs `act`; what it throws must be of a hole or of the areas. */
async function attempt<T>(act: () => T | Promise<T>): Promise<T | undefined> {
  try {
    return await act()
  } catch (error) {
    assert.ok(error instanceof XmcError, String(error))
    assert.ok(['ERR_XMC_PAGES_MISSING', 'ERR_XMC_MEMORY_AREAS'].includes(error.code), error.message)
    return undefined
  }
}

it.each(MODES)(
  'in %s mode areas are never exceeded, whatever is asked for, and every byte is right',
  async (_, mode) => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { maxLength: 60 }),
        fc.array(fc.boolean(), { minLength: PAGES, maxLength: PAGES }),
        fc.integer({ min: 4, max: 60 }),
        async (steps, populated, memoryAreas) => {
          const areaAccount = new MemoryAreaAccount({ limit: 10_000, measure: () => 0 })
          using world = new ForeignWorld({
            ...mode,
            areaAccount,
            memoryAreas,
            bucketShift: 16,
            windowPages: 64 * 16,
          })
          const there = new Set<number>()
          for (const [page, isThere] of populated.entries()) {
            if (!isThere) continue
            world.populate(page, 1)
            there.add(page)
          }
          const held: Held[] = []
          for (const action of steps) {
            if (action.kind === 'release') {
              const [pointer] = held.splice(action.nth % Math.max(1, held.length), 1)
              if (pointer !== undefined) world.release(pointer)
            } else if (action.kind === 'invalidate') {
              // oxlint-disable-next-line no-await-in-loop -- the steps are a sequence
              await world.cache.invalidateAll()
            } else if (!('write' in action) && action.kind === 'populate') {
              world.populate(action.page, action.count)
              for (let page = action.page; page < action.page + action.count; page++)
                there.add(page)
            } else if (!('write' in action)) {
              const isHeld = held.some(
                ({ address, length }) =>
                  address < (action.page + action.count) * 4096 &&
                  action.page * 4096 < address + length,
              )
              if (isHeld) continue
              world.guest.depopulate(action.page, action.count)
              for (let page = action.page; page < action.page + action.count; page++)
                there.delete(page)
              // The guest says so with an invalidation; what was mapped shows the old pages until then.
              // oxlint-disable-next-line no-await-in-loop -- the steps are a sequence
              await world.cache.invalidateAll()
            } else {
              const { page, count, kind } = action
              const address = page * 4096
              const length = count * 4096
              const all = Array.from({ length: count }, (__, nth) => page + nth)
              const isComplete = all.every((one) => there.has(one))
              if (kind === 'read' || kind === 'load') {
                // oxlint-disable-next-line no-await-in-loop -- the steps are a sequence
                const bytes = await attempt(() =>
                  kind === 'read'
                    ? world.access(address, length)
                    : Uint8Array.of(world.cache.loadUint8(frameOf(address), 9)),
                )
                if (bytes === undefined) continue
                expect(kind === 'load' || isComplete).toBe(true)
                expect(bytes).toEqual(
                  kind === 'read' ? contents(address, length) : contents(address + 9, 1),
                )
              } else {
                const flags = action.write ? LOCK_WRITE : 0
                // oxlint-disable-next-line no-await-in-loop -- the steps are a sequence
                const windowPage = await attempt(() =>
                  kind === 'lock'
                    ? world.cache.lock(frameOf(address), 0, length, flags)
                    : world.cache.lockAsync(frameOf(address), 0, length, flags),
                )
                if (windowPage === undefined) continue
                held.push({ windowPage, offset: 0, address, length })
              }
            }
            expect(world.cache.statistics.memoryAreas).toBeLessThanOrEqual(memoryAreas)
            for (const pointer of held) {
              expect(world.lookup(pointer)).toBe(pointer.address)
              expect(world.bytesAt(pointer, pointer.length)).toEqual(
                contents(pointer.address, pointer.length),
              )
            }
          }
          for (const pointer of held) world.release(pointer)
          expect(world.cache.statistics).toMatchObject({ locks: 0, lockedEntries: 0 })
        },
      ),
      propertyRuns(8, 400),
    )
  },
)
