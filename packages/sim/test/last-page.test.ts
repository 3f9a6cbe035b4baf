import { countPages, type GuestFrame, grantReference, guestFrame, type Pages } from '@xmc/interface'
import { expect, test } from 'vitest'
import { RAM, World } from './helpers/world.ts'

const TOP = 2 ** 52 - 1
const refused = expect.objectContaining({ code: 'ERR_XMC_ARGUMENT' })

test('the last frame is mapped, and read', () => {
  using world = new World()
  world.guest.populate(TOP, 1)
  expect(world.mapFrames({ first: TOP - 1, count: 2 })).toEqual([22, 0])
  world.write(1, 5)
  expect(world.read(1)).toBe(5)
  world.unmapForeign(0, 2)
  world.guest.depopulate(TOP, 1)
})

test.each<[string, Pages<GuestFrame>]>([
  ['a run', { first: guestFrame(TOP), count: 2 }],
  ['a list', JSON.parse(`[${RAM}, ${2 ** 52}]`)],
])('a map of %s over the last frame is refused, and nothing is changed', async (_, frames) => {
  using world = new World()
  world.guest.populate(TOP, 1)
  world.guestWrite(RAM + 1, 7)
  world.mapFrames([RAM + 1])
  const errors = new Int32Array(countPages(frames)).fill(-99)
  const request = { ...world.foreignRequest([RAM]), frames, errors }
  const before = world.hypervisor.accounting.totals()
  expect(() => world.foreign.map(request)).toThrow(refused)
  await expect(world.foreign.mapAsync(request)).rejects.toEqual(refused)
  expect([...errors]).toEqual([-99, -99])
  expect(world.hypervisor.accounting.totals()).toEqual(before)
  expect(world.read(0)).toBe(7)
  world.unmapForeign(0, 1)
  expect(world.hypervisor.accounting.leftovers()).toEqual([])
})

test('a map over the last reference is refused, and nothing is changed', async () => {
  using world = new World()
  const [reference = 0] = world.share([RAM])
  world.mapReferences([reference])
  world.guestWrite(RAM, 7)
  const request = {
    domain: world.guest.id,
    window: world.window,
    windowPage: world.foreignRequest([RAM]).windowPage,
    references: { first: grantReference(2 ** 32 - 1), count: 2 },
    writable: true,
  }
  const before = world.hypervisor.accounting.totals()
  expect(() => world.grants.map(request)).toThrow(refused)
  await expect(world.grants.mapAsync(request)).rejects.toEqual(refused)
  expect(world.hypervisor.accounting.totals()).toEqual(before)
  expect(world.read(0)).toBe(7)
  world.unmapGrants(0, 1)
})
