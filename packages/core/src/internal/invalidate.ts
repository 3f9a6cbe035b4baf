import { UnmapFailedError } from '../errors.ts'
import type { DrainFailure, InvalidationReport, LockedDmaMapping } from '../invalidation.ts'
import { LOCK_DMA } from '../lock-flags.ts'
import { COUNTER } from '../statistics.ts'
import { traceChannels } from '../trace.ts'
import type { BucketEngine } from './bucket-engine.ts'
import { DUMMY } from './bucket-table.ts'
import type { CacheUsers } from './cache-users.ts'
import type { LeakTracker } from './leak-tracker.ts'
import { asWindowPage } from './window-page.ts'

/** Unmaps every unlocked entry and retires the locked ones. The users are drained already. */
export function invalidateEngine<Page extends number>(
  engine: BucketEngine<Page>,
  users: CacheUsers,
  leaks: LeakTracker | undefined,
  drainFailures: readonly DrainFailure[],
): InvalidationReport {
  const lockedDma: LockedDmaMapping[] = []
  const unmapFailures: UnmapFailedError[] = []
  let unmapped = 0
  let retired = 0
  if (!engine.backend.pinned) {
    engine.count(COUNTER.invalidations)
    engine.outdate()
    engine.each(engine.table.entries.slice(), (slot) => {
      if (engine.table.locks[slot]! > 0) {
        lockedDma.push(...dmaLocksOf(engine, slot, users, leaks))
        // Nothing of the guest is in a dummy, and once hidden it could not be replaced (S42).
        if ((engine.table.flags[slot]! & DUMMY) !== 0) return
        engine.retire(slot)
        retired++
        return
      }
      try {
        engine.unmap(slot)
        unmapped++
      } catch (error) {
        if (!(error instanceof UnmapFailedError)) throw error
        unmapFailures.push(error)
      }
    })
  }
  return { unmapped, retired, lockedDma, drainFailures, unmapFailures }
}

function dmaLocksOf<Page extends number>(
  engine: BucketEngine<Page>,
  slot: number,
  users: CacheUsers,
  leaks: LeakTracker | undefined,
): LockedDmaMapping[] {
  const { table, locks, name } = engine
  const place = slot * engine.pagesPerBucket
  const found: LockedDmaMapping[] = []
  for (const { windowPage, offset, count, tag } of locks.within(place, table.pageCount(slot))) {
    if ((tag & LOCK_DMA) === 0) continue
    const nth = windowPage - place
    const page = table.lists.get(slot)?.[nth] ?? table.firstPage[slot]! + nth
    const holder = users.nameOf(tag)
    const stacks = leaks?.stacksAt(windowPage, offset) ?? []
    found.push({ page, windowPage: asWindowPage(windowPage), offset, locks: count, holder, stacks })
    if (traceChannels.invalidateAll.hasSubscribers) {
      traceChannels.invalidateAll.publish({ cache: name, page, windowPage, offset, user: holder })
    }
  }
  return found
}
