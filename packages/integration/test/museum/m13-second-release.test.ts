import { describe, expect, it } from 'vitest'
import { failure } from '../helpers/failure.ts'
import { MuseumWorld, reference } from './museum-world.ts'

const released = failure('ERR_XMC_RELEASED')
const notLocked = failure('ERR_XMC_NOT_LOCKED')

describe('M13 a second release of a grant', () => {
  it('by its handle is refused, and leaves the lock of another handle alone', async () => {
    using world = new MuseumWorld()
    const cache = world.grantCache()
    world.grant(1)
    const mine = cache.map(reference(8), 0, 64, { write: true })
    const others = cache.map(reference(8), 0, 64, { write: true })
    world.calls()
    mine.release()
    expect(() => mine.release()).toThrow(released)
    await expect(mine.releaseAsync()).rejects.toEqual(released)
    expect(() => cache.release(mine)).toThrow(released)
    expect(world.calls()).toEqual([])
    others.writeUint32(0, 5)
    expect(world.guestRead(0x40)).toBe(5)
    others.release()
    expect(world.calls()).toEqual(['gu(1)'])
    expect(() => others.release()).toThrow(released)
    expect(world.calls()).toEqual([])
  })

  it('by its pointer is refused, and leaves the lock at another offset alone', async () => {
    using world = new MuseumWorld()
    const cache = world.grantCache()
    world.grant(1)
    const windowPage = cache.lock(reference(8), 0, 64, 0)
    cache.lock(reference(8), 16, 64, 0)
    world.calls()
    cache.unlock(windowPage, 0)
    expect(() => cache.unlock(windowPage, 0)).toThrow(notLocked)
    await expect(cache.unlockAsync(windowPage, 0)).rejects.toEqual(notLocked)
    expect(world.calls()).toEqual([])
    expect(cache.pageOf(windowPage)).toBe(8)
    cache.unlock(windowPage, 16)
    expect(world.calls()).toEqual(['gu(1)'])
    expect(() => cache.unlock(windowPage, 16)).toThrow(notLocked)
    expect(cache.statistics).toMatchObject({ locks: 0, entries: 0, lostPages: 0 })
  })

  it('by the guest that granted it is refused, and gives the reference out once', () => {
    using world = new MuseumWorld()
    const { grants } = world.guest
    const references = world.grant(1)
    expect(grants.unshare(references)).toEqual([])
    expect(() => grants.unshare(references)).toThrow(
      failure('ERR_XMC_ARGUMENT', { field: 'reference' }),
    )
    const again = [grants.share([0x40], { to: 0 }), grants.share([0x40], { to: 0 })]
    expect(again).toEqual([[8], [9]])
  })
})
