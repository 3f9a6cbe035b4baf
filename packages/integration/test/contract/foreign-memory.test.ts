import { foreignMemoryContract, notApplicable } from '@xmc/contract'
import { simulatedForeignMemory } from '@xmc/contract/simulator'
import { describe, expect, it } from 'vitest'

describe('the simulator meets the contract of ForeignMemory', () => {
  it('offers what every one of its 36 cases needs', async () => {
    const provider = simulatedForeignMemory()
    const reasons = foreignMemoryContract.map((contractCase) =>
      notApplicable(contractCase, provider),
    )
    expect(reasons).toEqual(Array.from({ length: 36 }, () => undefined))
    await provider.close()
  })

  it.each(foreignMemoryContract)('$id $title', async (contractCase) => {
    const provider = simulatedForeignMemory()
    try {
      await expect(contractCase.run(provider)).resolves.toBeUndefined()
    } finally {
      await provider.close()
    }
  })
})
