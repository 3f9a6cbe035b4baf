import { setImmediate as turn } from 'node:timers/promises'
import { domainId } from '@xmc/interface'
import { Hypervisor } from '@xmc/sim'
import type { EventChannelsProvider } from '../event-channels/provider.ts'

/** Event channels of the simulator's control domain. */
export function simulatedEventChannels(): EventChannelsProvider {
  const hypervisor = new Hypervisor({ seed: 1 })
  return {
    eventChannels: hypervisor.eventChannels,
    domain: domainId(0),
    absentDomain: domainId(77),
    async settle() {
      // A handler that sends is followed by another one in a later turn.
      for (let turns = 0; turns < 5; turns++) await turn()
    },
    capabilities: {},
    close: () => hypervisor.close(),
  }
}
