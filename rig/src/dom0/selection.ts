import type { Suite } from './suite.ts'

/** A suite, and which of its cases are to run. */
interface SelectedSuite {
  readonly suite: Suite
  readonly ids: ReadonlySet<string>
}

/** What a command line asks for. */
export interface Selection {
  /** In the order of the suites; one with no case to run is left out. */
  readonly selected: readonly SelectedSuite[]
  /** Names that are neither a suite nor a case. */
  readonly unknown: readonly string[]
}

/**
 * Takes apart which cases are to run: suites by name, cases as `SUITE/CASE`, without either all cases of `usual`.
 * With `--part=N/M` every Mth case of these, from the Nth on: M machines with parts 1 to M run each case once.
 */
export function selectCases(
  parameters: readonly string[],
  usual: readonly Suite[],
  onRequest: readonly Suite[],
): Selection {
  const names = parameters.filter((parameter) => !parameter.startsWith('--part='))
  const given = parameters.find((parameter) => parameter.startsWith('--part='))
  const [, first = '1', step = '1'] = /^--part=([1-9]\d*)\/([1-9]\d*)$/.exec(given ?? '') ?? []
  const suites = names.length === 0 ? usual : [...usual, ...onRequest]
  const known = new Set<string>()
  const selected: SelectedSuite[] = []
  let count = 0
  for (const suite of suites) {
    known.add(suite.name)
    const ids = new Set<string>()
    for (const { id } of suite.cases) {
      const name = `${suite.name}/${id}`
      known.add(name)
      if (names.length > 0 && !names.includes(suite.name) && !names.includes(name)) continue
      count += 1
      if ((count - 1) % Number(step) === Number(first) - 1) ids.add(id)
    }
    if (ids.size > 0) selected.push({ suite, ids })
  }
  return { selected, unknown: names.filter((name) => !known.has(name)) }
}
