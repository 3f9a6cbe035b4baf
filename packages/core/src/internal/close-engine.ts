import type { BucketEngine } from './bucket-engine.ts'

/**
 * Refuses new requests, then unmaps everything that no call is under way for; a call unmaps its own at its
 * end. Called again, it tries to clear once more what is lost.
 *
 * @throws UnmapFailedError `ERR_XMC_UNMAP_FAILED`: something is lost
 */
export function closeEngine<Page extends number>(engine: BucketEngine<Page>): void {
  engine.calls.begin()
  try {
    let failure: { readonly error: unknown } | undefined
    try {
      if (!engine.closed) dropEverything(engine)
    } catch (error) {
      failure = { error }
    }
    const lost = engine.slots.recoverAll()
    if (lost !== undefined) {
      if (failure !== undefined) engine.warnings.warn('a RAM listener', failure.error)
      throw lost
    }
    if (failure !== undefined) throw failure.error
  } finally {
    engine.calls.end()
  }
}

function dropEverything<Page extends number>(engine: BucketEngine<Page>): void {
  const { locks, pagesPerBucket, table } = engine
  engine.closed = true
  const entries = table.entries.slice()
  // Before the first listener hears of the end, no hit finds anything any more.
  for (const slot of entries) engine.hide(slot)
  try {
    engine.each(entries, (slot) => {
      locks.clear(slot * pagesPerBucket, table.pageCount(slot))
      table.locks[slot] = 0
      // What something is being done with goes when that ends.
      if (engine.isFilling(slot)) engine.retire(slot)
      else engine.tryUnmap(slot)
    })
  } finally {
    engine.areaRoom.close()
  }
}
