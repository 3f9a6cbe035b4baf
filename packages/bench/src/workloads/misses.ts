import { LOCK_WRITE } from '@xmc/core'
import { createForeignCache } from '@xmc/foreign'
import { createGrantCache } from '@xmc/grants'
import { openWindow } from '@xmc/hostmem'
import { domainId } from '@xmc/interface'
import type { RamBacking } from '@xmc/memory-region'
import { Hypervisor } from '@xmc/sim'
import { BUCKET, BUCKET_PAGES, Guest } from '../guest.ts'
import { bareMaps } from '../providers/bare-maps.ts'
import type { GrowthPoint, Prepared, Workload } from '../workload.ts'

const BARE_CALLS = 'the two system calls with nothing around them'
/** Grants that take turns, so that no page is the one before. */
const REFERENCES = 4096
/** Buckets that a cold run goes round in, and how many of them may stay. */
const COLD_BUCKETS = 1024
const KEPT_BUCKETS = 64

/** Maps that make system calls. */
export const misses: readonly Workload[] = [
  ...[1, 16, 256].map((pages) => ({
    id: `W6_${pages}`,
    title: `map ${pages} granted page${pages === 1 ? '' : 's'}, read each, unmap`,
    limitTitle: BARE_CALLS,
    prepare: () => {
      const guest = new Guest(REFERENCES * 4096)
      return prepareGrants(guest.grants(), guest, pages)
    },
  })),
  {
    id: 'W6_1_simulator',
    title: 'as W6_1, granted by a simulated guest',
    limitTitle: BARE_CALLS,
    prepare: prepareSimulatedGrants,
  },
  {
    id: 'W7',
    title: 'map a bucket of 1 MiB, read 4 bytes; the budget evicts another',
    limitTitle: BARE_CALLS,
    prepare: () => {
      const guest = new Guest(COLD_BUCKETS * BUCKET)
      return prepareCold(guest.foreign({ retention: KEEP }), guest)
    },
  },
  {
    id: 'W7_simulator',
    title: 'as W7, memory of a simulated guest',
    limitTitle: BARE_CALLS,
    prepare: prepareSimulatedCold,
  },
]

/** Misses against the size of the guest, in MiB. */
export const missGrowth: readonly GrowthPoint[] = [256, 1024, 4096, 16_384, 65_536].map(
  (mebibytes) => ({
    id: `W7@${mebibytes}`,
    curve: 'W7',
    at: mebibytes,
    title: `W7 with a guest of ${mebibytes} MiB`,
    limitTitle: BARE_CALLS,
    prepare: () => {
      const guest = new Guest(mebibytes * BUCKET)
      return prepareCold(guest.foreign({ retention: KEEP }), guest)
    },
  }),
)

const KEEP = { kind: 'keep', budgetBytes: KEPT_BUCKETS * BUCKET } as const

function prepareGrants(cache: RamBacking, guest: Guest, pages: number): Prepared {
  const { view } = cache
  let reference = 0
  return {
    run(count) {
      let sum = 0
      for (let i = 0; i < count; i++) {
        const place = cache.lock(reference, 0, pages * 4096, LOCK_WRITE)
        for (let page = 0; page < pages; page++) {
          sum = (sum + view.getUint32((place + page) * 4096, true)) | 0
        }
        cache.unlock(place, 0)
        reference = (reference + pages) % REFERENCES
      }
      return sum
    },
    // A cache gives a place out again when 4 MiB more were freed.
    limit: bareMaps({ guest, pages, places: 1024 / Math.min(pages, 256) + 1, touched: pages }),
  }
}

function prepareSimulatedGrants(): Prepared {
  const xen = new Hypervisor()
  const guest = xen.createDomain({ memoryBytes: REFERENCES * 4096, ramBase: 0 })
  const frames = Array.from({ length: REFERENCES }, (_, frame) => frame)
  const references = guest.grants.share(frames, { to: 0 })
  const [first = 0] = references
  const cache: RamBacking = createGrantCache({
    table: xen.grantTable(),
    domain: domainId(guest.id),
    window: openWindow({ bytes: 2 ** 28 }),
  })
  const { view } = cache
  let at = 0
  return {
    run(count) {
      let sum = 0
      for (let i = 0; i < count; i++) {
        const place = cache.lock(first + at, 0, 4096, LOCK_WRITE)
        sum = (sum + view.getUint32(place * 4096, true)) | 0
        cache.unlock(place, 0)
        at = (at + 1) % REFERENCES
      }
      return sum
    },
    limit: bareMaps({ guest: new Guest(REFERENCES * 4096), pages: 1, places: 1025, touched: 1 }),
  }
}

function prepareSimulatedCold(): Prepared {
  const xen = new Hypervisor()
  const domain = xen.createDomain({ memoryBytes: COLD_BUCKETS * BUCKET, ramBase: 0 })
  const cache = createForeignCache({
    memory: xen.foreignMemory(),
    domain: domainId(domain.id),
    window: openWindow({ bytes: 2 ** 32 }),
    retention: KEEP,
  })
  return prepareCold(cache, new Guest(COLD_BUCKETS * BUCKET))
}

function prepareCold(cache: RamBacking, guest: Guest): Prepared {
  const buckets = guest.file.size / BUCKET
  let bucket = 0
  return {
    run(count) {
      let sum = 0
      for (let i = 0; i < count; i++) {
        sum = (sum + cache.loadUint32(bucket * BUCKET_PAGES, 64, true)) | 0
        bucket = (bucket + 1) % buckets
      }
      return sum
    },
    limit: bareMaps({
      guest,
      pages: BUCKET_PAGES,
      places: KEPT_BUCKETS + 5,
      touched: 1,
      kept: KEPT_BUCKETS,
    }),
  }
}
