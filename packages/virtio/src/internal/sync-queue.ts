import type { DiskError } from '../disk.ts'

/** What a flush ends with; undefined for success. */
export type Flushed = (error?: DiskError) => void

/**
 * Makes the syncs of one file, one at a time; what comes meanwhile shares the next one. The kernel tells of a
 * lost write once, to one of the calls that are under way, so that two at a time would let the other succeed.
 */
export class SyncQueue {
  readonly #sync: (done: Flushed) => void
  #waiting: Flushed[] = []
  #running = false

  /** @param sync makes one sync; it ends with an error again and again once there was one */
  constructor(sync: (done: Flushed) => void) {
    this.#sync = sync
  }

  /** Makes what is written now durable, and calls `done`. */
  flush(done: Flushed): void {
    this.#waiting.push(done)
    if (!this.#running) this.#run()
  }

  #run(): void {
    const flushes = this.#waiting
    this.#waiting = []
    this.#running = true
    this.#sync((error) => {
      this.#running = false
      for (const done of flushes) done(error)
      if (this.#waiting.length > 0 && !this.#running) this.#run()
    })
  }
}
