import { ClosedError } from '@xmc/interface'
import type { BucketEngine } from './bucket-engine.ts'
import type { Place } from './window-slots.ts'

/**
 * Tells the listeners of a new entry. Whoever is told may lock, release, load or flush: the entry is there until
 * everybody knows of it.
 *
 * @throws ClosedError `ERR_XMC_CLOSED`: somebody has closed the cache; and whatever they throw
 */
export function announceAdded<Page extends number>(engine: BucketEngine<Page>, slot: number): void {
  const { listeners, table } = engine
  if (listeners.isEmpty) return
  engine.hold(slot)
  try {
    listeners.added(engine.windowPageOf(slot), table.pageCount(slot))
  } catch (error) {
    engine.endHold(slot)
    // The operation fails, so nobody will ever lock the entry, unless somebody who was told of it has.
    if (table.isFree(slot)) engine.tryUnmap(slot)
    throw error
  }
  engine.endHold(slot)
  if (!engine.closed) return
  if (table.isFree(slot)) engine.unmap(slot)
  throw new ClosedError(engine.name)
}

/** Tells the listeners of an entry that goes; gives what one of them threw. */
export function announceRemoved<Page extends number>(
  engine: BucketEngine<Page>,
  place: Place,
): { readonly error: unknown } | undefined {
  try {
    engine.listeners.removed(place.slot, engine.windowPageOf(place.slot), place.pageCount)
    return undefined
  } catch (error) {
    return { error }
  }
}
