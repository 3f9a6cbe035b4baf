import { LOCK_DMA, LOCK_WRITE, type MapCache } from '@xmc/core'
import type { WindowPage } from '@xmc/interface'
import { describe, expect, it } from 'vitest'
import { failure } from '../helpers/failure.ts'
import { MODES } from '../helpers/modes.ts'
import { frame, MuseumWorld, reference } from './museum-world.ts'

/** What fits above a 12-bit offset in a positive 32-bit integer. */
const LIMIT = 524_287

describe('M7 the counter of locks', () => {
  it.each(MODES)(
    'of foreign memory counts hundreds of thousands, and refuses what it cannot count, %s mode (S33)',
    async (_mode, { retention }) => {
      using world = new MuseumWorld()
      world.guest.populate(0, 32)
      world.guestWrite(3, 0xda7a)
      const cache = world.foreignCache({ pageCount: 16, retention })
      const windowPage = fill(cache, () => cache.lock(frame(3), 64, 4, LOCK_DMA))
      expect(cache.statistics).toMatchObject({ lockedEntries: 1, locks: LIMIT })
      expect(() => cache.lock(frame(3), 64, 4, 0)).toThrow(
        failure('ERR_XMC_LOCK_LIMIT', { limit: LIMIT }),
      )
      expect(cache.statistics.locks).toBe(LIMIT)

      // Another offset of the page has locks of its own, and nothing takes the place away.
      expect(cache.lock(frame(3), 128, 4, 0)).toBe(windowPage)
      expect(() => cache.lock(frame(16), 0, 4, 0)).toThrow(failure('ERR_XMC_WINDOW_FULL'))
      expect(cache.flush()).toBe(0)
      const { retired, lockedDma } = await cache.invalidateAll()
      expect({ retired, lockedDma }).toMatchObject({ retired: 1, lockedDma: [{ locks: LIMIT }] })
      expect(cache.view.getUint32(windowPage * 4096, true)).toBe(0xda7a)

      world.calls()
      for (let nth = 0; nth < LIMIT; nth++) cache.unlock(windowPage, 64)
      expect(cache.statistics).toMatchObject({ lockedEntries: 1, locks: 1 })
      expect(world.calls()).toEqual([])
      cache.unlock(windowPage, 128)
      expect(world.calls()).toEqual(['um(16)'])
    },
  )

  it('of a grant counts hundreds of thousands, and refuses what it cannot count', () => {
    using world = new MuseumWorld()
    world.grant(1)
    const cache = world.grantCache()
    const windowPage = fill(cache, () => cache.lock(reference(8), 0, 64, LOCK_WRITE))
    expect(cache.statistics).toMatchObject({ lockedEntries: 1, locks: LIMIT })
    expect(() => cache.map(reference(8), 0, 64, { write: true })).toThrow(
      failure('ERR_XMC_LOCK_LIMIT', { limit: LIMIT }),
    )
    expect(cache.statistics.locks).toBe(LIMIT)
    for (let nth = 1; nth < LIMIT; nth++) cache.unlock(windowPage, 0)
    expect(world.calls()).toEqual(['gm[8]rw'])
    cache.unlock(windowPage, 0)
    expect(world.calls()).toEqual(['gu(1)'])
  })
})

/** Takes as many locks at one pointer as it can have. */
function fill(cache: Pick<MapCache<number>, 'statistics'>, lock: () => WindowPage): WindowPage {
  const windowPage = lock()
  for (let nth = 1; nth < 300; nth++) lock()
  // A counter of 8 bits starts again at 256.
  expect(cache.statistics.locks).toBe(300)
  for (let nth = 300; nth < LIMIT; nth++) lock()
  return windowPage
}
