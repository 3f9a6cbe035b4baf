import { countPages } from '@xmc/interface'
import type { BucketEngine } from './bucket-engine.ts'
import { type BucketRequest, bucketOf, DUMMY, REMOVED, WRITABLE } from './bucket-table.ts'
import type { MapStep } from './map-step.ts'
import { asWindowPage } from './window-page.ts'

/**
 * Maps the requested pages that an entry lacks, in their places; the others stay untouched. `holes` are
 * those of the entry, and are kept up to date. The entry is held meanwhile, and may be gone afterwards.
 */
export function* fillHoles<Page extends number>(
  engine: BucketEngine<Page>,
  slot: number,
  holes: Int32Array,
  request: BucketRequest,
): Generator<MapStep<Page>, void, void> {
  const { backend, pagesPerBucket, table } = engine
  const writable = (table.flags[slot]! & WRITABLE) !== 0
  const firstPage = table.firstPage[slot]!
  const place = slot * pagesPerBucket
  engine.hold(slot)
  try {
    for (const [start, end] of runsOfHoles(holes, request)) {
      const pages = { first: backend.page(firstPage + start), count: end - start }
      const errors = new Int32Array(pages.count)
      const windowPage = asWindowPage(place + start)
      try {
        yield* mapWithRoom(engine, { windowPage, pages, writable, errors }, firstPage)
      } catch (error) {
        holes.fill(REMOVED, start, end)
        table.countAreas(slot)
        if (holes.every((errno) => errno === REMOVED)) {
          table.flags[slot] = table.flags[slot]! | DUMMY
        }
        throw error
      }
      holes.set(errors, start)
      table.countAreas(slot)
      table.flags[slot] = table.flags[slot]! & ~DUMMY
    }
  } finally {
    engine.letGo(slot)
  }
}

/** Yields one backend call, and again as long as memory areas are short and others can give some up. */
function* mapWithRoom<Page extends number>(
  engine: BucketEngine<Page>,
  step: MapStep<Page>,
  firstPage: number,
): Generator<MapStep<Page>, void, void> {
  const pageCount = countPages(step.pages)
  for (;;) {
    engine.noteMapCall(bucketOf(firstPage, engine.pagesPerBucket), pageCount)
    try {
      yield step
      return
    } catch (error) {
      if (!engine.areaRoom.relieve(error, pageCount)) throw engine.areaRoom.explain(error)
    }
  }
}

/** Runs of missing pages within a request, as [start, end) from the start of the entry. */
function runsOfHoles(holes: Int32Array, request: BucketRequest): [number, number][] {
  const runs: [number, number][] = []
  for (let page = request.firstPage; page <= request.lastPage; page++) {
    if (holes[page] === 0) continue
    const last = runs.at(-1)
    if (last !== undefined && last[1] === page) last[1] = page + 1
    else runs.push([page, page + 1])
  }
  return runs
}
