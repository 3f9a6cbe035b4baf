import type { ContractCase, ContractProvider, ContractResult } from '@xmc/contract'
import { runContract } from '@xmc/contract'
import type { CaseResult } from '../console/protocol.ts'

/** Cases that belong together. */
export interface Suite {
  /** Short, and unique: it is typed to run this one alone. */
  readonly name: string
  /** What belongs to it, in the order in which it runs. */
  readonly cases: readonly { readonly id: string; readonly title: string }[]
  /**
   * Runs the cases with these ids, one after the other. What this throws is a failure of the suite as a whole.
   *
   * @param onBegin is told of each that begins
   */
  run(ids: ReadonlySet<string>, onBegin?: (id: string) => void): AsyncIterable<CaseResult>
}

/** One case of a {@link caseSuite}. */
export interface Case {
  /** Unique in its suite. */
  readonly id: string
  /** What is promised, in one clause. */
  readonly title: string
  /** Resolves when the promise holds; throws when it does not, or a {@link Skip}. */
  readonly run: () => Promise<void> | void
}

/** Thrown by a case that cannot be run here. */
export class Skip extends Error {
  override readonly name: string = 'Skip'
}

/** A suite of cases that have nothing in common but their subject. */
export function caseSuite(name: string, cases: readonly Case[]): Suite {
  return {
    name,
    cases,
    async *run(ids, onBegin) {
      for (const { id, title, run } of cases.filter((each) => ids.has(each.id))) {
        onBegin?.(id)
        const started = performance.now()
        const result = { suite: name, id, title }
        try {
          await run()
          yield { ...result, outcome: 'passed', milliseconds: performance.now() - started }
        } catch (error) {
          const milliseconds = performance.now() - started
          yield error instanceof Skip
            ? { ...result, outcome: 'skipped', milliseconds, detail: error.message }
            : { ...result, outcome: 'failed', milliseconds, detail: describe(error) }
        }
      }
    },
  }
}

/** A contract of `@xmc/contract` as a suite; `makeProvider` makes a provider for each case, which it is told. */
export function contractSuite<Provider extends ContractProvider>(
  name: string,
  cases: readonly ContractCase<Provider>[],
  makeProvider: (contractCase: ContractCase<Provider>) => Provider | Promise<Provider>,
): Suite {
  return {
    name,
    cases,
    async *run(ids, onBegin) {
      for (const contractCase of cases.filter((each) => ids.has(each.id))) {
        onBegin?.(contractCase.id)
        const started = performance.now()
        for await (const result of runContract([contractCase], () => makeProvider(contractCase))) {
          yield { suite: name, milliseconds: performance.now() - started, ...caseOf(result) }
        }
      }
    },
  }
}

function caseOf(result: ContractResult): Omit<CaseResult, 'suite' | 'milliseconds'> {
  const { id, title } = result
  switch (result.outcome) {
    case 'passed':
      return { id, title, outcome: 'passed' }
    case 'not-applicable':
      return { id, title, outcome: 'skipped', detail: result.reason }
    case 'failed':
      return { id, title, outcome: 'failed', detail: describe(result.error) }
  }
}

/** An error with its stack and its causes. */
export function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const text = error.stack ?? error.message
  return error.cause === undefined ? text : `${text}\ncaused by ${describe(error.cause)}`
}
