import { describe, expect, test } from 'vitest'
import { grantTableContract, runContract } from '../src/index.ts'
import { GRANT_FAULTS, type GrantFault, grantProvider } from './doubles/grant-table.ts'

/** For each fault of the double, the cases that must find it. */
const FINDERS: Readonly<Record<GrantFault, readonly string[]>> = {
  'maps zeros': ['G1', 'G2', 'G3', 'G8'],
  'copies the page': ['G1', 'G2', 'G9'],
  'sorts lists': ['G2'],
  'drops the last page': ['G3', 'G26'],
  'maps duplicates once': ['G4'],
  'one mapping per reference': ['G5', 'G9'],
  'maps one page too many': ['G6'],
  'batches take 64 references': ['G7'],
  'refuses read-only grants': ['G8'],
  'one kind at a time': ['G9'],
  'ignores writable': ['G10'],
  'ends mappings with their grant': ['G11'],
  'ignores the death': ['G12'],
  'maps unused references': ['G13', 'G14', 'G19', 'G23'],
  'ignores the domain': ['G15'],
  'ignores the grantee': ['G16'],
  'maps read-only grants for writing': ['G17'],
  'ignores the end of a grant': ['G18'],
  'refusals are EPERM': ['G13', 'G14', 'G15', 'G16', 'G17', 'G18', 'G19', 'G24'],
  'maps partly': ['G19'],
  'keeps the target when refused': ['G13', 'G19', 'G52'],
  'takes no references': ['G20'],
  'bounds no map': ['G21'],
  'ignores the window’s end': ['G22'],
  'leaks on failure': ['G23', 'G34'],
  'allows any number of mappings': ['G24', 'G25'],
  'one counter for both kinds': ['G25'],
  'unmap does nothing': ['G26', 'G27', 'G28', 'G30', 'G33'],
  'unmap clears the granter': ['G26', 'G27'],
  'unmaps any count': ['G28', 'G34'],
  'unmaps any start': ['G29'],
  'unmaps twice': ['G30', 'G50'],
  'unmaps the mapping above': ['G31'],
  'takes a place once': ['G32'],
  'leaks on unmap': ['G24', 'G33', 'G34', 'G35'],
  'counts no mapping': ['G24', 'G34'],
  'closing keeps the mappings': ['G35'],
  'never clears a byte': ['G36'],
  'the first notification counts': ['G37'],
  'keeps old notifications': ['G38'],
  'notifies without a mapping': ['G39'],
  'clears a byte of read-only mappings': ['G40'],
  'never signals': ['G41'],
  'signals for every page': ['G41'],
  'copy from a grant gives zeros': ['G42'],
  'copy to a grant is lost': ['G43'],
  'copy refuses mapped pages': ['G44'],
  'copy stops at a bad segment': ['G45'],
  'copy ignores read-only': ['G46'],
  'copy ignores the grantee': ['G47'],
  'copy ignores the domain': ['G48'],
  'bounds no copy': ['G49'],
  'copy counts the end of a page per segment': ['G49'],
  'async does nothing': ['G13', 'G50'],
  'async keeps books of its own': ['G51'],
  'maps paged-out pages': ['G52'],
  'async does not wait': ['G53'],
  'takes references after the last': ['G54'],
}

async function failing(fault: GrantFault, ids: readonly string[]): Promise<readonly string[]> {
  const cases = grantTableContract.filter(({ id }) => ids.includes(id))
  const failed: string[] = []
  for await (const result of runContract(cases, () => grantProvider(fault))) {
    if (result.outcome === 'failed') failed.push(result.id)
  }
  return failed
}

describe('grantTableContract', () => {
  test('has the ids G1 to G54, once each and in order', () => {
    expect(grantTableContract.map(({ id }) => id)).toEqual(
      Array.from({ length: 54 }, (_, index) => `G${index + 1}`),
    )
  })

  test.each(grantTableContract)('$id holds for the double: $title', async (contractCase) => {
    const provider = grantProvider()
    await expect(contractCase.run(provider)).resolves.toBeUndefined()
  })

  test.each(GRANT_FAULTS)('finds the fault: %s', async (fault) => {
    expect(await failing(fault, FINDERS[fault])).toEqual(FINDERS[fault])
  })

  test('every case finds at least one fault', () => {
    const finding = new Set(Object.values(FINDERS).flat())
    expect(grantTableContract.filter(({ id }) => !finding.has(id))).toEqual([])
  })
})
