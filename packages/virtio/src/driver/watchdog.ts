import { InvalidArgumentError } from '@xmc/interface'

/** Time limit of whatever a driver waits for, where nothing else is said. */
export const DEFAULT_TIMEOUT_MILLISECONDS = 30_000

/** Turns of the timer in one time limit. */
const TURNS = 8

/** The longest delay that a timer takes. */
const MAXIMUM_MILLISECONDS = 2 ** 31 - 1

/**
 * One time limit for everything that a driver waits for. Time is counted in turns of a timer, an eighth
 * of the limit each, so that a start costs no clock and an event loop that is blocked does not count.
 * The timer keeps the process alive while something is awaited.
 */
export class Watchdog {
  /** The limit; Infinity for none. */
  readonly milliseconds: number
  readonly #onTurn: () => void
  #timer: NodeJS.Timeout | undefined
  #awaited = 0
  #turn = 0

  /** @throws InvalidArgumentError `ERR_XMC_ARGUMENT` for a limit outside 1 to 2^31 − 1 that is not Infinity */
  constructor(milliseconds: number, onTurn: () => void) {
    if (
      milliseconds !== Number.POSITIVE_INFINITY &&
      !(milliseconds >= 1 && milliseconds <= MAXIMUM_MILLISECONDS)
    ) {
      throw new InvalidArgumentError(
        'timeoutMilliseconds',
        'a number from 1 to 2147483647, or Infinity',
        milliseconds,
      )
    }
    this.milliseconds = milliseconds
    this.#onTurn = onTurn
  }

  /** The turn now, to be remembered by what starts. */
  get turn(): number {
    return this.#turn
  }

  /** Something more is awaited. */
  begin(): void {
    if (this.#awaited++ > 0 || this.milliseconds === Number.POSITIVE_INFINITY) return
    if (this.#timer === undefined) {
      this.#timer = setInterval(this.#tick, Math.max(1, this.milliseconds / TURNS))
    } else this.#timer.ref()
  }

  /** Something that was awaited has ended. */
  end(): void {
    if (--this.#awaited === 0) this.#timer?.unref()
  }

  /** Whether what started in turn `since` has taken longer than the limit. */
  isOverdue(since: number): boolean {
    return this.#turn - since > TURNS
  }

  readonly #tick = (): void => {
    this.#turn++
    if (this.#awaited > 0) return this.#onTurn()
    clearInterval(this.#timer)
    this.#timer = undefined
  }
}
