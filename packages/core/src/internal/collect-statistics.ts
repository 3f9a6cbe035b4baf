import { type CacheStatistics, COUNTER } from '../statistics.ts'
import type { BucketEngine } from './bucket-engine.ts'

/** The counters of an engine, and what is mapped now. */
export function collectStatistics<Page extends number>(
  engine: BucketEngine<Page>,
): CacheStatistics {
  const { entries, holds, locks } = engine.table
  const { areas } = engine.backend.window
  const of = (counter: number): number => engine.counters[counter] ?? 0
  let locked = 0
  let lockCount = 0
  let holdCount = 0
  for (const slot of entries) {
    if (locks[slot]! > 0) locked++
    lockCount += locks[slot]!
    holdCount += holds[slot]!
  }
  return {
    hits: of(COUNTER.requests) - of(COUNTER.misses) - of(COUNTER.copyCalls),
    misses: of(COUNTER.misses),
    mapCalls: of(COUNTER.mapCalls),
    unmapCalls: of(COUNTER.unmapCalls),
    pagesRequested: of(COUNTER.pagesRequested),
    copyCalls: of(COUNTER.copyCalls),
    evictions: of(COUNTER.evictions),
    invalidations: of(COUNTER.invalidations),
    unmapFailures: of(COUNTER.unmapFailures),
    leaks: of(COUNTER.leaks),
    searchSteps: engine.table.steps,
    entries: entries.length,
    lockedEntries: locked,
    locks: lockCount,
    holds: holdCount,
    callsUnderWay: engine.calls.count,
    mappedPages: engine.mappedPages,
    lostPages: engine.slots.lostPages,
    missingRemembered: of(COUNTER.missingRemembered),
    memoryAreas: areas?.used ?? 0,
    memoryAreaLimit: areas?.limit ?? 0,
    areaShortages: of(COUNTER.areaShortages),
  }
}
