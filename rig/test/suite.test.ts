import type { ContractCase, ContractProvider } from '@xmc/contract'
import { describe, expect, it } from 'vitest'
import { caseSuite, contractSuite, Skip, type Suite } from '../src/dom0/suite.ts'

async function outcomes(suite: Suite, ids: readonly string[]): Promise<string[]> {
  const found: string[] = []
  for await (const { suite: of, id, title, outcome, detail } of suite.run(new Set(ids))) {
    found.push([of, id, title, outcome, detail?.split('\n')[0] ?? ''].join('|'))
  }
  return found
}

describe('caseSuite', () => {
  it('goes on after a case that fails, and tells a skip from a failure', async () => {
    const suite = caseSuite('s', [
      { id: '1', title: 'good', run: async () => {} },
      {
        id: '2',
        title: 'bad',
        run: () => {
          throw new RangeError('no')
        },
      },
      { id: '3', title: 'elsewhere', run: () => Promise.reject(new Skip('not here')) },
    ])
    expect(await outcomes(suite, ['1', '2', '3'])).toEqual([
      's|1|good|passed|',
      's|2|bad|failed|RangeError: no',
      's|3|elsewhere|skipped|not here',
    ])
    expect(await outcomes(suite, ['3'])).toEqual(['s|3|elsewhere|skipped|not here'])
  })

  it('tells of each case that begins, before it runs', async () => {
    const told: string[] = []
    const run = (): void => void told.push('runs')
    const suite = caseSuite('s', [
      { id: '1', title: 'one', run },
      { id: '2', title: 'two', run },
    ])
    for await (const { id } of suite.run(new Set(['2']), (each) => told.push(`begins ${each}`))) {
      told.push(`ended ${id}`)
    }
    expect(told).toEqual(['begins 2', 'runs', 'ended 2'])
  })

  it('tells the causes of a failure too', async () => {
    const cause = new Error('EINVAL')
    const failing = {
      id: '1',
      title: 't',
      run: () => Promise.reject(new Error('map', { cause })),
    }
    const details: (string | undefined)[] = []
    for await (const { detail } of caseSuite('s', [failing]).run(new Set('1'))) details.push(detail)
    expect(details.join()).toContain('caused by Error: EINVAL')
  })
})

describe('contractSuite', () => {
  it('runs a contract with a provider for each case', async () => {
    let made = 0
    interface Provider extends ContractProvider {
      readonly capabilities: { readonly death: object }
    }
    const cases: ContractCase<Provider>[] = [
      { id: 'F1', title: 'good', requires: [], run: async () => {} },
      { id: 'F2', title: 'dies', requires: ['death'], run: async () => {} },
      { id: 'F3', title: 'bad', requires: [], run: () => Promise.reject(new Error('no')) },
    ]
    const suite = contractSuite('foreign', cases, () => {
      made += 1
      return { capabilities: { death: { unavailable: 'one guest only' } }, close: () => {} }
    })
    expect(await outcomes(suite, ['F1', 'F2', 'F3'])).toEqual([
      'foreign|F1|good|passed|',
      'foreign|F2|dies|skipped|death: one guest only',
      'foreign|F3|bad|failed|Error: no',
    ])
    expect(made).toBe(3)
  })
})
