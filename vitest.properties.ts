import process from 'node:process'
import { expect } from 'vitest'

/** How fast-check runs one property. */
export interface PropertyRuns {
  numRuns: number
  seed: number
}

/** Whether this is `npm run test:long`. */
const isLong = process.env['XMC_LONG'] !== undefined

/** Files that `npm run test:long` runs. */
const longFile = /\.(long|property)\.test\.ts$/

/**
 * The parameters of `fc.assert` for one property: `runs` cases in `npm test`, `longRuns` in
 * `npm run test:long`, from the seed that the run prints at its start. `XMC_SEED` sets the seed.
 *
 * @throws {Error} with more `longRuns` than `runs` in a file that `npm run test:long` does not run
 */
export function propertyRuns(runs: number, longRuns: number = runs): PropertyRuns {
  return { numRuns: repetitions(runs, longRuns), seed: Number(process.env['XMC_SEED']) }
}

/**
 * How often a test repeats what it does: `few` times in `npm test`, `many` times in `npm run test:long`.
 *
 * @throws {Error} with more in the long run in a file that `npm run test:long` does not run
 */
export function repetitions(few: number, many: number): number {
  const file = expect.getState().testPath ?? ''
  if (many > few && !longFile.test(file)) {
    throw new Error(
      `${file} is not run by test:long, so ${many} would never be reached: ` +
        'name it *.property.test.ts or *.long.test.ts.',
    )
  }
  return isLong ? many : few
}
