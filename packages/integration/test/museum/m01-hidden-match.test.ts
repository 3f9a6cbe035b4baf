import { describe, expect, it } from 'vitest'
import { MODES } from '../helpers/modes.ts'
import { frame, MuseumWorld } from './museum-world.ts'

describe('M1 a mapping behind an unlocked one', () => {
  it.each(MODES)('is found and mapped once, %s mode (S18, S19)', (mode, { retention }) => {
    using world = new MuseumWorld()
    world.guest.populate(0, 64 * 16)
    const cache = world.foreignCache({ retention })
    // As many buckets as the window holds, so that searches pass other entries; half are not locked.
    const pages = Array.from({ length: 32 }, (_, bucket) => frame(bucket * 16 + 5))
    const locked = pages.map((page) => cache.lock(page, 0, 16, 0))
    for (let bucket = 32; bucket < 64; bucket++) {
      cache.read(frame(bucket * 16), 0, new Uint8Array(16))
    }
    world.calls()

    for (const page of pages) cache.read(page, 0, new Uint8Array(16))
    const again = pages.map((page) => cache.lock(page, 0, 16, 0))
    expect(world.calls()).toEqual([])
    expect(again).toEqual(locked)
    expect(cache.statistics).toMatchObject({ entries: 64, lockedEntries: 32, locks: 64 })

    for (const windowPage of locked) cache.unlock(windowPage, 0)
    expect(world.calls()).toEqual([])
    expect(cache.statistics).toMatchObject({ lockedEntries: 32, locks: 32 })
    for (const windowPage of again) cache.unlock(windowPage, 0)
    const unmapped = mode === 'strict' ? 32 : 0
    expect(world.calls()).toEqual(Array.from({ length: unmapped }, () => 'um(16)'))
    expect(cache.statistics).toMatchObject({ entries: 64 - unmapped, locks: 0 })
  })
})
