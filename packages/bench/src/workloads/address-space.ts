import { XEN_GRANT_ADDRESS_OFFSET } from '@xmc/interface'
import { AddressSpace, ContainerRegion, type RamBacking, XenMemory } from '@xmc/memory-region'
import { BUCKET, Guest } from '../guest.ts'
import { bareMaps } from '../providers/bare-maps.ts'
import type { Prepared, Workload } from '../workload.ts'

const BARE_LOAD = 'a bare DataView load of the same bytes'
/** First pages of the two banks of RAM, as the board has them. */
const LOW_BANK = 0x4_0000
const HIGH_BANK = 0x20_0000
const BANK_BYTES = 2 ** 24
const GRANT_PAGE = Number(XEN_GRANT_ADDRESS_OFFSET >> 12n)

/** Accesses and transfers through an address space over caches. */
export const addressSpaces: readonly Workload[] = [
  {
    id: 'AS1',
    title: '4-byte load through an address space, in one region',
    limitTitle: BARE_LOAD,
    prepare: () => prepareLoads(false),
  },
  {
    id: 'AS2',
    title: '4-byte load through an address space, in two regions by chance',
    limitTitle: BARE_LOAD,
    prepare: () => prepareLoads(true),
  },
  {
    id: 'DMA1',
    title: 'map 4 KiB of RAM through an address space, load, unmap',
    limitTitle: BARE_LOAD,
    prepare: prepareTransfers,
  },
  {
    id: 'DMA2',
    title: 'map a granted page through an address space, load, unmap',
    limitTitle: 'the two system calls with nothing around them',
    prepare: prepareGrantTransfers,
  },
]

function open(memory: RamBacking, grants?: RamBacking): AddressSpace {
  const system = new ContainerRegion({ name: 'system' })
  const size = BigInt(BANK_BYTES)
  const banks = [
    { name: 'xen.ram.lo', address: BigInt(LOW_BANK) << 12n, size },
    { name: 'xen.ram.hi', address: BigInt(HIGH_BANK) << 12n, size },
  ]
  new XenMemory({ memory, banks, grants }).addTo(system)
  return new AddressSpace({ root: system })
}

function prepareLoads(twoRegions: boolean): Prepared {
  // The guest's frames start with its first bank; its memory file has what is between the banks, too.
  const guest = new Guest(HIGH_BANK * 4096 + BANK_BYTES)
  const cache: RamBacking = guest.foreign()
  const space = open(cache)
  const pages = new Int32Array(4096)
  const bare = new Float64Array(4096)
  let seed = 1
  for (let i = 0; i < pages.length; i++) {
    seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) | 0
    const bank = twoRegions && (seed & 0x1_0000) !== 0 ? HIGH_BANK : LOW_BANK
    pages[i] = bank + ((seed >>> 24) & 0xff)
  }
  for (const bank of [LOW_BANK, HIGH_BANK]) {
    for (let page = 0; page < 256; page++) cache.storeUint32(bank + page, 64, page, true)
  }
  for (const [i, page] of pages.entries()) {
    const place = cache.lock(page, 64, 4, 0)
    bare[i] = place * 4096
    cache.unlock(place, 64)
  }
  const { view } = cache
  return {
    run: (count) => loadEach(space, pages, count),
    limit(count) {
      let sum = 0
      for (let i = 0; i < count; i++) {
        sum = (sum + view.getUint32(bare[i & 4095]! + (i & 63) * 4, true)) | 0
      }
      return sum
    },
  }
}

function loadEach(space: AddressSpace, pages: Int32Array, count: number): number {
  let sum = 0
  for (let i = 0; i < count; i++) {
    sum = (sum + space.loadUint32(pages[i & 4095]!, (i & 63) * 4)) | 0
  }
  return sum
}

function prepareTransfers(): Prepared {
  const guest = new Guest(LOW_BANK * 4096 + BANK_BYTES)
  const cache: RamBacking = guest.foreign()
  const space = open(cache)
  const { view } = cache
  for (let page = 0; page < 256; page++) cache.storeUint32(LOW_BANK + page, 0, page, true)
  const first = cache.lock(LOW_BANK, 0, 4, 0)
  cache.unlock(first, 0)
  return {
    run: (count) => mapEach(space, view, LOW_BANK, 255, count),
    limit(count) {
      let sum = 0
      for (let i = 0; i < count; i++) {
        sum = (sum + view.getUint32((first + (i & 255)) * 4096, true)) | 0
      }
      return sum
    },
  }
}

function mapEach(
  space: AddressSpace,
  view: DataView,
  firstPage: number,
  mask: number,
  count: number,
): number {
  let sum = 0
  for (let i = 0; i < count; i++) {
    const mapping = space.map(firstPage + (i & mask), 0, 4096, true)
    sum = (sum + view.getUint32(mapping.start, true)) | 0
    mapping.release(4096)
  }
  return sum
}

function prepareGrantTransfers(): Prepared {
  const guest = new Guest(4096 * 4096)
  const grants: RamBacking = guest.grants()
  const space = open(new Guest(BUCKET).foreign(), grants)
  const { view } = grants
  return {
    run: (count) => mapEach(space, view, GRANT_PAGE, 4095, count),
    limit: bareMaps({ guest, pages: 1, places: 1025, touched: 1 }),
  }
}
