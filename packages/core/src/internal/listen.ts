import type { RamListener } from '../ram-listener.ts'
import type { BucketEngine } from './bucket-engine.ts'

/** Adds a listener, and tells it of what is there. Returns how to remove it. */
export function listen<Page extends number>(
  engine: BucketEngine<Page>,
  listener: RamListener,
): () => void {
  const { listeners, table } = engine
  const entries = table.entries.slice()
  const registration = listeners.register(listener, entries)
  try {
    for (const slot of entries) {
      // What has gone meanwhile is not pending.
      if (!registration.pending.delete(slot)) continue
      engine.hold(slot)
      try {
        listener.added(engine.windowPageOf(slot), table.pageCount(slot))
      } finally {
        engine.letGo(slot)
      }
    }
  } catch (error) {
    listeners.remove(registration)
    throw error
  }
  return () => {
    listeners.remove(registration)
  }
}
