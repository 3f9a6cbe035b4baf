import { describe, expect, it } from 'vitest'
import { MuseumWorld, reference } from './museum-world.ts'
import { runChild } from './run-child.ts'

describe('M3 a full invalidation', () => {
  it('leaves grants alone, locked or not (S38)', async () => {
    using world = new MuseumWorld()
    world.grant(2)
    const persistent = { maximumPages: 16, idleMilliseconds: 60_000 }
    const cache = world.grantCache({ persistent })
    const locked = cache.lock(reference(8), 0, 4, 0)
    const kept = cache.lock(reference(9), 0, 4, 0)
    cache.unlock(kept, 0)
    world.calls()
    const report = await cache.invalidateAll()
    expect(report).toMatchObject({ unmapped: 0, retired: 0, lockedDma: [] })
    expect(cache.lock(reference(8), 0, 4, 0)).toBe(locked)
    expect(cache.lock(reference(9), 0, 4, 0)).toBe(kept)
    expect(world.calls()).toEqual([])
    expect(cache.statistics).toMatchObject({ entries: 2, locks: 3 })
  })

  it('takes as many steps with a thousand unused places as with a million', async () => {
    const { output } = await runChild(new URL('children/invalidation-steps.ts', import.meta.url))
    const steps = Object.entries(output ?? {})
    expect(steps.map(([name]) => name)).toEqual(['small', 'large', 'inUse'])
    const [small = 0, large = 0, inUse = 0] = steps.map(([, count]) => Number(count))
    expect(small).toBeGreaterThan(0)
    expect(large).toBe(small)
    // So the measure does count what is walked.
    expect(inUse).toBeGreaterThan(small + 8)
  })
})
