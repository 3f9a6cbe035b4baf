import type { WindowPage } from '@xmc/interface'
import { describe, expect, it } from 'vitest'
import { MODES, STRICT } from '../helpers/modes.ts'
import { frame, MuseumWorld } from './museum-world.ts'

describe('M5 the first mapping of a bucket goes with its last lock', () => {
  it('when it is a grant, which the guest takes back', () => {
    using world = new MuseumWorld()
    const references = world.grant(8)
    const cache = world.grantCache()
    const mappings = references.map((reference) => cache.map(reference, 0, 64))
    expect(world.guest.grants.unshare(references)).toEqual(references)
    for (const mapping of mappings) mapping.release()
    expect(world.guest.grants.unshare(references)).toEqual([])
    expect(world.hypervisor.accounting.leftovers()).toEqual([])
  })

  it('when it is foreign memory in strict mode (S29, S30)', () => {
    using world = new MuseumWorld()
    world.guest.populate(0, 3 * 16)
    const cache = world.foreignCache(STRICT)
    const pages = [0, 16, 32].map((page) => cache.lock(frame(page), 0, 4, 0))
    world.calls()
    for (const windowPage of pages) cache.unlock(windowPage, 0)
    expect(world.calls()).toEqual(['um(16)', 'um(16)', 'um(16)'])
    expect(world.hypervisor.accounting.leftovers()).toEqual([])
  })
})

describe('M5b the others of a bucket stay found when one goes', () => {
  it.each(MODES)('%s mode (S29–S31)', (_mode, { retention }) => {
    using world = new MuseumWorld()
    const cache = world.foreignCache({ retention })
    const lock = (bucket: number): WindowPage => cache.lock(frame(bucket * 16 + 1), 8, 4, 0)
    // Sixteen times three buckets that share a place in the original.
    const groups = Array.from({ length: 16 }, (_, nth) => {
      const buckets = [nth, 0x8000 + nth, 0x10000 + nth]
      for (const bucket of buckets) world.guest.populate(bucket * 16, 16)
      return { stays: 0x10000 + nth, goes: buckets.slice(0, 2) }
    })
    const staying = groups.map(({ stays }) => lock(stays))
    const going = groups.flatMap(({ goes }) => goes.map(lock))
    world.calls()
    for (const windowPage of going) cache.unlock(windowPage, 8)
    cache.flush()
    expect(world.calls()).toEqual(going.map(() => 'um(16)'))

    expect(groups.map(({ stays }) => lock(stays))).toEqual(staying)
    for (const { stays } of groups) cache.read(frame(stays * 16 + 1), 0, new Uint8Array(4))
    expect(world.calls()).toEqual([])
    expect(staying.map((windowPage) => cache.pageOf(windowPage))).toEqual(
      groups.map(({ stays }) => stays * 16 + 1),
    )
    for (const windowPage of [...staying, ...staying]) cache.unlock(windowPage, 8)
    cache.flush()
    expect(world.calls()).toEqual(staying.map(() => 'um(16)'))
    expect(world.hypervisor.accounting.leftovers()).toEqual([])
  })
})
