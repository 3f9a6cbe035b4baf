import type { WindowPage } from '@xmc/interface'
import { LOCK_DMA, LOCK_WRITE } from '../lock-flags.ts'
import type { PageOperations } from '../page-operations.ts'
import { COUNTER } from '../statistics.ts'
import { traceChannels } from '../trace.ts'
import type { BucketEngine } from './bucket-engine.ts'
import { HIT_TABLE_BUCKETS, PRESENT } from './hit-table.ts'
import { FULL_RECORD } from './lock-records.ts'
import { asWindowPage } from './window-page.ts'

/** Serves what a hit does not, in full, arguments checked. */
export interface SlowPath<Page extends number> {
  lock(page: Page, offset: number, length: number, flags: number): WindowPage
  /** Takes a lock off the records, or throws. */
  takeBack(windowPage: WindowPage, offset: number): void
  pageOf(windowPage: WindowPage): Page
  /** Byte of the view where it is mapped now, or -1 for what is to be copied. */
  locate(page: Page, offset: number, size: number, write: boolean): number
  load(page: Page, offset: number, size: number): DataView
  store(page: Page, offset: number, size: number, fill: (bytes: DataView) => void): void
}

/** Windows up to here have byte numbers of 32 bits. */
const SMALL_WINDOW_BYTES = 2 ** 32

/**
 * Makes the hits of one cache: each finds a mapping by one load and one comparison, and hands everything
 * else to `slow`.
 *
 * These are closures over constants, and not methods, since V8 then folds the arrays' addresses and lengths
 * into the code: a hit takes 2 ns instead of 9. Each is written out, since a common function that gives
 * −1 for a miss costs 0.6 ns of those. Measured on Node 20, x64.
 *
 * The checks are of the form `(x | 0) === x`, which costs nothing for what is an int32 in the code that
 * calls; `>>> 0` makes a negative number too large for the comparison beside it. A number that is shifted to
 * the left is checked to have the bits that the shift keeps.
 */
export function createHitPath<Page extends number>(
  engine: BucketEngine<Page>,
  view: DataView,
  slow: SlowPath<Page>,
): PageOperations<Page> {
  // V8 folds what is bound here or in this module; what is imported it would load again with each use.
  const buckets = HIT_TABLE_BUCKETS
  const placeMask = ~PRESENT
  const write = LOCK_WRITE
  const dma = LOCK_DMA
  const fullRecord = FULL_RECORD
  const { requests } = COUNTER
  const { map, mapReturn } = traceChannels
  const toWindowPage = asWindowPage
  const { counters, pagesPerBucket } = engine
  const { readable, writable } = engine.hits
  const { records } = engine.locks
  const { bucketCount, firstPage, flags: entryFlags, locks, owner, stamp } = engine.table
  const pageMask = pagesPerBucket - 1
  const shift = 31 - Math.clz32(pagesPerBucket)
  const bucketBytes = pagesPerBucket * 4096
  const { departing } = engine
  // Shifting loses PRESENT, and is done without a check for overflow.
  const byteOf =
    view.byteLength <= SMALL_WINDOW_BYTES
      ? (place: number, offset: number): number => ((place << 12) | offset) >>> 0
      : (place: number, offset: number): number => (place & placeMask) * 4096 + offset

  return {
    lock(page, offset, length, flags) {
      const index = page >> shift
      const start = ((page & pageMask) << 12) | offset
      if (
        (page | 0) === page &&
        index >>> 0 < buckets &&
        (offset & 4095) === offset &&
        (length | 0) === length &&
        length >>> 0 <= bucketBytes - start &&
        !map.hasSubscribers &&
        !mapReturn.hasSubscribers
      ) {
        const place = (flags & write) === 0 ? readable[index]! : writable[index]!
        if (place !== 0) {
          const windowPage = (place & placeMask) | (page & pageMask)
          const at = windowPage << 1
          const record = records[at]!
          // A page with locks at several offsets has a negative record, whose count may be 0 (`LockRecords`).
          if (record >>> 0 < 4096) {
            records[at] = 4096 | offset
            records[at + 1] = flags
          } else if ((record & 4095) === offset && record >>> 0 < fullRecord) {
            records[at] = record + 4096
            if ((flags & dma) !== 0) records[at + 1] = flags
          } else {
            return slow.lock(page, offset, length, flags)
          }
          const slot = windowPage >> shift
          locks[slot] = locks[slot]! + 1
          counters[requests] = counters[requests]! + 1
          return toWindowPage(windowPage)
        }
      }
      return slow.lock(page, offset, length, flags)
    },

    unlock(windowPage, offset) {
      const at = windowPage << 1
      const record = records[at]!
      if (
        (windowPage & 0x3fff_ffff) === windowPage &&
        (record & fullRecord) !== 0 &&
        (record & 4095) === offset
      ) {
        records[at] = record - 4096
      } else {
        slow.takeBack(windowPage, offset)
      }
      const slot = owner[windowPage >> shift]!
      const left = locks[slot]! - 1
      locks[slot] = left
      if (left === 0) {
        stamp[slot] = engine.epoch
        if ((entryFlags[slot]! & departing) !== 0 || engine.overBudget) {
          engine.unlocked(slot)
        }
      }
    },

    pageOf(windowPage) {
      const at = windowPage >> shift
      const slot = owner[at]!
      const page = firstPage[slot]! + (windowPage - (slot << shift))
      // The owner is stale where no entry is any more. A list has NaN for its first page.
      const isWindowPage = (windowPage | 0) === windowPage
      if (isWindowPage && at - slot < bucketCount[slot]! && locks[slot]! > 0 && page === page) {
        // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the backend checked the page when it was mapped
        return page as Page
      }
      return slow.pageOf(windowPage)
    },

    loadUint8(page, offset) {
      const index = page >> shift
      if ((page | 0) === page && index >>> 0 < buckets && (offset & 4095) === offset) {
        const place = readable[index]!
        if (place !== 0) return view.getUint8(byteOf(place | (page & pageMask), offset))
      }
      const at = slow.locate(page, offset, 1, false)
      if (at >= 0) return view.getUint8(at)
      return slow.load(page, offset, 1).getUint8(0)
    },

    loadUint16(page, offset, littleEndian = true) {
      const index = page >> shift
      if (
        (page | 0) === page &&
        index >>> 0 < buckets &&
        (offset | 0) === offset &&
        offset >>> 0 <= 4094
      ) {
        const place = readable[index]!
        if (place !== 0) {
          return view.getUint16(byteOf(place | (page & pageMask), offset), littleEndian)
        }
      }
      const at = slow.locate(page, offset, 2, false)
      if (at >= 0) return view.getUint16(at, littleEndian)
      return slow.load(page, offset, 2).getUint16(0, littleEndian)
    },

    loadUint32(page, offset, littleEndian = true) {
      const index = page >> shift
      if (
        (page | 0) === page &&
        index >>> 0 < buckets &&
        (offset | 0) === offset &&
        offset >>> 0 <= 4092
      ) {
        const place = readable[index]!
        if (place !== 0) {
          return view.getUint32(byteOf(place | (page & pageMask), offset), littleEndian)
        }
      }
      const at = slow.locate(page, offset, 4, false)
      if (at >= 0) return view.getUint32(at, littleEndian)
      return slow.load(page, offset, 4).getUint32(0, littleEndian)
    },

    loadBigUint64(page, offset, littleEndian = true) {
      const index = page >> shift
      if (
        (page | 0) === page &&
        index >>> 0 < buckets &&
        (offset | 0) === offset &&
        offset >>> 0 <= 4088
      ) {
        const place = readable[index]!
        if (place !== 0) {
          return view.getBigUint64(byteOf(place | (page & pageMask), offset), littleEndian)
        }
      }
      const at = slow.locate(page, offset, 8, false)
      if (at >= 0) return view.getBigUint64(at, littleEndian)
      return slow.load(page, offset, 8).getBigUint64(0, littleEndian)
    },

    storeUint8(page, offset, value) {
      const index = page >> shift
      if ((page | 0) === page && index >>> 0 < buckets && (offset & 4095) === offset) {
        const place = writable[index]!
        if (place !== 0) {
          view.setUint8(byteOf(place | (page & pageMask), offset), value)
          return
        }
      }
      const at = slow.locate(page, offset, 1, true)
      if (at >= 0) view.setUint8(at, value)
      else slow.store(page, offset, 1, (bytes) => bytes.setUint8(0, value))
    },

    storeUint16(page, offset, value, littleEndian = true) {
      const index = page >> shift
      if (
        (page | 0) === page &&
        index >>> 0 < buckets &&
        (offset | 0) === offset &&
        offset >>> 0 <= 4094
      ) {
        const place = writable[index]!
        if (place !== 0) {
          view.setUint16(byteOf(place | (page & pageMask), offset), value, littleEndian)
          return
        }
      }
      const at = slow.locate(page, offset, 2, true)
      if (at >= 0) view.setUint16(at, value, littleEndian)
      else slow.store(page, offset, 2, (bytes) => bytes.setUint16(0, value, littleEndian))
    },

    storeUint32(page, offset, value, littleEndian = true) {
      const index = page >> shift
      if (
        (page | 0) === page &&
        index >>> 0 < buckets &&
        (offset | 0) === offset &&
        offset >>> 0 <= 4092
      ) {
        const place = writable[index]!
        if (place !== 0) {
          view.setUint32(byteOf(place | (page & pageMask), offset), value, littleEndian)
          return
        }
      }
      const at = slow.locate(page, offset, 4, true)
      if (at >= 0) view.setUint32(at, value, littleEndian)
      else slow.store(page, offset, 4, (bytes) => bytes.setUint32(0, value, littleEndian))
    },

    storeBigUint64(page, offset, value, littleEndian = true) {
      const index = page >> shift
      if (
        (page | 0) === page &&
        index >>> 0 < buckets &&
        (offset | 0) === offset &&
        offset >>> 0 <= 4088
      ) {
        const place = writable[index]!
        if (place !== 0) {
          view.setBigUint64(byteOf(place | (page & pageMask), offset), value, littleEndian)
          return
        }
      }
      const at = slow.locate(page, offset, 8, true)
      if (at >= 0) view.setBigUint64(at, value, littleEndian)
      else slow.store(page, offset, 8, (bytes) => bytes.setBigUint64(0, value, littleEndian))
    },
  }
}
