import { UnmapFailedError } from '../errors.ts'
import type { DrainFailure, InvalidationReport, LockedDmaMapping } from '../invalidation.ts'
import { LOCK_DMA } from '../lock-flags.ts'
import { COUNTER } from '../statistics.ts'
import { traceChannels } from '../trace.ts'
import type { BucketEngine } from './bucket-engine.ts'
import { DUMMY, RETIRED } from './bucket-table.ts'
import type { CacheUsers } from './cache-users.ts'
import type { LeakTracker } from './leak-tracker.ts'
import { asWindowPage } from './window-page.ts'

/**
 * Unmaps every entry that nobody needs and retires the others. The users are drained already. What was retired
 * before is not looked at again: it was reported then, and nobody can lock it any more.
 */
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
    const { table } = engine
    engine.each(table.entries.slice(), (slot) => {
      const flags = table.flags[slot]!
      if ((flags & RETIRED) !== 0) return
      if (!table.isFree(slot)) {
        collectDmaLocks(engine, slot, users, leaks, lockedDma)
        // Nothing of the guest is in a dummy, and once hidden it could not be replaced; unless it is
        // being filled, with pages of before.
        if ((flags & DUMMY) !== 0 && !engine.isFilling(slot)) return
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
    // At the end, since whoever is told may release, map or unmap.
    if (traceChannels.invalidateAll.hasSubscribers) {
      for (const { page, windowPage, offset, holder } of lockedDma) {
        const message = { cache: engine.name, page, windowPage, offset, user: holder }
        traceChannels.invalidateAll.publish(message)
      }
    }
  }
  return { unmapped, retired, lockedDma, drainFailures, unmapFailures }
}

/** One for all: a guest may make a device hold tens of thousands of locks. */
const NO_STACKS: readonly string[] = []

function collectDmaLocks<Page extends number>(
  engine: BucketEngine<Page>,
  slot: number,
  users: CacheUsers,
  leaks: LeakTracker | undefined,
  found: LockedDmaMapping[],
): void {
  const { table, locks } = engine
  const place = slot * engine.pagesPerBucket
  const list = table.lists.get(slot)
  for (const { windowPage, offset, count, tag } of locks.within(place, table.pageCount(slot))) {
    if ((tag & LOCK_DMA) === 0) continue
    const nth = windowPage - place
    const page = list?.[nth] ?? table.firstPage[slot]! + nth
    const holder = users.nameOf(tag)
    const stacks = leaks?.stacksAt(windowPage, offset) ?? NO_STACKS
    found.push({ page, windowPage: asWindowPage(windowPage), offset, locks: count, holder, stacks })
  }
}
