import type { WindowPage } from '@xmc/interface'
import type { RamListener } from '../ram-listener.ts'
import { callEach } from './call-each.ts'
import type { ListenerWarnings } from './listener-warnings.ts'

/** A listener that was added, and may have been told of less than there is. */
export interface Registration {
  readonly listener: RamListener
  /** Entries from before it was added that it was not told of yet. */
  readonly pending: Set<number>
}

/**
 * Who is told of memory that appears in a window and goes. Each is told of everything once that appears
 * while it listens, or was there before, and once when that goes, whatever other listeners do meanwhile.
 */
export class RamListeners {
  private readonly registrations: Set<Registration> = new Set()
  private readonly warnings: ListenerWarnings

  constructor(warnings: ListenerWarnings) {
    this.warnings = warnings
  }

  get isEmpty(): boolean {
    return this.registrations.size === 0
  }

  /** Adds a listener, which is still to be told of `entries`. */
  register(listener: RamListener, entries: Iterable<number>): Registration {
    const registration = { listener, pending: new Set(entries) }
    this.registrations.add(registration)
    return registration
  }

  remove(registration: Registration): void {
    this.registrations.delete(registration)
  }

  /** Tells everybody of a new entry, whoever throws; then throws the first error. */
  added(windowPage: WindowPage, pageCount: number): void {
    this.each(({ listener }) => {
      listener.added(windowPage, pageCount)
    })
  }

  /** Tells everybody who knows of an entry that it goes, whoever throws; then throws the first error. */
  removed(slot: number, windowPage: WindowPage, pageCount: number): void {
    this.each(({ listener, pending }) => {
      if (!pending.delete(slot)) listener.removed(windowPage, pageCount)
    })
  }

  private each(tell: (registration: Registration) => void): void {
    if (this.isEmpty) return
    callEach(
      [...this.registrations],
      (registration) => {
        // Another listener may have taken it off.
        if (this.registrations.has(registration)) tell(registration)
      },
      (error) => {
        this.warnings.warn('a RAM listener', error)
      },
    )
  }
}
