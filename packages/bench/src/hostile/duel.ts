import { readFileSync } from 'node:fs'
import { setImmediate, setTimeout } from 'node:timers/promises'
import type { Addressing } from '@xmc/arm-virt'
import type { Attack, Attacker } from './attack.ts'
import { type DiskRate, Victim } from './victim.ts'

/** What an attack did to a disk beside it. */
export interface DuelResult {
  /** The disk with nobody beside it, and under attack. */
  readonly alone: DiskRate
  readonly attacked: DiskRate
  /** Longest time that the event loop stood still under attack, in milliseconds. */
  readonly longestTurn: number
  /** What the guest did. */
  readonly steps: number
  /** Memory areas of the process at the end of the attack. */
  readonly areas: number
  /** Bytes that the process has more at the end of the attack. */
  readonly residentBytes: number
  /** Lines that the user of the host was told. */
  readonly lines: number
}

/** Milliseconds for each of the phases. */
export interface DuelEffort {
  readonly warmUp: number
  readonly measured: number
}

/** A disk by itself, and then beside an attacker in the same process. */
export async function duel(
  attack: Attack,
  addressing: Addressing,
  { warmUp, measured }: DuelEffort,
): Promise<DuelResult> {
  const attacker = await attack.prepare(addressing)
  const victim =
    attacker.victim === undefined ? await Victim.open(addressing) : new Victim(attacker.victim)
  await victim.run(warmUp)
  const alone = await victim.run(measured)
  const residentBefore = process.memoryUsage.rss()
  const assault = new Assault(attacker)
  await victim.run(warmUp)
  const turns = new TurnWatch()
  const attacked = await victim.run(measured)
  const longestTurn = turns.stop()
  const areas = readFileSync('/proc/self/maps', 'latin1').split('\n').length - 1
  const residentBytes = process.memoryUsage.rss() - residentBefore
  const steps = await assault.stop()
  const lines = attacker.lines?.() ?? 0
  await attacker.close()
  await victim.close()
  return { alone, attacked, longestTurn, steps, areas, residentBytes, lines }
}

/** A guest's processor that takes one step of its attack after the other. */
class Assault {
  readonly #ended: Promise<void>
  #steps = 0
  #isOver = false

  constructor(attacker: Attacker) {
    this.#ended = this.#go(attacker)
  }

  /** Lets it end its step, and returns how many it took. One that its host holds for longer is left alone. */
  async stop(): Promise<number> {
    this.#isOver = true
    await Promise.race([this.#ended, setTimeout(1000)])
    return this.#steps
  }

  async #go(attacker: Attacker): Promise<void> {
    while (!this.#isOver) {
      await attacker.step()
      this.#steps += 1
      // A processor of its own, which costs the event loop no more than its stores do.
      await setImmediate()
    }
  }
}

/** Watches how late a timer of a millisecond comes. */
class TurnWatch {
  readonly #timer: NodeJS.Timeout
  #last = performance.now()
  #longest = 0

  constructor() {
    this.#timer = globalThis.setInterval(() => this.#look(), 1)
  }

  /** The longest so far, up to this moment. */
  stop(): number {
    clearInterval(this.#timer)
    this.#look()
    return this.#longest
  }

  #look(): void {
    const now = performance.now()
    this.#longest = Math.max(this.#longest, now - this.#last)
    this.#last = now
  }
}
