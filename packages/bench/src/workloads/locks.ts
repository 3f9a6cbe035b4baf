import { LOCK_DMA, LOCK_WRITE, type MapCache } from '@xmc/core'
import { type GuestFrame, guestFrame } from '@xmc/interface'
import type { RamBacking } from '@xmc/memory-region'
import { BUCKET_PAGES, Guest } from '../guest.ts'
import { bareMaps } from '../providers/bare-maps.ts'
import type { GrowthPoint, Prepared, Workload } from '../workload.ts'
import { mapBuckets } from './hits.ts'

const BARE_LOAD = 'a bare DataView load from the same pages'
const DMA_WRITE = LOCK_DMA | LOCK_WRITE
const STRICT = { retention: { kind: 'at-once' } } as const

type Cache = MapCache<GuestFrame>

/** Locks that find their page mapped. */
export const locks: readonly Workload[] = [
  ...both('W3', 'lock 4 KiB for DMA, load, release; one bucket, kept', (handles) =>
    handles
      ? lockWithHandles(new Guest(2 ** 20).foreign())
      : lockEach(new Guest(2 ** 20).foreign()),
  ),
  ...both('W3h', 'the same in a bucket that is locked anyway', (handles) => {
    const cache = new Guest(2 ** 20).foreign()
    cache.lock(guestFrame(1), 0, 8, 0)
    return handles ? lockWithHandles(cache) : lockEach(cache)
  }),
  ...[64, 1024, 16_384].flatMap((depth) =>
    both(`W4_${depth}`, `lock 4 KiB and release the oldest of ${depth} locks`, (handles) =>
      handles ? fifoOfHandles(depth) : fifo(depth, new Guest(2 ** 28).foreign()),
    ),
  ),
  ...[64, 1024, 16_384].flatMap((depth) =>
    both(`W5_${depth}`, `window page to guest page, among ${depth} locks`, (handles) =>
      handles ? reverseOfHandles(depth) : reverse(depth),
    ),
  ),
]

/** Locks where foreign buckets are unmapped with their last lock, as in the original. */
export const strictLocks: readonly Workload[] = [
  {
    id: 'W3_strict',
    title: 'as W3, unmapped at lock 0',
    limitTitle: 'the two system calls with nothing around them',
    prepare: prepareStrict,
  },
  ...[64, 1024].map((depth) => ({
    id: `W4_${depth}_strict`,
    title: `as W4_${depth}, unmapped at lock 0`,
    limitTitle: BARE_LOAD,
    prepare: () => fifo(depth, new Guest(2 ** 28).foreign(STRICT)),
  })),
]

/** W4 and W5 against the number of locks. */
export const lockGrowth: readonly GrowthPoint[] = [16, 64, 256, 1024, 4096, 16_384, 65_536].flatMap(
  (depth) => [
    growthPoint('W4', depth, () => fifo(depth, new Guest(2 ** 28).foreign())),
    growthPoint('W5', depth, () => reverse(depth)),
  ],
)

function growthPoint(curve: string, at: number, prepare: () => Prepared): GrowthPoint {
  const id = `${curve}@${at}`
  return { id, curve, at, title: `${curve} with ${at} locks`, limitTitle: BARE_LOAD, prepare }
}

/** A workload on the page surface, and the same on the handle surface. */
function both(
  id: string,
  title: string,
  prepare: (handles: boolean) => Prepared,
): readonly Workload[] {
  return [
    { id, title, limitTitle: BARE_LOAD, prepare: () => prepare(false) },
    {
      id: `${id}_handle`,
      title: `${title}; by handles`,
      limitTitle: BARE_LOAD,
      prepare: () => prepare(true),
    },
  ]
}

/** Maps pages from the first one on, and writes a number in each; gives the window page of the first. */
function mapPages(cache: RamBacking, count: number): number {
  const start = mapBuckets(cache, Math.max(1, count / BUCKET_PAGES))
  for (let page = 0; page < count; page++) cache.storeUint32(page, 0, page + 1, true)
  return start
}

function loadEach(view: DataView, start: number, mask: number, count: number): number {
  let sum = 0
  for (let i = 0; i < count; i++) {
    sum = (sum + view.getUint32((start + (i & mask)) * 4096, true)) | 0
  }
  return sum
}

function lockPages(memory: RamBacking, view: DataView, count: number): number {
  let sum = 0
  for (let i = 0; i < count; i++) {
    const place = memory.lock(i & 255, 0, 4096, DMA_WRITE)
    sum = (sum + view.getUint32(place * 4096, true)) | 0
    memory.unlock(place, 0)
  }
  return sum
}

function lockEach(cache: RamBacking): Prepared {
  const { view } = cache
  const start = mapPages(cache, 256)
  return {
    run: (count) => lockPages(cache, view, count),
    limit: (count) => loadEach(view, start, 255, count),
  }
}

function lockWithHandles(cache: Cache): Prepared {
  const { view } = cache
  const start = mapPages(cache, 256)
  const frames = Array.from({ length: 256 }, (_, frame) => guestFrame(frame))
  return {
    run(count) {
      let sum = 0
      for (let i = 0; i < count; i++) {
        const mapping = cache.map(frames[i & 255]!, 0, 4096, { write: true, dma: true })
        sum = (sum + mapping.readUint32(0)) | 0
        mapping.release()
      }
      return sum
    },
    limit: (count) => loadEach(view, start, 255, count),
  }
}

function fifo(depth: number, cache: RamBacking): Prepared {
  const { view } = cache
  const start = mapPages(cache, depth)
  const held = new Int32Array(depth)
  for (let i = 0; i < depth; i++) held[i] = cache.lock(i, 0, 4096, DMA_WRITE)
  const mask = depth - 1
  return {
    run(count) {
      let sum = 0
      for (let i = 0; i < count; i++) {
        const at = i & mask
        cache.unlock(held[at]!, 0)
        const place = cache.lock(at, 0, 4096, DMA_WRITE)
        sum = (sum + view.getUint32(place * 4096, true)) | 0
        held[at] = place
      }
      return sum
    },
    limit: (count) => loadEach(view, start, mask, count),
  }
}

function fifoOfHandles(depth: number): Prepared {
  const cache = new Guest(2 ** 28).foreign()
  const { view } = cache
  const start = mapPages(cache, depth)
  const frames = Array.from({ length: depth }, (_, frame) => guestFrame(frame))
  const held = frames.map((frame) => cache.map(frame, 0, 4096, { write: true, dma: true }))
  const mask = depth - 1
  return {
    run(count) {
      let sum = 0
      for (let i = 0; i < count; i++) {
        const at = i & mask
        held[at]!.release()
        const mapping = cache.map(frames[at]!, 0, 4096, { write: true, dma: true })
        sum = (sum + mapping.readUint32(0)) | 0
        held[at] = mapping
      }
      return sum
    },
    limit: (count) => loadEach(view, start, mask, count),
  }
}

function reverse(depth: number): Prepared {
  const cache: RamBacking = new Guest(2 ** 28).foreign()
  const { view } = cache
  const start = mapPages(cache, depth)
  for (let i = 0; i < depth; i++) cache.lock(i, 0, 4096, DMA_WRITE)
  const mask = depth - 1
  return {
    run(count) {
      let sum = 0
      for (let i = 0; i < count; i++) sum = (sum + cache.pageOf(start + (i & mask))) | 0
      return sum
    },
    limit: (count) => loadEach(view, start, mask, count),
  }
}

function reverseOfHandles(depth: number): Prepared {
  const cache = new Guest(2 ** 28).foreign()
  const { view } = cache
  const start = mapPages(cache, depth)
  const held = Array.from({ length: depth }, (_, frame) => cache.map(guestFrame(frame), 0, 4096))
  const mask = depth - 1
  return {
    run(count) {
      let sum = 0
      for (let i = 0; i < count; i++) sum = (sum + held[i & mask]!.page) | 0
      return sum
    },
    limit: (count) => loadEach(view, start, mask, count),
  }
}

function prepareStrict(): Prepared {
  const guest = new Guest(2 ** 20)
  const cache: RamBacking = guest.foreign(STRICT)
  const { view } = cache
  return {
    run: (count) => lockPages(cache, view, count),
    limit: bareMaps({ guest, pages: BUCKET_PAGES, places: 5, touched: 1 }),
  }
}
