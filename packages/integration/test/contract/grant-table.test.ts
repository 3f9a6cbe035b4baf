import { grantTableContract, notApplicable } from '@xmc/contract'
import { simulatedGrantTable } from '@xmc/contract/simulator'
import { describe, expect, it } from 'vitest'

describe('the simulator meets the contract of GrantTable', () => {
  it('offers what every one of its 54 cases needs', async () => {
    const provider = simulatedGrantTable()
    const reasons = grantTableContract.map((contractCase) => notApplicable(contractCase, provider))
    expect(reasons).toEqual(Array.from({ length: 54 }, () => undefined))
    await provider.close()
  })

  it.each(grantTableContract)('$id $title', async (contractCase) => {
    const provider = simulatedGrantTable()
    try {
      await expect(contractCase.run(provider)).resolves.toBeUndefined()
    } finally {
      await provider.close()
    }
  })
})
