import { describe, expect, it } from 'vitest'
import { ProgressWatch, type WatchClock } from '../src/host/progress-watch.ts'

/** A clock that the test moves on. */
class HandClock implements WatchClock {
  #now = 0
  #look: (() => void) | undefined

  now(): number {
    return this.#now
  }

  every(_milliseconds: number, look: () => void): () => void {
    this.#look = look
    return () => {
      this.#look = undefined
    }
  }

  /** Lets seconds pass with a look after each `step` of them. */
  pass(seconds: number, step: number = 1): void {
    for (let second = 0; second < seconds; second += step) {
      this.#now += step * 1000
      this.#look?.()
    }
  }

  get isLooking(): boolean {
    return this.#look !== undefined
  }
}

function watching(slowness: () => number = () => 1) {
  const clock = new HandClock()
  const found = { stuck: 0 }
  const watch = new ProgressWatch({
    patienceSeconds: 120,
    onStuck: () => {
      found.stuck += 1
    },
    clock,
    slowness,
  })
  return { clock, watch, found }
}

describe('ProgressWatch', () => {
  it('finds a run stuck that is silent for its patience, once', () => {
    const { clock, watch, found } = watching()
    clock.pass(119)
    expect([found.stuck, watch.isStuck]).toEqual([0, false])
    clock.pass(1)
    expect([found.stuck, watch.isStuck, watch.silentSeconds]).toEqual([1, true, 120])
    clock.pass(500)
    expect([found.stuck, clock.isLooking]).toEqual([1, false])
  })

  it('lets a slow run go on for as long as it gets further', () => {
    const { clock, watch, found } = watching()
    for (let line = 0; line < 100; line++) {
      clock.pass(119)
      watch.progressed()
    }
    expect(found.stuck).toBe(0)
    clock.pass(120)
    expect(found.stuck).toBe(1)
  })

  it('has as much more patience as programs share a processor', () => {
    const { clock, watch, found } = watching(() => 4)
    clock.pass(479)
    expect(found.stuck).toBe(0)
    clock.pass(1)
    expect([found.stuck, watch.silentSeconds]).toEqual([1, 480])
  })

  it('has no less where the machine is idle, and does not wait for ever on the busiest', () => {
    const idle = watching(() => 0)
    idle.clock.pass(119)
    expect(idle.found.stuck).toBe(0)
    idle.clock.pass(1)
    expect(idle.found.stuck).toBe(1)
    const busiest = watching(() => 1e9)
    busiest.clock.pass(2399)
    expect(busiest.found.stuck).toBe(0)
    busiest.clock.pass(2)
    expect(busiest.found.stuck).toBe(1)
  })

  it('does not count time in which it could not look', () => {
    const { clock, found } = watching()
    // Looks that are 100 s late count 2 s each.
    clock.pass(5900, 100)
    expect(found.stuck).toBe(0)
    clock.pass(100, 100)
    expect(found.stuck).toBe(1)
  })

  it('ends with the run', () => {
    const { clock, watch, found } = watching()
    watch.close()
    clock.pass(1000)
    expect([found.stuck, clock.isLooking]).toEqual([0, false])
  })
})
