import { performance } from 'node:perf_hooks'

/** Longest read, in bytes, that is tried on the calling thread. */
export const QUICK_BYTES: number = 32 * 1024

/** A read that takes longer, in ms, was not answered from the page cache. */
const SLOW = 0.07
/** After a slow read, quick ones stay away this many times as long, and twice as long each time again. */
const LEAST_PAUSE = 4
const MOST_PAUSE = 1024
/** This many quick reads in a row, and the pause after the next slow one is short again. */
const STREAK = 16
/** Most quick reads in one turn of the event loop, about 1 ms of them: others want a turn, too. */
const PER_TURN = 256

/**
 * Decides which reads are made on the calling thread instead of the thread pool.
 *
 * A 4 KiB read from the page cache takes 2 µs; handing it to the pool and hearing of its end takes 4
 * to 15 µs, most of it to wake a thread. So short reads are tried at once, as long as they turn out
 * quick. One that waits for a medium blocks the event loop once, and the pause after it grows until
 * the blocked time is a thousandth.
 */
export class QuickReads {
  private readonly now: () => number
  private pausedUntil = 0
  private pause = LEAST_PAUSE
  private streak = 0
  private left = PER_TURN
  private turn: Promise<void> | undefined

  /** @param now the time in ms */
  constructor(now: () => number = () => performance.now()) {
    this.now = now
  }

  /** When the next quick read may be made; undefined where that is now, or not soon. */
  nextTurn(): Promise<void> | undefined {
    return this.left === 0 ? this.turn : undefined
  }

  /**
   * Runs a synchronous read, if one may be made now.
   *
   * @returns what `read` returned; undefined where it was not run
   */
  attempt(read: () => number): number | undefined {
    const start = this.now()
    if (this.left === 0 || start < this.pausedUntil) return undefined
    this.left -= 1
    this.turn ??= this.turnOfLoop()
    const count = read()
    const end = this.now()
    this.judge(end, end - start)
    return count
  }

  private turnOfLoop(): Promise<void> {
    return new Promise((resolve) => {
      setImmediate(() => {
        this.turn = undefined
        this.left = PER_TURN
        resolve()
      })
    })
  }

  private judge(end: number, took: number): void {
    if (took <= SLOW) {
      this.streak += 1
      if (this.streak === STREAK) this.pause = LEAST_PAUSE
      return
    }
    this.streak = 0
    this.pausedUntil = end + took * this.pause
    this.pause = Math.min(this.pause * 2, MOST_PAUSE)
  }
}
