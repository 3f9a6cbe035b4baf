import { type ContractCase, type ForeignMemoryProvider, protectionAt } from '@xmc/contract'
import { openWindow } from '@xmc/hostmem'
import { domainId, guestFrame } from '@xmc/interface'
import { Hypervisor } from '@xmc/xen'
import { borderFrame, holeFrame, reservedFrames } from '../../guest/memory-layout.ts'
import { guestFor } from './guest.ts'
import { countMappings } from './process-mappings.ts'

/** Real foreign memory: the guest's, where its kernel does not use it. */
export async function guestForeignMemory(
  contractCase: Pick<ContractCase<ForeignMemoryProvider>, 'requires'>,
): Promise<ForeignMemoryProvider> {
  const { guest, death } = await guestFor(contractCase)
  const hypervisor = new Hypervisor()
  const window = openWindow({ pageCount: 1024 })
  return {
    memory: hypervisor.foreignMemory(),
    window,
    domain: domainId(guest.domain),
    ownDomain: domainId(0),
    absentDomain: domainId(77),
    frames: { first: guestFrame(reservedFrames.first), count: reservedFrames.count },
    hole: guestFrame(holeFrame),
    border: guestFrame(borderFrame),
    guest,
    capabilities: {
      paging: { unavailable: 'Xen on Arm pages nothing out' },
      protection: { of: (page) => protectionAt(window.hostAddress + page * 4096) },
      accounting: { liveMappings: () => countMappings('/dev/xen/privcmd') },
      death,
    },
    close() {
      hypervisor.close()
      window.close()
    },
  }
}
