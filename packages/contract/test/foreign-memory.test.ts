import { describe, expect, test } from 'vitest'
import { foreignMemoryContract, runContract } from '../src/index.ts'
import { FOREIGN_FAULTS, type ForeignFault, foreignProvider } from './doubles/foreign-memory.ts'

/** For each fault of the double, the cases that must find it. */
const FINDERS: Readonly<Record<ForeignFault, readonly string[]>> = {
  'maps zeros': ['F1', 'F3', 'F4', 'F31'],
  'copies the frame': ['F2'],
  'drops the last page': ['F3'],
  'sorts lists': ['F4'],
  'maps duplicates once': ['F5'],
  'one mapping per frame': ['F6'],
  'maps one page too many': ['F7'],
  'gives the window to the guest': ['F8'],
  'cuts frames to 32 bits': ['F9'],
  'ignores writable': ['F10'],
  'needs an error array': ['F11'],
  'ignores the death': ['F12'],
  'holes are silent': ['F13', 'F17', 'F18'],
  'errors are negative': ['F13', 'F32', 'F34'],
  'keeps failed pages': ['F14', 'F17'],
  'keeps old errors': ['F15', 'F31'],
  'fills all errors': ['F15'],
  'looks at the first frame of a run only': ['F16'],
  'refuses holes alone': ['F17'],
  'succeeds without an error array': ['F18'],
  'maps partly': ['F18'],
  'reports no domain per page': ['F19', 'F20'],
  'keeps the target when refused': ['F18', 'F19', 'F20', 'F33'],
  'maps the own domain': ['F20'],
  'ignores the window’s end': ['F21'],
  'refused targets stay refused': ['F22'],
  'unmaps the first page only': ['F23', 'F25'],
  'unmap clears the guest': ['F23', 'F24'],
  'unmap does nothing': ['F23', 'F24', 'F25', 'F28', 'F30'],
  'unmap stops at a failed page': ['F25'],
  'unmaps too much': ['F26'],
  'takes a place once': ['F27'],
  'unmap refuses pages without mapping': ['F28'],
  'unmap ignores the window’s end': ['F29'],
  'forgets to uncount': ['F30'],
  'async does nothing': ['F31'],
  'async drops errors': ['F32'],
  'async resolves when refused': ['F33'],
  'paged out is EINVAL': ['F34'],
  'async does not wait': ['F35'],
  'takes frames after the last': ['F36'],
}

async function failing(fault: ForeignFault, ids: readonly string[]): Promise<readonly string[]> {
  const cases = foreignMemoryContract.filter(({ id }) => ids.includes(id))
  const failed: string[] = []
  for await (const result of runContract(cases, () => foreignProvider(fault))) {
    if (result.outcome === 'failed') failed.push(result.id)
  }
  return failed
}

describe('foreignMemoryContract', () => {
  test('has the ids F1 to F36, once each and in order', () => {
    expect(foreignMemoryContract.map(({ id }) => id)).toEqual(
      Array.from({ length: 36 }, (_, index) => `F${index + 1}`),
    )
  })

  test.each(foreignMemoryContract)('$id holds for the double: $title', async (contractCase) => {
    const provider = foreignProvider()
    await expect(contractCase.run(provider)).resolves.toBeUndefined()
  })

  test.each(FOREIGN_FAULTS)('finds the fault: %s', async (fault) => {
    expect(await failing(fault, FINDERS[fault])).toEqual(FINDERS[fault])
  })

  test('every case finds at least one fault', () => {
    const finding = new Set(Object.values(FINDERS).flat())
    expect(foreignMemoryContract.filter(({ id }) => !finding.has(id))).toEqual([])
  })
})
