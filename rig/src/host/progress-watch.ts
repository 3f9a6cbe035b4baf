import { availableParallelism, loadavg } from 'node:os'
import { counted } from '../time/waiting.ts'

/** Milliseconds between two looks at a run. */
const LOOK_MILLISECONDS = 1000

/** The most that a busy machine may stretch time. */
const MAX_SLOWNESS = 20

/** How a run is watched. */
export interface WatchOptions {
  /** Seconds without progress after which it counts as stuck, on a machine that has a processor for it. */
  readonly patienceSeconds: number
  /** Is called once, when it counts as stuck. */
  onStuck(): void
  /** @default that of this process */
  readonly clock?: WatchClock
  /** How many programs share a processor, 1 where each has one. @default by the load of this machine */
  readonly slowness?: () => number
}

/** What time it is, in milliseconds, and a call again and again until the returned function is called. */
export interface WatchClock {
  now(): number
  every(milliseconds: number, look: () => void): () => void
}

const ownClock: WatchClock = {
  now: () => performance.now(),
  every(milliseconds, look) {
    const timer = setInterval(look, milliseconds)
    return () => clearInterval(timer)
  },
}

/**
 * Tells a run that is stuck from one that is slow. Only time without progress counts, a look of this process that comes late counts
 * as one in time, and where several programs share a processor a second counts as the part of it that each of them has.
 */
export class ProgressWatch {
  readonly #options: WatchOptions
  readonly #slowness: () => number
  readonly #clock: WatchClock
  readonly #end: () => void
  #silentMilliseconds = 0
  #last: number
  #lastProgress: number
  #isStuck = false

  constructor(options: WatchOptions) {
    this.#options = options
    this.#slowness = options.slowness ?? machineSlowness
    this.#clock = options.clock ?? ownClock
    this.#last = this.#clock.now()
    this.#lastProgress = this.#last
    this.#end = this.#clock.every(LOOK_MILLISECONDS, () => this.#look())
  }

  /** The run is further than it was. */
  progressed(): void {
    this.#silentMilliseconds = 0
    this.#lastProgress = this.#clock.now()
  }

  /** Whether it was found stuck. */
  get isStuck(): boolean {
    return this.#isStuck
  }

  /** Seconds since the last progress, by the clock. */
  get silentSeconds(): number {
    return Math.round((this.#clock.now() - this.#lastProgress) / 1000)
  }

  /** Ends the watch. */
  close(): void {
    this.#end()
  }

  #look(): void {
    const now = this.#clock.now()
    const passed = counted(now - this.#last, LOOK_MILLISECONDS)
    this.#last = now
    this.#silentMilliseconds += passed / Math.min(Math.max(this.#slowness(), 1), MAX_SLOWNESS)
    if (this.#silentMilliseconds < this.#options.patienceSeconds * 1000) return
    this.#isStuck = true
    this.#end()
    this.#options.onStuck()
  }
}

/** Programs that want a processor, for each that there is. */
function machineSlowness(): number {
  return (loadavg()[0] ?? 0) / availableParallelism()
}
