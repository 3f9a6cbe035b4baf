import {
  type Awaitable,
  type ContractCase,
  type ContractProvider,
  notApplicable,
} from './contract-case.ts'

/** What became of one case. */
export type ContractResult =
  | { readonly id: string; readonly title: string; readonly outcome: 'passed' }
  | {
      readonly id: string
      readonly title: string
      readonly outcome: 'not-applicable'
      readonly reason: string
    }
  | {
      readonly id: string
      readonly title: string
      readonly outcome: 'failed'
      readonly error: unknown
    }

/**
 * Runs `cases` one after the other, each on a provider of its own, and yields a result for each. For
 * machines without a test framework, such as a bare dom0.
 *
 * A provider that cannot be made, or cannot be closed, fails the case it was for. A case that never
 * settles is not ended.
 */
export async function* runContract<Provider extends ContractProvider>(
  cases: Iterable<ContractCase<Provider>>,
  makeProvider: () => Awaitable<Provider>,
): AsyncGenerator<ContractResult, void, void> {
  for (const contractCase of cases) yield runCase(contractCase, makeProvider)
}

async function runCase<Provider extends ContractProvider>(
  contractCase: ContractCase<Provider>,
  makeProvider: () => Awaitable<Provider>,
): Promise<ContractResult> {
  const { id, title } = contractCase
  try {
    const provider = await makeProvider()
    try {
      const reason = notApplicable(contractCase, provider)
      if (reason !== undefined) return { id, title, outcome: 'not-applicable', reason }
      await contractCase.run(provider)
    } finally {
      await provider.close()
    }
    return { id, title, outcome: 'passed' }
  } catch (error) {
    return { id, title, outcome: 'failed', error }
  }
}
