import { performance } from 'node:perf_hooks'
import { checkOptions, InvalidArgumentError, type OptionNames } from '@xmc/interface'

/** How much a {@link TurnBudget} allows. */
export interface TurnBudgetOptions {
  /**
   * Microseconds of a turn of the event loop, with all that runs in it from the first few descriptors on,
   * after which work on queues waits for the next turn; 1 or more, by default 1000.
   */
  readonly turnMicroseconds?: number | undefined
  /**
   * Descriptors that are worked on in a turn, from the reading to the release of what they name, 16 or more; by
   * default 4096. A request counts as two more, a buffer over 64 KiB as more.
   */
  readonly turnDescriptors?: number | undefined
  /** The time in milliseconds; by default `performance.now`. */
  readonly now?: (() => number) | undefined
}

/** Counts since a budget was made. */
export interface TurnBudgetStatistics {
  /** Turns whose budget was used up. */
  readonly exhausted: number
  /** Turns that were left to others after that. */
  readonly rested: number
  /** Most descriptors of a turn, as `turnDescriptors` counts them. */
  readonly mostInTurn: number
}

/** Somebody with work that waits for a turn. */
export interface TurnClient {
  /** Works until nothing is left or the budget is spent, and then waits again. Does not throw. */
  continue(): void
}

/** Microseconds of a turn by default. */
export const DEFAULT_TURN_MICROSECONDS = 1000

/** Descriptors of a turn by default. */
export const DEFAULT_TURN_DESCRIPTORS = 4096

/**
 * Bounds the work that is done for guests in one turn of the event loop, in time and in descriptors,
 * whatever starts or ends a request: a notification, a promise, an interrupt that calls the guest. What is
 * over it goes on in the next turn, after timers and others had theirs, and in the order of coming.
 *
 * Where others have work too, a turn that was used up is followed by a rest of twice its time, which is theirs: who always has
 * more to do takes a third of the event loop at most. The rest ends early when nobody uses it.
 *
 * Transports that are given the same budget share it, so that many devices together stay bounded. The last piece of
 * work of a turn is always finished: one buffer, or one call of a device's `handle`.
 */
export class TurnBudget {
  /** Whether nothing more is to be done in this turn. */
  spent = false

  private readonly milliseconds: number
  /** Most units of a turn. */
  private readonly limit: number
  private readonly now: () => number
  private readonly clients: TurnClient[] = []
  private immediate: NodeJS.Immediate | undefined
  /** Units until the clock is looked at. */
  private untilLook = LOOK_EVERY
  /** Units between two looks: fewer where they take long. */
  private lookEvery = LOOK_EVERY
  private looked = 0
  private units = 0
  private started = 0
  /** Whether the time of the turn is counted. */
  private timed = false
  private exhausted = 0
  private mostInTurn = 0
  private rested = 0
  /** Milliseconds that others are to have before work goes on, and since when. */
  private owed = 0
  private restingSince = 0
  /** When this was left for the last time, and when others were seen to work. */
  private left = 0
  private unitsBefore = 0
  private othersWorked = Number.NEGATIVE_INFINITY

  /** @throws InvalidArgumentError `ERR_XMC_ARGUMENT` */
  constructor(options: TurnBudgetOptions = {}) {
    checkOptions('TurnBudget', options, OPTIONS)
    const { turnMicroseconds = DEFAULT_TURN_MICROSECONDS } = options
    const { turnDescriptors = DEFAULT_TURN_DESCRIPTORS } = options
    if (!(turnMicroseconds >= 1)) {
      throw new InvalidArgumentError('turnMicroseconds', 'a number from 1', turnMicroseconds)
    }
    if (!(turnDescriptors >= LEAST_DESCRIPTORS)) {
      throw new InvalidArgumentError(
        'turnDescriptors',
        `a number from ${LEAST_DESCRIPTORS}`,
        turnDescriptors,
      )
    }
    this.milliseconds = turnMicroseconds / 1000
    this.limit = turnDescriptors * DESCRIPTOR_UNITS
    this.now = options.now ?? ((): number => performance.now())
  }

  /** A snapshot of the counts. */
  get statistics(): TurnBudgetStatistics {
    return {
      exhausted: this.exhausted,
      rested: this.rested,
      mostInTurn: this.mostInTurn / DESCRIPTOR_UNITS,
    }
  }

  /** Counts units of work, 4 for a descriptor. Returns whether the budget is spent. */
  spend(units: number): boolean {
    this.untilLook -= units
    if (this.untilLook <= 0) this.look()
    return this.spent
  }

  /** Has a client go on in a later turn; a client that waits already must not wait twice. */
  wait(client: TurnClient): void {
    this.clients.push(client)
    this.left = this.now()
    this.unitsBefore = this.unitsSoFar
    this.immediate ??= setImmediate(this.turn)
  }

  /**
   * Reads the clock, which costs as much as a small buffer does. What was done in the turn before the first look is
   * little, and a turn with nothing else needs neither clock nor timer.
   */
  private look(): void {
    this.units += this.lookEvery - this.untilLook
    const time = this.now()
    if (this.timed) this.adapt(time - this.looked)
    else this.open(time)
    this.looked = time
    this.untilLook = this.lookEvery
    if (this.spent) return
    if (time - this.started < this.milliseconds && this.units < this.limit) return
    this.spent = true
    this.exhausted += 1
    this.owed = Math.min(REST * (time - this.started), LONGEST_REST * this.milliseconds)
    this.restingSince = time
  }

  /** Looks more often where work takes long, as a buffer does that needs hundreds of maps, and seldom where it is quick. */
  private adapt(passed: number): void {
    if (passed > this.milliseconds * LONG) this.lookEvery = LEAST_LOOK_EVERY
    else if (this.lookEvery < LOOK_EVERY) this.lookEvery += 1
  }

  /** Counts the time from now on, until the turn has ended. */
  private open(time: number): void {
    this.timed = true
    this.started = time
    this.looked = time
    this.immediate ??= setImmediate(this.turn)
  }

  /** Units of the turn. */
  private get unitsSoFar(): number {
    return this.units + this.lookEvery - this.untilLook
  }

  /** Whether the turn is to be left to others. What passed since this was left is their time, but for what `units` took. */
  private rests(time: number, units: number): boolean {
    const passed = time - this.left
    this.left = time
    // A clock that stands still tells nothing of others.
    if (passed <= 0) return false
    if (passed - units * UNIT >= WORK) this.othersWorked = time
    if (time - this.restingSince >= this.owed || time - this.othersWorked >= EXPECTED) return false
    return time - Math.max(this.othersWorked, this.restingSince) < UNUSED
  }

  /** Begins a turn. */
  private readonly turn = (): void => {
    this.immediate = undefined
    const units = this.unitsSoFar
    const unitsSince = units - this.unitsBefore
    this.mostInTurn = Math.max(this.mostInTurn, units)
    this.unitsBefore = 0
    this.units = 0
    this.untilLook = this.lookEvery
    this.timed = false
    this.spent = false
    if (this.clients.length === 0) return
    const time = this.now()
    if (this.rests(time, unitsSince)) {
      this.rested += 1
      this.immediate = setImmediate(this.turn)
      return
    }
    this.open(time)
    // Who waits again gets a later turn.
    for (let left = this.clients.length; left > 0 && !this.spent; left -= 1) {
      this.clients.shift()?.continue()
    }
  }
}

/** Times that the others have of a turn that was used up, and the most in turns where the last piece of work took long. */
const REST = 2
const LONGEST_REST = 8

/** Milliseconds between two turns of the event loop from which on somebody else had work in between. */
const WORK = 0.03

/** The most milliseconds that a unit takes: a quarter of a map and unmap. */
const UNIT = 0.004

/** Milliseconds for which others who worked are expected to come again, and for which a rest that nobody uses goes on. */
const EXPECTED = 20
const UNUSED = 0.25

/** Units of work between two looks at the clock. */
const LOOK_EVERY = 64
const LEAST_LOOK_EVERY = 4

/** Part of a turn's time that may pass between two looks. */
const LONG = 1 / 4

const LEAST_DESCRIPTORS = 16

/** Units of work of a descriptor: it is read, mapped, used and released. */
const DESCRIPTOR_UNITS = 4

const OPTIONS: OptionNames<TurnBudgetOptions> = {
  turnMicroseconds: true,
  turnDescriptors: true,
  now: true,
}
