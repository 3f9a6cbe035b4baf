import { LOCK_WRITE } from '@xmc/core'
import type { RamBacking } from '@xmc/memory-region'
import { Guest } from '../guest.ts'
import type { Prepared, Workload } from '../workload.ts'

/** Buckets of 64 KiB: 256 sizes of mapping then fit a window. */
const BUCKET_SHIFT = 16
const BUCKET_BYTES = 2 ** BUCKET_SHIFT

/** Mappings of one bucket in many sizes. */
export const sizes: readonly Workload[] = [1, 16, 256].map((count) => ({
  id: count === 256 ? 'W8' : `W8_${count}`,
  title: `lock the largest of ${count} sizes of mapping of one bucket, load, release`,
  limitTitle: 'a bare DataView load of the same bytes',
  prepare: () => prepareSizes(count),
}))

function prepareSizes(sizeCount: number): Prepared {
  const cache: RamBacking = new Guest(256 * BUCKET_BYTES).foreign({ bucketShift: BUCKET_SHIFT })
  const { view } = cache
  for (let size = 1; size <= sizeCount; size++) cache.lock(0, 0, size * BUCKET_BYTES, LOCK_WRITE)
  const length = sizeCount * BUCKET_BYTES
  const start = cache.lock(0, 0, length, LOCK_WRITE) * 4096
  return {
    run(count) {
      let sum = 0
      for (let i = 0; i < count; i++) {
        const place = cache.lock(0, 0, length, LOCK_WRITE)
        sum = (sum + view.getUint32(place * 4096 + (i & 1023) * 4, true)) | 0
        cache.unlock(place, 0)
      }
      return sum
    },
    limit(count) {
      let sum = 0
      for (let i = 0; i < count; i++) {
        sum = (sum + view.getUint32(start + (i & 1023) * 4, true)) | 0
      }
      return sum
    },
  }
}
