import { type ForeignMemoryProvider, protectionAt } from '@xmc/contract'
import { domainId, guestFrame } from '@xmc/foreign'
import { openWindow } from '@xmc/hostmem'
import { Hypervisor } from '@xmc/xen'
import { borderFrame, holeFrame, reservedFrames } from '../../guest/memory-layout.ts'
import { guestDomain } from '../guest.ts'
import { theGuest } from './guest.ts'
import { countMappings } from './process-mappings.ts'

/** Real foreign memory: the guest's, where its kernel does not use it. */
export async function guestForeignMemory(): Promise<ForeignMemoryProvider> {
  const guest = await theGuest()
  const hypervisor = new Hypervisor()
  const window = openWindow({ pageCount: 1024 })
  return {
    memory: hypervisor.foreignMemory(),
    window,
    domain: domainId(guestDomain),
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
      death: { unavailable: 'the rig has no tool that destroys a guest' },
    },
    close() {
      hypervisor.close()
      window.close()
    },
  }
}
