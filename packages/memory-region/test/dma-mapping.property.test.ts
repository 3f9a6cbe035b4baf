import { MapCache } from '@xmc/core'
import { XmcError } from '@xmc/interface'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { propertyRuns } from '../../../vitest.properties.ts'
import {
  AddressSpace,
  AliasRegion,
  ContainerRegion,
  type DmaMapping,
  MmioRegion,
  type Ring,
  type ScatterList,
  XenMemory,
} from '../src/index.ts'
import { GrantedPages } from './doubles/granted-pages.ts'
import { grantPage } from './doubles/machine.ts'
import { RegisterBank } from './doubles/register-bank.ts'

/** A place that may be RAM, a hole, a grant, a bad reference, a device, or nothing. */
const places = fc.record({
  page: fc.oneof(
    fc.integer({ min: 0x3fffe, max: 0x40012 }),
    fc.integer({ min: 0, max: 20 }).map(grantPage),
    fc.integer({ min: 508, max: 514 }).map(grantPage),
    fc.constantFrom(0x2000, 0x2001, 0x50000),
  ),
  offset: fc.nat(4095),
  length: fc.oneof(fc.nat(64), fc.nat(3 * 4096)),
  write: fc.boolean(),
})

const steps = fc.oneof(
  fc.record({ step: fc.constantFrom('map', 'mapAsync', 'tryMap', 'ring', 'list'), place: places }),
  fc.record({ step: fc.constantFrom('release'), which: fc.nat(), accessed: fc.nat(10000) }),
  fc.record({ step: fc.constantFrom('toggle') }),
)

function setUp() {
  const guest = new GrantedPages({ pinned: false, bucketShift: 14, windowPages: 256 })
  const table = new GrantedPages({ pinned: true, bucketShift: 12, windowPages: 256 })
  for (const page of [0x40003, 0x40004, 0x40009]) guest.missing.add(page)
  for (const reference of [3, 9, 510]) table.missing.add(reference)
  const xen = new XenMemory({
    memory: new MapCache({ backend: guest, name: 'foreign' }),
    banks: [{ name: 'ram', address: 0x40000000n, size: 0x10000n }],
    grants: new MapCache({ backend: table, name: 'grants' }),
    grantFrames: 1,
  })
  const device = new RegisterBank(0x1800)
  const registers = new MmioRegion({ name: 'regs', size: 0x1800n, device })
  const root = new ContainerRegion({ name: 'system' })
  xen.addTo(root)
  root.add(registers, 0x2000000n)
  const over = new AliasRegion({ name: 'over', size: 0x1000n, target: registers })
  root.add(over, 0x40005000n, { priority: 1 })
  return { guest, table, xen, registers, over, space: new AddressSpace({ root }) }
}

type Live = DmaMapping | Ring | ScatterList

function end(live: Live, accessed: number): void {
  if ('close' in live) live.close()
  else live.release(Math.min(accessed, live.length))
}

test('any sequence of maps and releases leaves no lock, no reference and no bounce bytes', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(steps, { maxLength: 40 }), async (sequence) => {
      const all = setUp()
      const { guest, table, xen, registers, over, space } = all
      let live: Live[] = []
      for (const step of sequence) {
        try {
          if ('which' in step) {
            const [gone] = live.splice(step.which % Math.max(1, live.length), 1)
            if (gone !== undefined) end(gone, step.accessed)
          } else if ('place' in step) {
            const { page, offset, length, write } = step.place
            if (step.step === 'map') live.push(space.map(page, offset, length, write))
            // oxlint-disable-next-line no-await-in-loop -- a sequence: each step sees what the last one left
            else if (step.step === 'mapAsync')
              live.push(await space.mapAsync(page, offset, length, write))
            else if (step.step === 'ring') live.push(space.openRing(page, offset, length, write))
            else if (step.step === 'list') {
              const list = [0, 1, 2].map((i) => ({ page: page + i, offset, length }))
              live.push(space.mapList(list, write))
            } else {
              const mapped = { length }
              const mapping = space.tryMap(page, offset, mapped, write)
              expect(mapping?.length ?? 0).toBe(mapped.length)
              expect(mapped.length).toBeLessThanOrEqual(length)
              if (mapping !== null) live.push(mapping)
            }
          } else {
            over.enabled = !over.enabled
          }
        } catch (error) {
          if (!(error instanceof XmcError)) throw error
        }
        expect(space.bounceBytes).toBeLessThanOrEqual(4096)
        const count = live.map((one) => ('mappings' in one ? one.mappings.length : 1))
        expect(space.mappings).toBe(count.reduce((sum, n) => sum + n, 0))
      }
      for (const one of live) {
        try {
          end(one, 0)
        } catch (error) {
          if (!(error instanceof XmcError)) throw error
        }
      }
      live = []
      const caches = [xen.memory.backing, xen.grants?.backing] as const
      const locks = caches.map((cache) => (cache instanceof MapCache ? cache.statistics.locks : -1))
      const references = [xen.memory, xen.grants, registers].map((region) => region?.references)
      expect({ locks, references }).toEqual({ locks: [0, 0], references: [0, 0, 0] })
      expect([space.mappings, space.bounceBytes, table.mappedPages]).toEqual([0, 0, 0])
      expect(guest.mappedPages).toBeLessThanOrEqual(guest.window.pageCount)
    }),
    propertyRuns(40, 300),
  )
})
