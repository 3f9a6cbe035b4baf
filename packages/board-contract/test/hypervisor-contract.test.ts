import { notApplicable } from '@xmc/contract'
import { describe, expect, it } from 'vitest'
import { hypervisorContract } from '../src/index.ts'
import { simulatedHypervisor } from './simulated-provider.ts'

describe('the simulator meets the contract of Hypervisor', () => {
  it('offers what every one of its 24 cases needs', async () => {
    const provider = simulatedHypervisor()
    const reasons = hypervisorContract.map((each) => notApplicable(each, provider))
    expect(reasons).toEqual(Array.from({ length: 24 }, () => undefined))
    await provider.close()
  })

  it.each(hypervisorContract)('$id $title', async (contractCase) => {
    const provider = simulatedHypervisor()
    try {
      await expect(contractCase.run(provider)).resolves.toBeUndefined()
    } finally {
      await provider.close()
    }
  })
})
