import { LOCK_WRITE } from '@xmc/core'
import { describe, expect, it } from 'vitest'
import { failure } from '../helpers/failure.ts'
import { frame, MuseumWorld, reference } from './museum-world.ts'

describe('M2 a request to write', () => {
  it('gets a mapping of its own where a grant is mapped read-only (S50)', () => {
    using world = new MuseumWorld()
    world.grant(1)
    const cache = world.grantCache()
    const read = cache.lock(reference(8), 0x123, 100, 0)
    const write = cache.lock(reference(8), 0x200, 16, LOCK_WRITE)
    expect(write).not.toBe(read)
    expect(world.calls()).toEqual(['gm[8]r', 'gm[8]rw'])

    cache.view.setUint32(write * 4096, 0x1234, true)
    expect(world.guestRead(0x40)).toBe(0x1234)
    expect(cache.view.getUint32(read * 4096, true)).toBe(0x1234)
    cache.unlock(write, 0x200)
    cache.unlock(read, 0x123)
    expect(world.calls()).toEqual(['gu(1)', 'gu(1)'])
  })

  it('may serve a read, and never the reverse (S51)', () => {
    using world = new MuseumWorld()
    world.grant(1)
    const cache = world.grantCache()
    world.grant(2)
    const writer = cache.map(reference(9), 0, 64, { write: true })
    expect(cache.map(reference(9), 0, 64).pointer()).toEqual(writer.pointer())
    expect(world.calls()).toEqual(['gm[9]rw'])
    const first = cache.map(reference(8), 0, 64)
    const second = cache.map(reference(8), 0, 64, { write: true })
    const third = cache.map(reference(8), 0, 64)
    expect(world.calls()).toEqual(['gm[8]r', 'gm[8]rw'])
    // Beside a read-only mapping it does not: its pin is to go with its writer.
    expect(third.pointer()).toEqual(first.pointer())
    second.writeUint32(32, 7)
    expect([first, third].map((mapping) => mapping.readUint32(32))).toEqual([7, 7])
    expect(world.guest.memory.readUint32(0x4_0020)).toBe(7)
    expect(() => third.writeUint32(0, 1)).toThrow(failure('ERR_XMC_READ_ONLY'))
  })

  it('gets a mapping of its own where foreign memory is mapped read-only', () => {
    using world = new MuseumWorld()
    world.guest.populate(0, 16)
    const cache = world.foreignCache({ access: 'as-requested' })
    const read = cache.lock(frame(3), 0, 4, 0)
    const write = cache.lock(frame(3), 0, 4, LOCK_WRITE)
    expect(write).not.toBe(read)
    expect(world.calls()).toEqual(['fm(0x0,16)r', 'fm(0x0,16)'])
    cache.storeUint32(frame(3), 0, 9)
    expect(world.guestRead(3)).toBe(9)
  })
})
