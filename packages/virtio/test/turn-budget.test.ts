import { setImmediate } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { TurnBudget, type TurnClient } from '../src/index.ts'

/** Units that are enough for a look at the clock. */
const ENOUGH = 64

/** A client that always has more to do, each time for `milliseconds` of a clock that only moves by hand. */
class Greedy implements TurnClient {
  time = 0
  turns = 0
  readonly budget: TurnBudget
  readonly #milliseconds: number

  constructor(milliseconds: number) {
    this.#milliseconds = milliseconds
    this.budget = new TurnBudget({ now: () => this.time })
  }

  continue(): void {
    this.turns += 1
    this.budget.spend(ENOUGH)
    this.time += this.#milliseconds
    this.budget.spend(ENOUGH)
    this.budget.wait(this)
  }
}

/** Lets turns of the event loop pass in which others work for some milliseconds each. */
async function others(client: Greedy, turns: number, milliseconds: number): Promise<void> {
  for (let turn = 0; turn < turns; turn++) {
    client.time += milliseconds
    await setImmediate()
  }
}

describe('TurnBudget', () => {
  it('gives others two thirds of the time when they have work all the time', async () => {
    const client = new Greedy(1)
    client.continue()
    await others(client, 100, 0.1)
    // 10 ms of others: a turn of the client for each 2 of them, and the first.
    expect(client.turns).toBeGreaterThanOrEqual(4)
    expect(client.turns).toBeLessThanOrEqual(6)
    expect(client.budget.statistics.rested).toBeGreaterThan(50)
  })

  it('goes on in each turn of the event loop when nobody else works', async () => {
    const client = new Greedy(1)
    client.continue()
    await others(client, 100, 0.001)
    expect(client.turns).toBeGreaterThanOrEqual(100)
    expect(client.budget.statistics.rested).toBe(0)
  })

  it('takes what was counted between two turns for its own work, not for that of others', async () => {
    const client = new Greedy(1)
    client.continue()
    for (let turn = 0; turn < 100; turn++) {
      client.budget.spend(ENOUGH)
      client.time += 0.1
      await setImmediate()
    }
    expect(client.turns).toBeGreaterThanOrEqual(100)
    expect(client.budget.statistics.rested).toBe(0)
  })

  it('ends a rest that nobody uses, and forgets others that do not come again', async () => {
    const client = new Greedy(1)
    client.continue()
    await others(client, 3, 0.1)
    const { rested } = client.budget.statistics
    expect(rested).toBeGreaterThan(0)
    // 0.25 ms after their last work in each of 20 ms, and never after that.
    await others(client, 400, 0.02)
    const after = client.budget.statistics.rested
    await others(client, 100, 0.02)
    expect(client.budget.statistics.rested).toBe(after)
    expect(client.turns).toBeGreaterThan(100)
  })

  it('owes others no more than 8 turns for a piece of work that took longer than one', async () => {
    const client = new Greedy(1000)
    client.continue()
    await others(client, 82, 0.1)
    expect(client.turns).toBeGreaterThanOrEqual(2)
  })
})

describe('looks at the clock', () => {
  it('come often where little work takes long, so that later turns are short', async () => {
    let time = 0
    const budget = new TurnBudget({ now: () => time })
    const slow = (): void => {
      time += 1
    }
    // The first look opens the turn; the next finds how slow it is.
    expect(unitsOfTurn(budget, slow)).toBe(128)
    await setImmediate()
    expect(unitsOfTurn(budget, slow)).toBe(8)
    await setImmediate()
    expect(unitsOfTurn(budget, slow)).toBe(8)
  })

  it('come seldom again where work is quick', async () => {
    let time = 0
    let looks = 0
    const budget = new TurnBudget({
      now: () => {
        looks += 1
        return time
      },
    })
    unitsOfTurn(budget, () => {
      time += 1
    })
    await setImmediate()
    looks = 0
    unitsOfTurn(budget, () => {
      time += 0.0001
    })
    // 16,384 units are a turn’s descriptors: 256 looks, and those in which it is found out.
    expect(looks).toBeLessThan(256 + 64)
  })
})

/** Units that are spent, 4 at a time, each for so many milliseconds, until a turn is used up. */
function unitsOfTurn(budget: TurnBudget, each: (units: number) => void): number {
  for (let units = 4; ; units += 4) {
    each(units)
    if (budget.spend(4)) return units
  }
}
