import { ClosedError, type Shortage } from '@xmc/interface'
import { WindowFullError } from '../errors.ts'
import type { BucketEngine } from './bucket-engine.ts'
import { keepBudget } from './budget.ts'

/**
 * Contiguous free slots for a mapping of bucket `bucketIndex`, or of a list, -1, after whatever must give way
 * for them.
 *
 * @throws WindowFullError `ERR_XMC_WINDOW_FULL`
 * @throws ClosedError `ERR_XMC_CLOSED`: somebody who was told of what gives way has closed the cache
 */
export function takeSlots<Page extends number>(
  engine: BucketEngine<Page>,
  bucketCount: number,
  bucketIndex: number,
): number {
  const { slots, strict, table, victims } = engine
  const pageCount = bucketCount * engine.pagesPerBucket
  if (bucketCount > slots.slotCount) throw windowFull(engine, pageCount, 'lasting')
  slots.retryWhenDue()
  if (strict !== undefined && bucketIndex >= 0) {
    const victim = strict.victim(bucketIndex, (slot) => table.isFree(slot))
    if (victim >= 0) engine.evict(victim)
  }
  if (engine.keeps) keepBudget(engine, pageCount)
  engine.areaRoom.prepare(pageCount)
  for (;;) {
    if (engine.closed) throw new ClosedError(engine.name)
    const slot = slots.take(bucketCount, engine.areaRoom.isTight)
    if (slot >= 0) {
      engine.advance()
      return slot
    }
    const victim = victims.next()
    if (victim >= 0) engine.evict(victim)
    else if (!slots.recoverOne()) throw windowFull(engine, pageCount, 'passing')
  }
}

function windowFull<Page extends number>(
  engine: BucketEngine<Page>,
  pageCount: number,
  shortage: Shortage,
): WindowFullError {
  const { name, pagesPerBucket, table } = engine
  let lockedPages = 0
  for (const slot of table.entries) {
    if (!table.isFree(slot)) lockedPages += table.bucketCount[slot]! * pagesPerBucket
  }
  const { lostPages } = engine.slots
  const windowPages = engine.backend.window.pageCount
  return new WindowFullError(name, pageCount, windowPages, { lockedPages, lostPages, shortage })
}
