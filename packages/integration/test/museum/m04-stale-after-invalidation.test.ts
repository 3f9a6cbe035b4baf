import { describe, expect, it } from 'vitest'
import { DEFAULT, type Mode, STRICT } from '../helpers/modes.ts'
import { frame, MuseumWorld } from './museum-world.ts'

// Buckets whose numbers are equal modulo 32,768 share a place in the original.
const FIRST = 0
const SECOND = 0x8000 * 256
const THIRD = 0x10000 * 256
const OTHER = 3 * 256
const ALL = [FIRST, SECOND, THIRD, OTHER]

const CASES: readonly (readonly [string, Mode, readonly number[]])[] = [
  ['with nothing locked', DEFAULT, []],
  ['behind a locked one (S36)', DEFAULT, [FIRST]],
  ['between locked ones, in strict mode (S36)', STRICT, [FIRST, THIRD]],
]

describe('M4 a full invalidation drops every unlocked mapping', () => {
  it.each(CASES)('%s', async (_name, { retention }, locks) => {
    using world = new MuseumWorld()
    const cache = world.foreignCache({ pageCount: 8 * 256, bucketShift: 20, retention })
    for (const page of ALL) {
      world.guest.populate(page, 256)
      world.guestWrite(page, 1)
    }
    const locked = locks.map((page) => cache.lock(frame(page), 0, 4, 0))
    const unlocked = ALL.filter((page) => !locks.includes(page))
    for (const page of unlocked) expect(cache.loadUint32(frame(page), 0)).toBe(1)

    for (const page of ALL) {
      world.guest.depopulate(page, 256)
      world.guest.populate(page, 256)
      world.guestWrite(page, 2)
    }
    const report = await cache.invalidateAll()
    for (const page of unlocked) expect(cache.loadUint32(frame(page), 0)).toBe(2)
    // Who holds a lock keeps the old page; a new request sees the new one.
    for (const windowPage of locked) {
      expect(cache.view.getUint32(windowPage * 4096, true)).toBe(1)
    }
    for (const page of locks) expect(cache.loadUint32(frame(page), 0)).toBe(2)
    expect(report).toMatchObject({ unmapped: unlocked.length, retired: locks.length })
  })
})
