import { memoryAreas, openWindow } from '@xmc/hostmem'
import { windowPage } from '@xmc/interface'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { type Domain, Hypervisor } from '../src/index.ts'

const FRAMES = 600
let xen: Hypervisor
let guest: Domain
let budget: number

beforeEach(() => {
  xen = new Hypervisor({ seed: 1 })
  guest = xen.createDomain({ memoryBytes: 0 })
  budget = memoryAreas().budget
  // Areas of windows that earlier tests have left uncollected count as well.
  memoryAreas().budget = memoryAreas().statistics.used + 400
})

afterEach(() => {
  xen.close()
  memoryAreas().budget = budget
})

it('a guest whose memory has more pieces than there are areas sees every byte', () => {
  for (let frame = 0; frame < 2 * FRAMES; frame += 2) guest.populate(frame, 1)
  for (let frame = 0; frame < 2 * FRAMES; frame += 2) {
    guest.memory.writeUint32(frame * 4096 + 4, frame + 1)
    expect(memoryAreas().statistics.used).toBeLessThanOrEqual(memoryAreas().budget)
  }
  const read = Array.from({ length: FRAMES }, (_, nth) => guest.memory.readUint32(nth * 8192 + 4))
  expect(read).toEqual(Array.from({ length: FRAMES }, (_, nth) => 2 * nth + 1))
  expect(memoryAreas().statistics.used).toBeLessThanOrEqual(memoryAreas().budget)
  expect(() => guest.memory.readUint8(4096)).toThrow(
    expect.objectContaining({ code: 'ERR_XMC_GUEST_ADDRESS' }),
  )
})

it('what was shown stays mapped while areas are short, and follows its frames', () => {
  guest.populate(0, 4)
  const view = guest.memory.view(1, 2)
  view[0] = 0x11
  for (let frame = 10; frame < 2 * FRAMES; frame += 2) guest.populate(frame, 1)
  for (let frame = 10; frame < 2 * FRAMES; frame += 2) guest.memory.writeUint8(frame * 4096, 7)
  expect(view[0]).toBe(0x11)
  view[1] = 0x22
  expect(guest.memory.readUint16(4096)).toBe(0x2211)
  guest.depopulate(1, 1)
  expect(view[0]).toBe(0)
  guest.populate(1, 1)
  guest.memory.writeUint8(4096, 0x33)
  expect(view[0]).toBe(0x33)
})

it('gives its areas to others who are short of them', () => {
  for (let frame = 0; frame < 80; frame += 2) guest.populate(frame, 1)
  for (let frame = 0; frame < 80; frame += 2) guest.memory.writeUint8(frame * 4096, frame + 1)
  const before = memoryAreas().statistics.used
  using window = openWindow({ pageCount: 4 })
  window.areas.reclaim(memoryAreas().room + 1)
  expect(memoryAreas().statistics.used).toBeLessThan(before - 70)
  expect(guest.memory.readUint8(78 * 4096)).toBe(79)
  window.reset(windowPage(0), 1)
})

it('refuses a view in more pieces than there are areas, and goes on', () => {
  // In one region, on machine pages none of which follows the one before.
  guest.populate(0, 512)
  for (let frame = 1; frame < 512; frame += 2) {
    guest.depopulate(frame, 1)
    guest.populate(frame, 1)
  }
  expect(() => guest.memory.view(0, 512)).toThrow(
    expect.objectContaining({ code: 'ERR_XMC_MEMORY_AREAS', shortage: 'passing' }),
  )
  expect(guest.memory.view(0, 16)).toHaveLength(16 * 4096)
})
