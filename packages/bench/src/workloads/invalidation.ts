import { guestFrame } from '@xmc/interface'
import { BUCKET, BUCKET_PAGES, Guest } from '../guest.ts'
import { bareMaps } from '../providers/bare-maps.ts'
import type { Prepared, Workload } from '../workload.ts'

/** Full invalidations. An operation is one, with what it takes to fill the cache again. */
export const invalidation: readonly Workload[] = [
  {
    id: 'INV0',
    title: 'invalidate all when nothing is mapped',
    limitTitle: 'an asynchronous function that does nothing, awaited',
    prepare: prepareEmpty,
  },
  ...[10, 100, 1000].map((entries) => ({
    id: `INV${entries}`,
    title: `map ${entries} buckets, and invalidate all`,
    limitTitle: `the ${2 * entries} system calls with nothing around them`,
    prepare: () => prepareFull(entries),
  })),
]

function prepareEmpty(): Prepared {
  const cache = new Guest(BUCKET).foreign()
  return {
    async run(count) {
      let sum = 0
      for (let i = 0; i < count; i++) sum += (await cache.invalidateAll()).unmapped
      return sum
    },
    async limit(count) {
      let sum = 0
      for (let i = 0; i < count; i++) sum += (await nothing()).unmapped
      return sum
    },
  }
}

async function nothing(): Promise<{ readonly unmapped: number }> {
  return { unmapped: 0 }
}

function prepareFull(entries: number): Prepared {
  const guest = new Guest(entries * BUCKET)
  const cache = guest.foreign()
  const frames = Array.from({ length: entries }, (_, bucket) => guestFrame(bucket * BUCKET_PAGES))
  const bare = bareMaps({ guest, pages: BUCKET_PAGES, places: entries + 5, touched: 1 })
  return {
    async run(count) {
      let sum = 0
      for (let i = 0; i < count; i++) {
        for (const frame of frames) sum = (sum + cache.loadUint32(frame, 0)) | 0
        sum += (await cache.invalidateAll()).unmapped
      }
      return sum
    },
    limit: (count) => bare(count * entries),
  }
}
