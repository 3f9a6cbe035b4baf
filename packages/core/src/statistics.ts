/** Counters of one cache since it was made, and its present size. */
export interface CacheStatistics {
  /** Locked maps and slow accesses that found their pages mapped. Loads and stores that hit are not counted. */
  readonly hits: number
  /** Requests that had to map something, whether it succeeded or not. */
  readonly misses: number
  /** Calls to the backend that map. */
  readonly mapCalls: number
  /** Calls to the backend that unmap. */
  readonly unmapCalls: number
  /** Pages that those map calls asked for. */
  readonly pagesRequested: number
  /** Copies made instead of a mapping. */
  readonly copyCalls: number
  /** Mappings removed to stay within the budget or the window, or for being idle. */
  readonly evictions: number
  /** Full invalidations. */
  readonly invalidations: number
  /** Unmap calls that failed. */
  readonly unmapFailures: number
  /** Handles that were lost without release; 0 while leak tracking is off. */
  readonly leaks: number
  /** Entries visited in searches. */
  readonly searchSteps: number
  /** Entries now mapped. */
  readonly entries: number
  /** Entries now locked by users. */
  readonly lockedEntries: number
  /** Locks of users now outstanding. */
  readonly locks: number
  /** What the cache itself keeps entries for now: calls under way, and releases that end in a later turn. */
  readonly holds: number
  /** Calls now under way that map or unmap; they must have ended before the window is closed: `closeAsync`. */
  readonly callsUnderWay: number
  /** Pages of the window that mappings take: whole buckets, holes and dummies included. */
  readonly mappedPages: number
  /** Pages whose unmap failed: out of use until one succeeds, which is tried again and again. */
  readonly lostPages: number
  /** Accesses without a lock that were refused for pages known to be missing, without a call. */
  readonly missingRemembered: number
  /** Memory areas of the window now: each run of pages is one, and each gap. 0 where it does not count them. */
  readonly memoryAreas: number
  /** Memory areas that the window may take; 0 where it does not count them. */
  readonly memoryAreaLimit: number
  /** Maps that found too few memory areas, so that others were unmapped, or the map failed. */
  readonly areaShortages: number
}

/** @internal Counters in one array: no field of the cache changes its shape or boxes a number. */
export const COUNTER = {
  requests: 0,
  misses: 1,
  mapCalls: 2,
  unmapCalls: 3,
  pagesRequested: 4,
  copyCalls: 5,
  evictions: 6,
  invalidations: 7,
  unmapFailures: 8,
  leaks: 9,
  areaShortages: 10,
  missingRemembered: 11,
} as const
