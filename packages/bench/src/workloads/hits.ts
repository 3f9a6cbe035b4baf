import { LOCK_WRITE } from '@xmc/core'
import type { RamBacking } from '@xmc/memory-region'
import { BUCKET_PAGES, Guest } from '../guest.ts'
import type { Prepared, Workload } from '../workload.ts'

const BARE_LOAD = 'a bare DataView load of the same bytes'

/** Loads that find their page mapped. */
export const hits: readonly Workload[] = [
  {
    id: 'W1',
    title: '4-byte load, 64 bytes on in one bucket',
    limitTitle: BARE_LOAD,
    prepare: prepareSequential,
  },
  {
    id: 'W2',
    title: '4-byte load, random over 1,024 buckets',
    limitTitle: BARE_LOAD,
    prepare: () => prepareRandom(false),
  },
  {
    id: 'W2b',
    title: '4-byte load, random over 1,024 buckets, one line in each',
    limitTitle: BARE_LOAD,
    prepare: () => prepareRandom(true),
  },
]

function prepareSequential(): Prepared {
  const cache: RamBacking = new Guest(2 ** 20).foreign()
  const { view } = cache
  const start = mapBuckets(cache, 1) * 4096
  for (let at = 0; at < 2 ** 20; at += 64) cache.storeUint32(at >> 12, at & 4095, at, true)
  return {
    run(count) {
      // What stands in front of a function is looked at anew with each use.
      const memory = cache
      let sum = 0
      let at = 0
      for (let i = 0; i < count; i++) {
        sum = (sum + memory.loadUint32(at >> 12, at & 4095, true)) | 0
        at = (at + 64) & 0xf_ffff
      }
      return sum
    },
    limit(count) {
      let sum = 0
      let at = 0
      for (let i = 0; i < count; i++) {
        sum = (sum + view.getUint32(start + at, true)) | 0
        at = (at + 64) & 0xf_ffff
      }
      return sum
    },
  }
}

function prepareRandom(warm: boolean): Prepared {
  const cache: RamBacking = new Guest(2 ** 30).foreign()
  const { view } = cache
  const start = mapBuckets(cache, 1024) * 4096
  // With `warm`, one line in each bucket, no two of which compete for a place in the processor's cache.
  const addresses = new Int32Array(2 ** 16)
  let seed = 1
  for (let i = 0; i < addresses.length; i++) {
    seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) | 0
    const at = (seed >>> 2) & ~3
    addresses[i] = warm ? (at & ~0xf_ffff) | (((at >>> 20) * 64) & 0xf_ffff) : at
  }
  // Commits every page that is read: a page of zeros that is faulted in within the time is no hit.
  for (const at of addresses) cache.storeUint32(at >> 12, at & 4095, at, true)
  return {
    run(count) {
      const memory = cache
      let sum = 0
      for (let i = 0; i < count; i++) {
        const at = addresses[i & 0xffff]!
        sum = (sum + memory.loadUint32(at >> 12, at & 4095, true)) | 0
      }
      return sum
    },
    limit(count) {
      let sum = 0
      for (let i = 0; i < count; i++) {
        sum = (sum + view.getUint32(start + addresses[i & 0xffff]!, true)) | 0
      }
      return sum
    },
  }
}

/** Maps buckets side by side, in order, and gives the window page of the first. */
export function mapBuckets(cache: RamBacking, count: number): number {
  const places: number[] = []
  for (let bucket = 0; bucket < count; bucket++) {
    const place = cache.lock(bucket * BUCKET_PAGES, 0, 4096, LOCK_WRITE)
    cache.unlock(place, 0)
    places.push(place)
  }
  const [first = 0] = places
  if (places.some((place, bucket) => place !== first + bucket * BUCKET_PAGES)) {
    throw new Error('the limit needs buckets that lie side by side')
  }
  // Those in front of the last miss are found by a search, once, and are hits from then on.
  for (let bucket = 0; bucket < count; bucket++) cache.loadUint32(bucket * BUCKET_PAGES, 0, true)
  return first
}
