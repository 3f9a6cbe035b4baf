import { windowPage } from '@xmc/interface'
import { describe, expect, it } from 'vitest'
import { failure } from '../helpers/failure.ts'
import { MuseumWorld, reference } from './museum-world.ts'

const einval = failure('ERR_XMC_SYSTEM_CALL', { errnoName: 'EINVAL' })

describe('M15 an unmap with another start or count', () => {
  it('is refused with EINVAL, and the mapping stays (S83)', () => {
    using world = new MuseumWorld()
    const references = world.grant(5)
    const table = world.hypervisor.grantTable()
    const window = world.open(16)
    table.map({
      domain: world.guest.id,
      window,
      windowPage: windowPage(4),
      references: references.slice(0, 3),
      writable: true,
    })
    const view = new DataView(window.buffer, window.byteOffset, 16 * 4096)
    const wrong = [
      [4, 1],
      [4, 2],
      [4, 4],
      [5, 2],
      [5, 3],
      [3, 3],
      [4, 0],
    ]
    for (const [start = 0, count = 0] of wrong) {
      expect(() => table.unmap(window, windowPage(start), count)).toThrow(einval)
      expect([4, 5, 6].map((page) => view.getUint32(page * 4096, true))).toEqual([1, 2, 3])
      expect(world.hypervisor.accounting.totals()).toMatchObject({ mappings: 1, pinnedGrants: 3 })
    }
    table.unmap(window, windowPage(4), 3)
    expect([4, 5, 6].map((page) => view.getUint32(page * 4096, true))).toEqual([0, 0, 0])
    expect(() => table.unmap(window, windowPage(4), 3)).toThrow(einval)
    expect(world.mapped()).toEqual([])
  })
})

describe('M15b a cache of grants', () => {
  it('unmaps with exactly the start and count that it mapped with (S52)', () => {
    using world = new MuseumWorld()
    const references = world.grant(5)
    const cache = world.grantCache()
    const mappings = [
      cache.map(reference(8), 0, 64),
      cache.map(reference(8), 0xff0, 0x3000),
      cache.mapList(references.toReversed()),
      cache.map(reference(8), 0x100, 4),
    ]
    const places = mappings.map((mapping) => mapping.pointer().windowPage)
    expect(places[3]).toBe(places[0])
    expect(world.calls()).toEqual(['gm[8]r', 'gm[8,9,10,11]r', 'gm[12,11,10,9,8]r'])
    const { log } = world.hypervisor.accounting
    for (const nth of [2, 0, 3, 1]) mappings[nth]?.release()
    expect(log.map(({ windowPage: start, pageCount, errno }) => [start, pageCount, errno])).toEqual(
      [
        [places[2], 5, 0],
        [places[0], 1, 0],
        [places[1], 4, 0],
      ],
    )
    expect(world.mapped()).toEqual([])
    expect(world.guest.grants.unshare(references)).toEqual([])
  })
})
