/**
 * Waiting on a machine that may be slow. Time counts only as far as whoever waits had the processor: a look that comes late counts
 * as if it had come in time. A busy machine so takes longer before it counts as one that hangs.
 */

/** Milliseconds that something may take, unless its caller says otherwise. */
export const PATIENCE_MILLISECONDS = 120_000

/** Milliseconds between two lines that tell of a wait: whoever watches the console sees that it is one. */
const TELLING_MILLISECONDS = 20_000

const PAUSE_MILLISECONDS = 10

/** How somebody waits. */
export interface WaitingOptions {
  /** Milliseconds, as they count here, after which waiting ends. @default PATIENCE_MILLISECONDS */
  readonly limit?: number
  /** Milliseconds between two looks, by those that have passed. @default 10 */
  readonly pause?: (elapsed: number) => number
  /** What time it is and how to let some pass. @default that of this process */
  readonly clock?: Clock
  /** Gets a line, every 20 seconds. @default prints it */
  readonly tell?: (line: string) => void
}

/** Milliseconds that pass. */
export interface Clock {
  now(): number
  pause(milliseconds: number): Promise<void>
}

const ownClock: Clock = {
  now: () => performance.now(),
  pause: (milliseconds) =>
    new Promise((resolve) => {
      setTimeout(resolve, milliseconds)
    }),
}

/** Milliseconds that count of those between two looks: a pause, and as much again for the look itself. */
export function counted(passed: number, pause: number): number {
  return Math.min(passed, 2 * pause)
}

/**
 * Waits for a condition.
 *
 * @param complaint what is wrong if it never holds, as in `the guest does not answer`
 * @throws Error with the complaint when the condition does not hold within the limit, and whatever the condition throws
 */
export async function until(
  complaint: string,
  condition: () => boolean | Promise<boolean>,
  options: WaitingOptions = {},
): Promise<void> {
  const { limit = PATIENCE_MILLISECONDS, clock = ownClock } = options
  const { pause = () => PAUSE_MILLISECONDS, tell = print } = options
  const start = clock.now()
  let last = start
  let told = start
  let elapsed = 0
  while (!(await condition())) {
    if (elapsed > limit) throw new Error(`${complaint} within ${limit} ms`)
    const milliseconds = pause(elapsed)
    await clock.pause(milliseconds)
    const now = clock.now()
    elapsed += counted(now - last, milliseconds)
    last = now
    if (now - told < TELLING_MILLISECONDS) continue
    told = now
    tell(`waiting for ${((now - start) / 1000).toFixed(0)} s: ${complaint} so far`)
  }
}

/** Lets some milliseconds pass, as they count here, with looks at what has come in between. */
export async function settle(milliseconds: number, clock: Clock = ownClock): Promise<void> {
  for (let elapsed = 0; elapsed < milliseconds; elapsed += PAUSE_MILLISECONDS) {
    await clock.pause(PAUSE_MILLISECONDS)
  }
}

function print(line: string): void {
  process.stdout.write(`${line}\n`)
}
