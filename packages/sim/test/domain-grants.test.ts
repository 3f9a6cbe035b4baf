import { grantReference, guestFrame } from '@xmc/interface'
import { describe, expect, test } from 'vitest'
import { GrantDma } from '../src/index.ts'
import { errnoOf, RAM, World } from './helpers/world.ts'

describe('share', () => {
  test('gives consecutive references from 8 on, in the order of the frames', () => {
    using world = new World()
    const { grants } = world.guest
    expect(grants.share([RAM + 5, RAM + 1], { to: 0 })).toEqual([8, 9])
    expect(grants.share({ first: RAM, count: 3 }, { to: 0, readonly: true })).toEqual([10, 11, 12])
    expect(grants.entry(9)).toEqual({ flags: 1, domain: 0, frame: RAM + 1 })
    expect(grants.entry(12)).toEqual({ flags: 5, domain: 0, frame: RAM + 2 })
  })

  test('keeps clear of references that were allowed by number, and uses freed ones again', () => {
    using world = new World()
    const { grants } = world.guest
    grants.allow(9, { to: 0, frame: RAM })
    expect(grants.share([RAM, RAM], { to: 0 })).toEqual([10, 11])
    expect(grants.share([RAM], { to: 0 })).toEqual([8])
    expect(grants.unshare([grantReference(10), grantReference(11)])).toEqual([])
    expect(grants.share([RAM], { to: 0 })).toEqual([10])
  })

  test('makes the table larger, up to the limit', () => {
    using world = new World({ maximumGrantFrames: 2 })
    const { grants } = world.guest
    expect(grants.size).toBe(512)
    expect(grants.share({ first: RAM, count: 600 }, { to: 0 })[599]).toBe(607)
    expect(grants.size).toBe(1024)
    expect(errnoOf(() => grants.share({ first: RAM, count: 600 }, { to: 0 }))).toBe('ENOSPC')
    expect(errnoOf(() => grants.grow(3))).toBe('ENOSPC')
    expect(grants.share({ first: RAM, count: 416 }, { to: 0 })[415]).toBe(1023)
  })

  test('shares its references with the guest’s DMA layer', () => {
    using world = new World()
    const [first] = world.share([RAM])
    const dma = new GrantDma(world.guest.grants, world.hypervisor.control.id)
    const address = dma.allocateCoherent(guestFrame(RAM + 1), 1)
    expect([first, Number((address >> 12n) & 0xffffffffn)]).toEqual([8, 9])
    world.guestWrite(RAM + 1, 0x1d)
    world.mapReferences([9])
    expect(world.read(0)).toBe(0x1d)
  })
})

describe('end and unshare', () => {
  test('a mapped grant is not taken back', () => {
    using world = new World()
    const references = world.share([RAM, RAM + 1])
    world.mapReferences([references[1] ?? 0])
    expect(world.guest.grants.unshare(references)).toEqual([references[1]])
    expect(world.guest.grants.entry(references[1] ?? 0).flags).toBe(1 + 8 + 16)
    expect(world.guest.grants.pins(references[1] ?? 0)).toEqual({
      hostRead: 0,
      hostWrite: 1,
      deviceRead: 0,
      deviceWrite: 0,
    })
    world.unmapGrants(0, 1)
    expect(world.guest.grants.unshare([grantReference(9)])).toEqual([])
    expect(errnoOf(() => world.mapReferences(references))).toBe('EINVAL')
  })
})

test.each([
  ['a reference beyond the table', 512, { to: 0, frame: RAM }],
  ['no reference', -1, { to: 0, frame: RAM }],
  ['a frame of more than 32 bits', 8, { to: 0, frame: 2 ** 32 }],
  ['a reserved domain id', 8, { to: 0x7ff0, frame: RAM }],
])('allow refuses %s', (_, reference, grant) => {
  using world = new World()
  const allow = () => world.guest.grants.allow(reference, grant)
  expect(allow).toThrow(expect.objectContaining({ code: 'ERR_XMC_ARGUMENT' }))
})
