import type { CaseResult } from '../console/protocol.ts'
import type { RunOutcome } from './run.ts'

/** What is known after a run, as `--json` prints it. */
export type RunResults =
  | {
      readonly passed: number
      readonly failed: number
      readonly skipped: number
      readonly cases: readonly CaseResult[]
      /** What went wrong beside failed cases. */
      readonly problems: readonly string[]
      /** Exit code of dom0's program; null when it did not end. */
      readonly exitCode: number | null
      readonly seconds: number
    }
  /** The run could not be done. */
  | { readonly error: { readonly code: string; readonly message: string } }

/** The results of a run that was done. */
export function runResults(outcome: RunOutcome, seconds: number): RunResults {
  const count = (wanted: CaseResult['outcome']): number =>
    outcome.cases.filter((result) => result.outcome === wanted).length
  return {
    passed: count('passed'),
    failed: count('failed'),
    skipped: count('skipped'),
    cases: outcome.cases,
    problems: outcome.problems,
    exitCode: outcome.exitCode ?? null,
    seconds: Number(seconds.toFixed(1)),
  }
}

/** The exit code of dom0's program, unless that is 0 and something failed all the same. */
export function exitCodeOf(results: RunResults): number {
  if ('error' in results) return 1
  const wrong = results.failed > 0 || results.problems.length > 0
  return results.exitCode || (wrong ? 1 : 0)
}

/** One case for people; what a failed one has to say is indented below it. */
export function caseLine({ suite, id, title, outcome, milliseconds, detail }: CaseResult): string {
  const head = `${outcome.padEnd(7)} ${suite} ${id} ${title}`
  if (outcome === 'skipped') return `${head} (${detail ?? 'no reason given'})`
  const line = `${head}  ${milliseconds.toFixed(0)} ms`
  return detail === undefined ? line : `${line}\n${detail.replaceAll(/^/gm, '        ')}`
}

/** The closing line. */
export function summaryLine(results: RunResults): string {
  if ('error' in results) return `not run: ${results.error.message}`
  const { passed, failed, skipped } = results
  return `${passed} passed, ${failed} failed, ${skipped} skipped`
}
