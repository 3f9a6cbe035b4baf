import { setImmediate } from 'node:timers/promises'

/** What was seen of the turns of the event loop. */
export interface TurnSummary {
  /** Most of what is counted in one turn. */
  readonly mostInTurn: number
  /** Longest turn by the clock, in milliseconds. */
  readonly longestMilliseconds: number
}

/** Watches turn by turn how much of something is done, and for how long. */
export class Turns {
  readonly #count: () => number
  #last: number
  #at = performance.now()
  #mostInTurn = 0
  #longest = 0

  /** @param count of what is done, so far */
  constructor(count: () => number) {
    this.#count = count
    this.#last = count()
  }

  get summary(): TurnSummary {
    return { mostInTurn: this.#mostInTurn, longestMilliseconds: this.#longest }
  }

  /** Lets turns pass until `work` is done, and `least` in any case, but no more than `most`. Returns whether it is done. */
  async pass(work: Promise<void>, least: number, most: number): Promise<boolean> {
    const state = { isDone: false }
    const settled = work.finally(() => {
      state.isDone = true
    })
    // What it fails with is thrown below, once it has.
    settled.catch(() => {})
    for (let turn = 0; turn < most && (turn < least || !state.isDone); turn++) {
      await setImmediate()
      this.#look()
    }
    if (state.isDone) await settled
    return state.isDone
  }

  #look(): void {
    const count = this.#count()
    const now = performance.now()
    this.#mostInTurn = Math.max(this.#mostInTurn, count - this.#last)
    this.#longest = Math.max(this.#longest, now - this.#at)
    this.#last = count
    this.#at = now
  }
}
