import { MemoryAreasError, type WindowAreas, XmcError } from '@xmc/interface'
import { COUNTER } from '../statistics.ts'
import type { BucketEngine } from './bucket-engine.ts'

/** Areas that a map may be expected to take, however many pages it has. */
const MOST_FORESEEN = 1024

/** Part of a window's limit that is freed at least once areas are short, so that the next miss finds some. */
const LEAST_FREED = 1 / 16

/** Areas of an entry without holes: its own, and the gap beside it. */
const WHOLE_ENTRY = 2

/**
 * Keeps a cache within the memory areas of its window. A bucket with holes is an area for each run of pages
 * and each gap, so entries go by areas as they go by pages: those with many first, least recently used
 * first among them.
 */
export class AreaRoom<Page extends number> {
  private readonly engine: BucketEngine<Page>
  private readonly areas: WindowAreas | undefined
  private readonly withdraw: (() => void) | undefined

  constructor(engine: BucketEngine<Page>) {
    this.engine = engine
    this.areas = engine.backend.window.areas
    this.withdraw = this.areas?.onShortage((areas) => this.giveUp(areas, 1))
  }

  /** Whether areas are so few that a new mapping had better lie where one was, which takes none. */
  get isTight(): boolean {
    const { areas } = this
    return areas !== undefined && areas.room < areas.limit * LEAST_FREED
  }

  /** Unmaps entries with holes until a map of that many pages fits whatever is missing of it. */
  prepare(pageCount: number): void {
    const { areas } = this
    if (areas === undefined) return
    const needed = Math.min(mostOf(pageCount), Math.floor(areas.limit / 4))
    if (areas.room < needed) this.giveUp(needed - areas.room, WHOLE_ENTRY + 1)
  }

  /** Whether a map of that many pages failed for want of areas, and there is more room for another attempt by now. */
  relieve(error: unknown, pageCount: number): boolean {
    const { areas } = this
    if (areas === undefined || !isShortOfAreas(error)) return false
    this.engine.count(COUNTER.areaShortages)
    const before = areas.room
    const least = Math.ceil(areas.limit * LEAST_FREED)
    const wanted = Math.max(error.needed, Math.min(mostOf(pageCount), areas.limit), least)
    this.giveUp(wanted - before, 1)
    if (areas.room < wanted) areas.reclaim(wanted)
    return areas.room > before
  }

  /** Makes a call that maps, and again as long as areas are short and others can give some up. */
  map(pageCount: number, call: () => void): void {
    for (;;) {
      try {
        call()
        return
      } catch (error) {
        if (!this.relieve(error, pageCount)) throw this.explain(error)
      }
    }
  }

  /** What to throw for a map that failed for want of areas: it says whether releases would help. */
  explain(error: unknown): unknown {
    const { areas, engine } = this
    if (areas === undefined || !isShortOfAreas(error)) return error
    const { needed, used, limit, option } = error
    const isAlone = engine.table.entries.length === 0 && engine.calls.count <= 1
    const waits = !isAlone || (limit !== areas.limit && areas.othersUse)
    const shortage = waits && error.shortage === 'passing' ? 'passing' : 'lasting'
    return new MemoryAreasError({ who: engine.name, needed, used, limit, option, shortage })
  }

  /** Unmaps what nobody has locked and takes `least` areas or more, until `wanted` are free or none is left. */
  giveUp(wanted: number, least: number): void {
    const { areas, engine } = this
    if (areas === undefined) return
    const { table } = engine
    const { areas: taken, stamp } = table
    const idle = table.entries.filter((slot) => table.isFree(slot) && taken[slot]! >= least)
    const isWhole = (slot: number): number => (taken[slot]! <= WHOLE_ENTRY ? 1 : 0)
    idle.sort((a, b) => isWhole(a) - isWhole(b) || stamp[a]! - stamp[b]!)
    const goal = areas.used - wanted
    for (const slot of idle) {
      if (areas.used <= goal) return
      // A listener may have taken it, or locked it.
      if (table.isFree(slot)) engine.evict(slot)
    }
  }

  /** Is not asked to give anything up from now on. */
  close(): void {
    this.withdraw?.()
  }
}

/** Areas that a map of that many pages takes at most, as far as one looks ahead. */
function mostOf(pageCount: number): number {
  return Math.min(pageCount + 1, MOST_FORESEEN)
}

/** Whether a map failed for want of memory areas, whichever copy of the package says so. */
export function isShortOfAreas(error: unknown): error is MemoryAreasError {
  return error instanceof XmcError && error.code === 'ERR_XMC_MEMORY_AREAS'
}
