import { foreignMemoryContract, grantTableContract } from '@xmc/contract'
import { describe, expect, it } from 'vitest'
import { selectCases } from '../src/dom0/selection.ts'
import { caseSuite } from '../src/dom0/suite.ts'
import { deviceModelSuites, suites } from '../src/dom0/suites.ts'

const suite = (name: string, ids: readonly string[]) =>
  caseSuite(
    name,
    ids.map((id) => ({ id, title: id, run: () => {} })),
  )

const usual = [suite('one', ['A1', 'A2', 'A3']), suite('two', ['B1', 'B2'])]
const onRequest = [suite('three', ['C1', 'C2'])]

function select(...parameters: string[]) {
  const { selected, unknown } = selectCases(parameters, usual, onRequest)
  return { selected: selected.map(({ suite: { name }, ids }) => [name, ...ids]), unknown }
}

/** Cases of a suite that end a guest. */
function endingIn(
  name: string,
  contract: readonly { readonly id: string; readonly requires: readonly string[] }[],
): string[] {
  return contract
    .filter(({ requires }) => requires.includes('death'))
    .map(({ id }) => `${name}/${id}`)
}

describe('selectCases', () => {
  it('takes all of the usual suites unless some are named', () => {
    expect(select()).toEqual({
      selected: [
        ['one', 'A1', 'A2', 'A3'],
        ['two', 'B1', 'B2'],
      ],
      unknown: [],
    })
  })

  it('takes suites and single cases by name', () => {
    expect(select('three', 'one/A2')).toEqual({
      selected: [
        ['one', 'A2'],
        ['three', 'C1', 'C2'],
      ],
      unknown: [],
    })
  })

  it('tells names that there are not', () => {
    expect(select('four', 'one/B1', 'two')).toEqual({
      selected: [['two', 'B1', 'B2']],
      unknown: ['four', 'one/B1'],
    })
  })

  it('shares the cases out, each to one part', () => {
    expect(select('--part=1/2').selected).toEqual([
      ['one', 'A1', 'A3'],
      ['two', 'B2'],
    ])
    expect(select('--part=2/2').selected).toEqual([
      ['one', 'A2'],
      ['two', 'B1'],
    ])
    expect(select('--part=2/2', 'two/B1').selected).toEqual([])
  })
})

it('two cases of all suites end a guest, and a machine has two that may end', () => {
  const ending = new Set([
    ...endingIn('grants-of-guest', grantTableContract),
    ...endingIn('foreign-memory', foreignMemoryContract),
  ])
  const { selected } = selectCases([], suites, deviceModelSuites)
  const names = selected.flatMap(({ suite: { name }, ids }) =>
    [...ids].map((id) => `${name}/${id}`),
  )
  expect(names.filter((name) => ending.has(name))).toHaveLength(2)
})
