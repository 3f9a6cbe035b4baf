import { describe, expect, test } from 'vitest'
import {
  available,
  type ContractCase,
  type ContractResult,
  notApplicable,
  runContract,
  type Unavailable,
} from '../src/index.ts'

interface Lamp {
  readonly name: string
  readonly capabilities: { readonly dimming: { dim(): string } | Unavailable }
  close(): void
}

function lamp(events: string[], dimming: Lamp['capabilities']['dimming']): Lamp {
  events.push('made')
  return { name: 'lamp', capabilities: { dimming }, close: () => void events.push('closed') }
}

function lampCase(
  id: string,
  run: ContractCase<Lamp>['run'],
  requires: ContractCase<Lamp>['requires'] = [],
): ContractCase<Lamp> {
  return { id, title: `case ${id}`, requires, run }
}

async function resultsOf(
  cases: readonly ContractCase<Lamp>[],
  make: () => Lamp | Promise<Lamp>,
): Promise<readonly ContractResult[]> {
  const results: ContractResult[] = []
  for await (const result of runContract(cases, make)) results.push(result)
  return results
}

const dimmer = { dim: () => 'dimmed' }
const none = { unavailable: 'it has no dimmer' }

describe('runContract', () => {
  test('runs each case on a provider of its own, in order, and closes it', async () => {
    const events: string[] = []
    const cases = ['A1', 'A2'].map((id) =>
      lampCase(id, async (provider) => void events.push(`${id} on ${provider.name}`)),
    )
    expect(await resultsOf(cases, () => lamp(events, dimmer))).toEqual([
      { id: 'A1', title: 'case A1', outcome: 'passed' },
      { id: 'A2', title: 'case A2', outcome: 'passed' },
    ])
    expect(events).toEqual(['made', 'A1 on lamp', 'closed', 'made', 'A2 on lamp', 'closed'])
  })

  test('a case that throws has failed; the provider is closed and the next case runs', async () => {
    const events: string[] = []
    const broken = new Error('broken')
    const cases = [
      lampCase('A1', async () => Promise.reject(broken)),
      lampCase('A2', () => {
        throw broken
      }),
      lampCase('A3', async () => Promise.resolve()),
    ]
    expect(await resultsOf(cases, () => lamp(events, dimmer))).toEqual([
      { id: 'A1', title: 'case A1', outcome: 'failed', error: broken },
      { id: 'A2', title: 'case A2', outcome: 'failed', error: broken },
      { id: 'A3', title: 'case A3', outcome: 'passed' },
    ])
    expect(events).toEqual(['made', 'closed', 'made', 'closed', 'made', 'closed'])
  })

  test('a case that needs what the provider lacks is not applicable, with the reason', async () => {
    const events: string[] = []
    const needy = lampCase('A1', async () => void events.push('ran'), ['dimming'])
    expect(await resultsOf([needy], () => lamp(events, none))).toEqual([
      {
        id: 'A1',
        title: 'case A1',
        outcome: 'not-applicable',
        reason: 'dimming: it has no dimmer',
      },
    ])
    expect(events).toEqual(['made', 'closed'])
  })

  test('a provider that cannot be made, or not closed, fails its case', async () => {
    const broken = new Error('broken')
    const fine = lampCase('A1', async () => Promise.resolve())
    const failed = [{ id: 'A1', title: 'case A1', outcome: 'failed', error: broken }]
    expect(await resultsOf([fine], async () => Promise.reject(broken))).toEqual(failed)
    const stuck = (): Lamp => ({
      ...lamp([], dimmer),
      close() {
        throw broken
      },
    })
    expect(await resultsOf([fine], stuck)).toEqual(failed)
  })
})

describe('notApplicable and available', () => {
  test('a case without needs applies to everything', () => {
    const plain = lampCase('A1', async () => Promise.resolve())
    expect(notApplicable(plain, lamp([], none))).toBeUndefined()
    expect(notApplicable({ ...plain, requires: ['dimming'] }, lamp([], dimmer))).toBeUndefined()
  })

  test('available gives the control, or says why there is none', () => {
    expect(available(lamp([], dimmer).capabilities.dimming).dim()).toBe('dimmed')
    expect(() => available(lamp([], none).capabilities.dimming)).toThrow('it has no dimmer')
  })
})
