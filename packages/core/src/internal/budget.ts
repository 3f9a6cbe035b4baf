import type { BucketEngine } from './bucket-engine.ts'

/**
 * Unmaps unlocked entries until that many pages more keep the budget. The one that an access used last stays
 * where locked entries alone exceed the budget: else each access to it would map it again.
 */
export function keepBudget<Page extends number>(
  engine: BucketEngine<Page>,
  pageCount: number,
): void {
  let passedOver = 0
  while (engine.mappedPages + pageCount > engine.budgetPages) {
    const victim = engine.victims.next()
    if (victim < 0) return
    const rest = engine.mappedPages - engine.table.bucketCount[victim]! * engine.pagesPerBucket
    if (victim !== engine.accessed || rest + pageCount <= engine.budgetPages) engine.evict(victim)
    // It comes up again, perhaps first, when the victims are sorted anew; after that all others have come up.
    else if (++passedOver > 2) return
  }
}
