import { ClosedError, RefusedError } from '../errors.ts'
import type { BucketEngine } from './bucket-engine.ts'
import { bucketOf, DUMMY, holesOf, REMOVED, RETIRED, WRITABLE } from './bucket-table.ts'
import { callEach } from './call-each.ts'
import { asWindowPage } from './window-page.ts'

/** Maps other pages in the place of entries (reference 2.7); their locks and pointers stay. */
export function replaceEntries<Page extends number>(
  engine: BucketEngine<Page>,
  slots: readonly number[],
  firstPage: Page,
): void {
  if (slots.some((slot) => engine.isFilling(slot))) {
    throw new RefusedError(
      `${engine.name}: pages of this mapping are being mapped: replace it after`,
    )
  }
  const warn = (error: unknown): void => {
    engine.warnings.warn('a replacement', error)
  }
  engine.calls.begin()
  try {
    for (const slot of slots) engine.hold(slot)
    try {
      const replace = (slot: number): void => {
        replaceOne(engine, slot, firstPage)
      }
      callEach(slots, replace, warn)
    } finally {
      const letGo = (slot: number): void => {
        engine.letGo(slot)
      }
      callEach(slots, letGo, warn)
    }
  } finally {
    engine.calls.end()
  }
}

function replaceOne<Page extends number>(
  engine: BucketEngine<Page>,
  slot: number,
  firstPage: Page,
): void {
  const { pagesPerBucket, strict, table } = engine
  const pageCount = table.pageCount(slot)
  engine.noteMapCall(bucketOf(firstPage, pagesPerBucket), pageCount)
  const flags = table.flags[slot]!
  // Whoever was told of the call may have closed the cache.
  if ((flags & RETIRED) !== 0) throw new ClosedError(engine.name)
  const windowPage = asWindowPage(slot * pagesPerBucket)
  const errors = new Int32Array(pageCount)
  engine.hide(slot)
  try {
    const pages = { first: firstPage, count: pageCount }
    engine.areaRoom.map(pageCount, () => {
      engine.backend.mapAt(windowPage, pages, (flags & WRITABLE) !== 0, errors)
    })
  } catch (error) {
    // The place holds anonymous pages now. A dummy is as before; what was real is missing from now on.
    const holes = (flags & DUMMY) === 0 ? errors.fill(REMOVED) : table.holes.get(slot)
    engine.hide(slot)
    table.moveTo(slot, table.firstPage[slot]!, flags | DUMMY, holes)
    throw error
  }
  strict?.vacate(bucketOf(table.firstPage[slot]!, pagesPerBucket), slot)
  strict?.occupy(bucketOf(firstPage, pagesPerBucket), slot)
  // A backend that read through the cache has put it into the table again.
  engine.hide(slot)
  // Hits find it after its next use, which is noted.
  table.moveTo(slot, firstPage, flags & ~DUMMY, holesOf(errors))
}
