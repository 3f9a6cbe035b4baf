import { GRANT_STATUS } from '@xmc/interface'
import { beforeEach, describe, expect, test } from 'vitest'
import { DOMID_SELF, type GrantCopyEnd } from '../src/grant-table.ts'
import { BACKEND, GrantWorld, grant, READ_ONLY, RO, RW } from './helpers/grant-world.ts'

let world: GrantWorld
beforeEach(() => {
  world = new GrantWorld()
})

describe('copying', () => {
  test('moves bytes from a grant, to a grant and between two, and leaves no pin', () => {
    world.grant(8, RO)
    world.grant(9, RW)
    world.page(1008).set([1, 2, 3, 4], 100)
    const bytes = new Uint8Array(8)
    const copy = { caller: BACKEND, length: 4 }
    const read = { ...copy, source: grant(8, 100), target: { bytes, offset: 2 } }
    expect(world.tables.copy(read)).toBe(0)
    expect([...bytes]).toEqual([0, 0, 1, 2, 3, 4, 0, 0])
    const write = { ...copy, source: { bytes, offset: 4 }, target: grant(9, 4092) }
    expect(world.tables.copy(write)).toBe(0)
    expect([...world.page(1009).subarray(4092)]).toEqual([3, 4, 0, 0])
    const between = { ...copy, source: grant(8, 100), target: grant(9, 0) }
    expect(world.tables.copy(between)).toBe(0)
    expect([...world.page(1009).subarray(0, 4)]).toEqual([1, 2, 3, 4])
    expect([world.flags(8), world.flags(9)]).toEqual([RO, RW])
    expect([...world.tables.pinnedEntries()]).toEqual([])
  })

  test('each bad end has its status, and nothing moves', () => {
    world.grant(8, RO)
    world.grant(9, RW, 100)
    const bytes = new Uint8Array(4096).fill(7)
    const own = { bytes, offset: 0 }
    const copy = (source: GrantCopyEnd, target: GrantCopyEnd, length = 16): number =>
      world.tables.copy({ caller: BACKEND, source, target, length })
    expect(copy(own, grant(8))).toBe(GRANT_STATUS.general_error)
    expect(copy(grant(10), own)).toBe(GRANT_STATUS.general_error)
    expect(copy(grant(512), own)).toBe(GRANT_STATUS.bad_gntref)
    expect(copy(grant(8, 0, 77), own)).toBe(GRANT_STATUS.bad_domain)
    expect(copy(grant(8, 0, DOMID_SELF), own)).toBe(GRANT_STATUS.general_error)
    expect(copy(grant(9), own)).toBe(GRANT_STATUS.bad_page)
    expect(copy(grant(8), grant(9))).toBe(GRANT_STATUS.bad_page)
    expect(copy(grant(8, 4081), own)).toBe(GRANT_STATUS.bad_copy_arg)
    expect(copy(grant(8), { bytes, offset: 4081 })).toBe(GRANT_STATUS.bad_copy_arg)
    expect(copy(grant(512), grant(9), 0)).toBe(0)
    world.pagedOut.add(8)
    expect(copy(grant(8), own)).toBe(GRANT_STATUS.eagain)
    expect(bytes.every((byte) => byte === 7)).toBe(true)
    expect([world.flags(8), world.flags(9)]).toEqual([RO, RW])
    expect([...world.tables.pinnedEntries()]).toEqual([])
  })

  test('a length or offset of more than 16 bits is refused', () => {
    const end = { bytes: new Uint8Array(8), offset: 0 }
    const operation = { caller: BACKEND, source: end, target: end, length: 65_536 }
    expect(() => world.tables.copy(operation)).toThrow(expect.objectContaining({ field: 'length' }))
    const target = { ...end, offset: -1 }
    expect(() => world.tables.copy({ ...operation, target, length: 1 })).toThrow(
      expect.objectContaining({ field: 'offset' }),
    )
  })

  test('a copy needs a pin of its own', () => {
    world.grant(8, RW)
    for (let i = 0; i < 128; i++) world.mapped(8, READ_ONLY)
    const own = { bytes: new Uint8Array(16), offset: 0 }
    const copy = { caller: BACKEND, length: 16 }
    const { tables } = world
    expect(tables.copy({ ...copy, source: grant(8), target: own })).toBe(GRANT_STATUS.general_error)
    expect(tables.copy({ ...copy, source: own, target: grant(8) })).toBe(0)
    expect(world.pins(8)).toEqual({ read: 128, write: 0 })
    expect(world.flags(8)).toBe(0x9)
  })
})
