import { domainId, GRANT_STATUS, grantReference, grantStatusName } from '@xmc/interface'
import { beforeEach, describe, expect, test } from 'vitest'
import { DOMID_SELF, GRANT_FLAGS, GRANT_MAP_FLAGS } from '../src/grant-table.ts'
import {
  BACKEND,
  GrantWorld,
  GUEST,
  HOST,
  READ_ONLY,
  RO,
  RW,
  STRANGER,
} from './helpers/grant-world.ts'

let world: GrantWorld
beforeEach(() => {
  world = new GrantWorld()
})

describe('the table', () => {
  test('starts with one frame of 512 empty entries and grows on demand, in place', () => {
    const before = world.tables.sharedTable(GUEST)
    expect(before.byteLength).toBe(4096)
    expect(world.entry(511)).toEqual({ flags: 0, domain: 0, frame: 0 })
    expect(world.tables.grow(GUEST, 3)).toBe(GRANT_STATUS.okay)
    expect(world.tables.size(GUEST)).toBe(1536)
    world.grant(8, RW, 0x1234_5678, STRANGER)
    expect([...new Uint8Array(before.buffer, 64, 8)]).toEqual([1, 0, 2, 0, 0x78, 0x56, 0x34, 0x12])
    expect(world.tables.grow(GUEST, 2)).toBe(GRANT_STATUS.okay)
    expect(world.tables.size(GUEST)).toBe(1536)
  })

  test('does not grow beyond its limit, nor for a domain that does not exist', () => {
    expect(world.tables.grow(GUEST, 65)).toBe(GRANT_STATUS.general_error)
    expect(world.tables.grow(domainId(7), 1)).toBe(GRANT_STATUS.bad_domain)
    expect(() => world.tables.sharedTable(domainId(7))).toThrow(
      expect.objectContaining({ code: 'ERR_XMC_ARGUMENT', field: 'domain' }),
    )
  })

  test('a limit that is none is refused', () => {
    expect(() => new GrantWorld({ maximumFrames: 0 })).toThrow(
      expect.objectContaining({ field: 'maximumFrames' }),
    )
    expect(() => new GrantWorld({ maximumMaptrackFrames: 1.5 })).toThrow(
      expect.objectContaining({ field: 'maximumMaptrackFrames' }),
    )
  })

  test('S79 64 frames of version 1: reference 32767 can be mapped, 32768 is -3', () => {
    expect(world.tables.grow(GUEST, 64)).toBe(0)
    world.grant(32_767, RW, 5)
    expect(world.map(32_767)).toEqual({ status: 0, handle: 0, machinePage: 1005 })
    expect(world.map(32_768)).toEqual({ status: GRANT_STATUS.bad_gntref })
  })

  test('S79 version 2 is not there', () => {
    expect(world.tables.setVersion(GUEST, 2)).toBe(-38)
    expect(world.tables.setVersion(GUEST, 1)).toBe(0)
    expect(world.tables.setVersion(GUEST, 3)).toBe(-22)
  })

  test('the version cannot change while an entry from 8 on is pinned', () => {
    world.grant(1, RW)
    world.mapped(1)
    expect(world.tables.setVersion(GUEST, 2)).toBe(-38)
    world.grant(8, RW)
    world.mapped(8)
    expect(world.tables.setVersion(GUEST, 2)).toBe(-16)
  })

  test('entries are swapped unless one is pinned or not there', () => {
    world.grant(8, RO, 20)
    world.grant(9, RW, 21)
    const [a, b] = [grantReference(8), grantReference(9)]
    expect(world.tables.swapEntries(GUEST, a, b)).toBe(0)
    expect(world.entry(8)).toEqual({ flags: RW, domain: BACKEND, frame: 21 })
    expect(world.entry(9)).toEqual({ flags: RO, domain: BACKEND, frame: 20 })
    world.mapped(8)
    expect(world.tables.swapEntries(GUEST, a, b)).toBe(GRANT_STATUS.eagain)
    expect(world.tables.swapEntries(GUEST, b, a)).toBe(GRANT_STATUS.eagain)
    expect(world.tables.swapEntries(GUEST, a, grantReference(512))).toBe(GRANT_STATUS.bad_gntref)
  })

  test('statuses have their names', () => {
    expect(grantStatusName(-3)).toBe('GNTST_bad_gntref')
    expect(grantStatusName(-13)).toBe('GNTST_no_space')
    expect(grantStatusName(-99)).toBe('GNTST -99')
  })
})

describe('mapping', () => {
  test('reading and writing are set in the entry while it is pinned', () => {
    world.grant(8, RW)
    const reader = world.mapped(8, READ_ONLY)
    expect(world.flags(8)).toBe(0x9)
    const writer = world.mapped(8)
    expect(world.flags(8)).toBe(0x19)
    expect(world.pins(8)).toEqual({ read: 1, write: 1 })
    expect(world.unmap(writer)).toBe(0)
    expect(world.flags(8)).toBe(0x9)
    expect(world.unmap(reader)).toBe(0)
    expect(world.flags(8)).toBe(0x1)
    expect(world.pins(8)).toEqual({ read: 0, write: 0 })
  })

  test('S80 the 129th read-only map of one reference is -1, a writable map still succeeds', () => {
    world.grant(8, RW)
    const first = world.mapped(8, READ_ONLY)
    for (let i = 1; i < 128; i++) world.mapped(8, READ_ONLY)
    expect(world.map(8, READ_ONLY)).toEqual({ status: GRANT_STATUS.general_error })
    expect(world.map(8).status).toBe(0)
    expect(world.pins(8)).toEqual({ read: 128, write: 1 })
    expect(world.unmap(first)).toBe(0)
    expect(world.map(8, READ_ONLY).status).toBe(0)
  })

  test('128 writable maps of one reference, too', () => {
    world.grant(8, RW)
    for (let i = 0; i < 128; i++) world.mapped(8)
    expect(world.map(8)).toEqual({ status: GRANT_STATUS.general_error })
    expect(world.map(8, READ_ONLY).status).toBe(0)
  })

  test('S81 an entry pinned read-only is checked again for the first writable map', () => {
    world.grant(8, RW)
    world.mapped(8, READ_ONLY)
    expect(world.map(8).status).toBe(0)
    world.grant(9, RO)
    world.mapped(9, READ_ONLY)
    expect(world.map(9)).toEqual({ status: GRANT_STATUS.general_error })
    expect(world.flags(9)).toBe(0xd)
  })

  test('a further map of an entry that is pinned fit is not checked against the flags', () => {
    world.grant(8, RW)
    world.mapped(8)
    world.grant(8, 0)
    expect(world.map(8).status).toBe(0)
    expect(world.map(8, READ_ONLY).status).toBe(0)
    expect(world.flags(8)).toBe(0)
  })

  test('a pinned entry keeps its page whatever the guest writes into it', () => {
    world.grant(8, RW, 20)
    world.mapped(8)
    world.grant(8, RW, 30)
    expect(world.map(8)).toMatchObject({ status: 0, machinePage: 1020 })
  })

  test.each([
    ['an empty entry', 0, 8, BACKEND, GRANT_STATUS.general_error],
    ['a grant for another domain', RW, 8, STRANGER, GRANT_STATUS.general_error],
    ['a transfer', GRANT_FLAGS.accept_transfer, 8, BACKEND, GRANT_STATUS.general_error],
    ['a transitive grant', GRANT_FLAGS.transitive, 8, BACKEND, GRANT_STATUS.general_error],
    ['a part of a page', RW | GRANT_FLAGS.sub_page, 8, BACKEND, GRANT_STATUS.general_error],
    ['a read-only grant, writable', RO, 8, BACKEND, GRANT_STATUS.general_error],
    ['a hole', RW, 100, BACKEND, GRANT_STATUS.bad_page],
  ])('%s is refused and leaves the flags alone', (_what, flags, frame, grantee, status) => {
    world.grant(8, flags, frame, grantee)
    expect(world.map(8)).toEqual({ status })
    expect(world.flags(8)).toBe(flags)
    expect([...world.tables.pinnedEntries()]).toEqual([])
    expect([...world.tables.mappings()]).toEqual([])
  })

  test('S85 a page that is paged out is -12, and can be mapped once it is back', () => {
    world.grant(8, RW)
    world.pagedOut.add(8)
    expect(world.map(8)).toEqual({ status: GRANT_STATUS.eagain })
    expect(world.flags(8)).toBe(RW)
    world.pagedOut.clear()
    expect(world.map(8).status).toBe(0)
  })

  test('reserved and unknown domains are -2, another grantee of a pinned entry is -1', () => {
    world.grant(8, RW)
    expect(world.map(8, HOST, { granter: DOMID_SELF }).status).toBe(GRANT_STATUS.bad_domain)
    expect(world.map(8, HOST, { granter: 77 }).status).toBe(GRANT_STATUS.bad_domain)
    world.mapped(8)
    expect(world.map(8, HOST, { mapper: STRANGER }).status).toBe(GRANT_STATUS.general_error)
  })

  test('a translated mapper may use no other flags than host_map and readonly', () => {
    world.grant(8, RW)
    for (const flag of ['device_map', 'application_map', 'contains_pte'] as const) {
      const flags = HOST | GRANT_MAP_FLAGS[flag]
      expect(world.map(8, flags)).toEqual({ status: GRANT_STATUS.general_error })
    }
    expect(world.map(8, GRANT_MAP_FLAGS.readonly).status).toBe(GRANT_STATUS.bad_gntref)
  })

  test('host and device mappings of an untranslated mapper go one by one', () => {
    world = new GrantWorld({ translated: false })
    world.grant(8, RW)
    const result = world.map(8, HOST | GRANT_MAP_FLAGS.device_map, { address: 0x5000 })
    expect(result).toEqual({ status: 0, handle: 0, machinePage: 1008 })
    const pins = { hostRead: 0, hostWrite: 1, deviceRead: 0, deviceWrite: 1 }
    expect(world.tables.pins(GUEST, grantReference(8))).toEqual(pins)
    const unmap = (address: number, deviceAddress: number): number =>
      world.tables.unmap({ mapper: BACKEND, handle: 0, address, deviceAddress })
    expect(unmap(0, 4096)).toBe(GRANT_STATUS.general_error)
    expect(unmap(0, 1008 * 4096)).toBe(0)
    expect(world.tables.pins(GUEST, grantReference(8))).toEqual({ ...pins, deviceWrite: 0 })
    expect([...world.tables.mappings()]).toMatchObject([{ host: true, device: false }])
    expect(unmap(0x5000, 0)).toBe(0)
    expect(unmap(0x5000, 0)).toBe(GRANT_STATUS.bad_handle)
    expect(world.flags(8)).toBe(RW)
  })
})

describe('unmapping', () => {
  test('a handle that is unknown, or was unmapped, is -4', () => {
    world.grant(8, RW)
    const mapping = world.mapped(8)
    expect(world.unmap({ ...mapping, handle: 4711 })).toBe(GRANT_STATUS.bad_handle)
    const stranger = { mapper: STRANGER, handle: mapping.handle, address: mapping.address }
    expect(world.tables.unmap(stranger)).toBe(GRANT_STATUS.bad_handle)
    expect(world.unmap(mapping)).toBe(0)
    expect(world.unmap(mapping)).toBe(GRANT_STATUS.bad_handle)
  })

  test('a wrong address is -1, address 0 does nothing and succeeds', () => {
    world.grant(8, RW)
    const mapping = world.mapped(8)
    expect(world.unmap({ ...mapping, address: 0x7000_0000 })).toBe(GRANT_STATUS.general_error)
    expect(world.unmap({ ...mapping, address: 0 })).toBe(0)
    expect(world.pins(8)).toEqual({ read: 0, write: 1 })
    expect(world.unmap(mapping)).toBe(0)
    expect(world.pins(8)).toEqual({ read: 0, write: 0 })
  })

  test('map-track: 255 mappings in one frame, 511 in two, then -13 until one goes', () => {
    for (const [maximumMaptrackFrames, most] of [
      [1, 255],
      [2, 511],
    ] as const) {
      world = new GrantWorld({ maximumMaptrackFrames })
      for (let reference = 8; reference < 16; reference++) world.grant(reference, RW)
      const mappings = Array.from({ length: most }, (_, i) => world.mapped(8 + (i % 8)))
      expect(new Set(mappings.map(({ handle }) => handle)).size).toBe(most)
      expect(world.map(8)).toEqual({ status: GRANT_STATUS.no_space })
      // Xen takes a handle before it looks at the reference.
      expect(world.map(4711)).toEqual({ status: GRANT_STATUS.no_space })
      expect(world.unmap(mappings[100] ?? { handle: -1, address: 0 })).toBe(0)
      expect(world.map(4711)).toEqual({ status: GRANT_STATUS.bad_gntref })
      expect(world.map(8).status).toBe(0)
      expect(world.map(8)).toEqual({ status: GRANT_STATUS.no_space })
    }
  })
})

describe('death and accounting', () => {
  test('mappings of a dead granter stay until they are unmapped, new ones are -2', () => {
    world.grant(8, RW)
    const mapping = world.mapped(8)
    world.dead.add(GUEST)
    world.tables.removeDomain(GUEST)
    expect(world.map(8)).toEqual({ status: GRANT_STATUS.bad_domain })
    expect([...world.tables.mappings()]).toEqual([
      {
        mapper: BACKEND,
        handle: 0,
        granter: GUEST,
        reference: 8,
        frame: 8,
        machinePage: 1008,
        writable: true,
        host: true,
        device: false,
        address: mapping.address,
      },
    ])
    expect([...world.tables.pinnedEntries()]).toMatchObject([{ granter: GUEST, reference: 8 }])
    expect(world.tables.isPinned(1008)).toBe(true)
    expect(world.unmap(mapping)).toBe(0)
    expect([...world.tables.mappings()]).toEqual([])
    expect([...world.tables.pinnedEntries()]).toEqual([])
    expect(world.tables.isPinned(1008)).toBe(false)
  })

  test('a new domain of the same id has a table of its own', () => {
    world.tables.grow(GUEST, 2)
    world.grant(8, RW)
    const old = world.mapped(8)
    world.tables.removeDomain(GUEST)
    expect(world.tables.size(GUEST)).toBe(512)
    expect(world.map(8)).toEqual({ status: GRANT_STATUS.general_error })
    expect(world.pins(8)).toEqual({ read: 0, write: 0 })
    expect(world.unmap(old)).toBe(0)
  })

  test('S84 a mapping that nobody unmaps keeps its pin until the mapper closes or dies', () => {
    world.grant(8, RW)
    world.grant(9, RO)
    world.mapped(8)
    world.mapped(8)
    world.mapped(9, READ_ONLY)
    expect(world.tables.releaseMapper(BACKEND)).toBe(3)
    expect(world.tables.releaseMapper(BACKEND)).toBe(0)
    expect([world.flags(8), world.flags(9)]).toEqual([RW, RO])
    world.mapped(8)
    world.tables.removeDomain(BACKEND)
    expect(world.flags(8)).toBe(RW)
  })

  test('one page granted twice stays pinned until both mappings are gone', () => {
    world.grant(8, RW, 20)
    world.grant(9, RO, 20)
    const first = world.mapped(8)
    const second = world.mapped(9, READ_ONLY)
    world.unmap(first)
    expect(world.tables.isPinned(1020)).toBe(true)
    world.unmap(second)
    expect(world.tables.isPinned(1020)).toBe(false)
  })
})
