import type { EventChannelsProvider } from '@xmc/contract'
import { domainId } from '@xmc/interface'
import { Hypervisor } from '@xmc/xen'
import { settle } from '../../time/waiting.ts'

/** Time for a signal, and for the answer to it, to come from Xen through the kernel to this process, on a busy machine. */
const SETTLE_MILLISECONDS = 250

/** Real event channels, from dom0 to itself. */
export function ownEventChannels(): EventChannelsProvider {
  const hypervisor = new Hypervisor()
  return {
    eventChannels: hypervisor.eventChannels,
    domain: domainId(0),
    absentDomain: domainId(77),
    settle: () => settle(SETTLE_MILLISECONDS),
    capabilities: {},
    close: () => hypervisor.close(),
  }
}
