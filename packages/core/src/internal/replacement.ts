import {
  ClosedError,
  InvalidArgumentError,
  PAGE_SIZE,
  RefusedError,
  type WindowPage,
} from '@xmc/interface'
import { NotMappedError, PagesMissingError } from '../errors.ts'
import { traceChannels } from '../trace.ts'
import type { BucketEngine } from './bucket-engine.ts'
import { bucketOf, DUMMY, holesOf, REMOVED, RETIRED, WRITABLE } from './bucket-table.ts'
import { callEach } from './call-each.ts'
import { asWindowPage } from './window-page.ts'

/** What `MapCache.replace` does. */
export function replacePages<Page extends number>(
  engine: BucketEngine<Page>,
  oldPage: Page,
  newPage: Page,
  pageCount: number,
): WindowPage {
  const { backend, name } = engine
  if (engine.closed) throw new ClosedError(name)
  if (!Number.isInteger(pageCount) || pageCount < 1 || pageCount > 0x7_ffff) {
    throw new InvalidArgumentError('pageCount', 'an integer from 1 to 524287', pageCount)
  }
  if (backend.pinned) {
    throw new RefusedError(`${name}: pinned pages cannot be replaced: release and map them again`)
  }
  const { pagesPerBucket } = engine
  if (oldPage % pagesPerBucket !== newPage % pagesPerBucket) {
    const expected = 'a page at the same place in its bucket as oldPage, so that pointers stay'
    throw new InvalidArgumentError('newPage', expected, newPage)
  }
  backend.page(oldPage + pageCount - 1)
  backend.page(newPage + pageCount - 1)
  if (traceChannels.replaceDummy.hasSubscribers) {
    traceChannels.replaceDummy.publish({ cache: name, oldPage, newPage })
    if (engine.closed) throw new ClosedError(name)
  }
  const request = engine.request(oldPage, 0, pageCount * PAGE_SIZE, false)
  const slots = engine.table.matching(request.index, request.bucketCount)
  if (slots.length === 0) {
    if (traceChannels.replaceMiss.hasSubscribers) {
      traceChannels.replaceMiss.publish({ cache: name, oldPage })
    }
    throw new NotMappedError(name, oldPage, pageCount)
  }
  replaceEntries(engine, slots, backend.page(newPage - request.firstPage))
  const missing = engine.request(newPage, 0, pageCount * PAGE_SIZE, false)
  if (!slots.every((slot) => engine.table.covers(slot, missing))) {
    if (traceChannels.replaceFailed.hasSubscribers) {
      traceChannels.replaceFailed.publish({ cache: name, oldPage })
    }
    const page = newPage - request.firstPage + missing.missingPage
    throw new PagesMissingError(name, page, missing.missingErrno)
  }
  const slot = slots.find((at) => (engine.table.flags[at]! & WRITABLE) !== 0) ?? slots[0]!
  return asWindowPage(slot * pagesPerBucket + request.firstPage)
}

/** Maps other pages in the place of entries; their locks and pointers stay. */
function replaceEntries<Page extends number>(
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
