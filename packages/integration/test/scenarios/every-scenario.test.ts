import { readdirSync, readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { notApplicable } from './not-applicable.ts'

/** S63 to S76 are about address spaces, which another package has. */
const SCENARIOS: readonly string[] = [...range(1, 62), ...range(77, 92)]

/** Scenarios whose sequences of calls differ by mode. */
const IN_EACH_MODE: readonly string[] = range(9, 31)

const files = readdirSync(import.meta.dirname).filter((name) => name.endsWith('.test.ts'))
const titles = files.flatMap((name) =>
  titlesIn(readFileSync(`${import.meta.dirname}/${name}`, 'utf8')),
)

/** The names of the tests in a file: strings that start with the number of a scenario. */
function titlesIn(text: string): { id: string; title: string }[] {
  return [...text.matchAll(/\(\s*(['"`])((S\d+) [^\n]*?)\1,/g)].map(
    ([, , title = '', id = '']) => ({ id, title }),
  )
}

function range(first: number, last: number): string[] {
  return Array.from({ length: last - first + 1 }, (_, nth) => `S${first + nth}`)
}

describe('the scenarios of the reference', () => {
  it('have a test each, or a reason why they do not apply', () => {
    const tested = new Set(titles.map(({ id }) => id))
    const excused = new Set(notApplicable.filter(({ part }) => !part).map(({ id }) => id))
    expect(SCENARIOS).toHaveLength(78)
    expect(SCENARIOS.filter((id) => !tested.has(id) && !excused.has(id))).toEqual([])
    expect([...tested].filter((id) => !SCENARIOS.includes(id))).toEqual([])
    expect([...excused].filter((id) => tested.has(id))).toEqual([])
  })

  it('at most 8 do not apply, and each of those exists', () => {
    expect(notApplicable.length).toBeLessThanOrEqual(8)
    expect(notApplicable.filter(({ id }) => !SCENARIOS.includes(id))).toEqual([])
    expect(notApplicable.filter(({ reason }) => reason.length < 20)).toEqual([])
  })

  it('S9 to S31 are tested in strict and in default mode', () => {
    const inBoth = new Set(
      titles.filter(({ title }) => title.includes(' in %s mode')).map(({ id }) => id),
    )
    expect(IN_EACH_MODE.filter((id) => !inBoth.has(id))).toEqual([])
  })
})
