import { describe, expect, it } from 'vitest'
import { type Clock, settle, until } from '../src/time/waiting.ts'

/** A clock on which a pause takes `lateness` times as long as it should. */
class SlowClock implements Clock {
  pauses = 0
  #now = 0
  readonly #lateness: number

  constructor(lateness: number) {
    this.#lateness = lateness
  }

  now(): number {
    return this.#now
  }

  async pause(milliseconds: number): Promise<void> {
    this.pauses += 1
    this.#now += milliseconds * this.#lateness
  }
}

async function waitInVain(lateness: number, limit: number) {
  const clock = new SlowClock(lateness)
  const told: string[] = []
  const tell = (line: string): void => void told.push(line)
  const waiting = until('nobody comes', () => false, { limit, clock, tell })
  await expect(waiting).rejects.toThrow(`nobody comes within ${limit} ms`)
  return { seconds: Math.round(clock.now() / 1000), told }
}

describe('until', () => {
  it('resolves with the condition, which may take its time to say so', async () => {
    const clock = new SlowClock(1)
    let looks = 0
    await until('never', async () => ++looks === 5, { clock })
    expect([looks, clock.pauses]).toEqual([5, 4])
  })

  it('gives up after its limit, on a machine that is quick', async () => {
    expect((await waitInVain(1, 10_000)).seconds).toBe(10)
  })

  it('gives up later where it does not get the processor', async () => {
    expect((await waitInVain(2, 10_000)).seconds).toBe(10)
    expect((await waitInVain(20, 10_000)).seconds).toBe(100)
  })

  it('tells every 20 seconds that it still waits, and for what', async () => {
    expect((await waitInVain(1, 50_000)).told).toEqual([
      'waiting for 20 s: nobody comes so far',
      'waiting for 40 s: nobody comes so far',
    ])
  })

  it('passes on what the condition throws', async () => {
    const failing = until('never', () => {
      throw new Error('ESRCH')
    })
    await expect(failing).rejects.toThrow('ESRCH')
  })
})

describe('settle', () => {
  it('looks as often as there are 10 ms, however late each look is', async () => {
    const clock = new SlowClock(50)
    await settle(250, clock)
    expect(clock.pauses).toBe(25)
  })
})
