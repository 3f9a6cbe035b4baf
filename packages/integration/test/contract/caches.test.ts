import { foreignCacheContract, grantCacheContract, notApplicable } from '@xmc/contract'
import { simulatedForeignMemory, simulatedGrantTable } from '@xmc/contract/simulator'
import { describe, expect, it } from 'vitest'

describe('a cache over the simulator’s foreign memory', () => {
  it.each(foreignCacheContract)('$id $title', async (contractCase) => {
    const provider = simulatedForeignMemory()
    try {
      expect(notApplicable(contractCase, provider)).toBeUndefined()
      await expect(contractCase.run(provider)).resolves.toBeUndefined()
    } finally {
      await provider.close()
    }
  })
})

describe('a cache over the simulator’s grants', () => {
  it.each(grantCacheContract)('$id $title', async (contractCase) => {
    const provider = simulatedGrantTable()
    try {
      expect(notApplicable(contractCase, provider)).toBeUndefined()
      await expect(contractCase.run(provider)).resolves.toBeUndefined()
    } finally {
      await provider.close()
    }
  })
})
