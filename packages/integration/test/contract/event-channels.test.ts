import { eventChannelsContract } from '@xmc/contract'
import { simulatedEventChannels } from '@xmc/contract/simulator'
import { describe, expect, it } from 'vitest'

describe('the simulator meets the contract of event channels', () => {
  it.each(eventChannelsContract)('$id $title', async (contractCase) => {
    const provider = simulatedEventChannels()
    try {
      await expect(contractCase.run(provider)).resolves.toBeUndefined()
    } finally {
      await provider.close()
    }
  })
})
