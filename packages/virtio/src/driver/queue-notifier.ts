import { eventPassed, VIRTQ_USED_F_NO_NOTIFY } from '../ring-layout.ts'
import type { RingWriter } from './ring-writer.ts'
import type { DriverStatistics } from './statistics.ts'

/** What a notifier works with. */
export interface QueueNotifierParts {
  readonly ring: RingWriter
  /** VIRTIO_F_EVENT_IDX was negotiated. */
  readonly eventIndex: boolean
  readonly statistics: DriverStatistics
  /** Writes QueueNotify. */
  readonly notify: () => Promise<void>
  /** Gives the device up. */
  readonly fail: (error: Error) => void
}

/**
 * Tells the device of new chains in one queue, unless it wants no notification (virtio 1.2, 2.7.10 and
 * 2.7.13.4). Chains that are announced in one go need one notification, and one write of QueueNotify is
 * under way at a time.
 */
export class QueueNotifier {
  readonly #parts: QueueNotifierParts
  /** The available index now, and when the need for a notification was last looked at. */
  #index = 0
  #announcedIndex = 0
  #scheduled = false
  #notifying = false
  #again = false
  #stopped = false

  constructor(parts: QueueNotifierParts) {
    this.#parts = parts
  }

  /** The available index has become `index`; the device hears of it from a microtask. */
  announce(index: number): void {
    this.#index = index
    if (this.#scheduled) return
    this.#scheduled = true
    queueMicrotask(this.#look)
  }

  /** The device hears of nothing from now on. */
  stop(): void {
    this.#stopped = true
  }

  readonly #look = (): void => {
    this.#scheduled = false
    if (this.#stopped) return
    const { ring, eventIndex, statistics } = this.#parts
    const before = this.#announcedIndex
    this.#announcedIndex = this.#index
    const wanted = eventIndex
      ? eventPassed(ring.availableEvent, this.#index, before)
      : (ring.usedFlags & VIRTQ_USED_F_NO_NOTIFY) === 0
    if (!wanted) statistics.suppressedNotifies++
    // The device may have looked before the new chains were there: it needs another notification.
    else if (this.#notifying) this.#again = true
    else this.#start()
  }

  #start(): void {
    this.#notifying = true
    this.#parts.statistics.notifies++
    this.#parts.notify().then(this.#notified, this.#parts.fail)
  }

  readonly #notified = (): void => {
    this.#notifying = false
    if (!this.#again) return
    this.#again = false
    if (!this.#stopped) this.#start()
  }
}
