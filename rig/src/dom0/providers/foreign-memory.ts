import { type ForeignMemoryProvider, protectionAt } from '@xmc/contract'
import { domainId, guestFrame } from '@xmc/foreign'
import { openWindow } from '@xmc/hostmem'
import { Hypervisor } from '@xmc/xen'
import { guestMemory } from './guest-memory.ts'
import { countMappings } from './process-mappings.ts'

/** The guest that the rig boots beside dom0. */
export const GUEST_DOMAIN = 1

/** First frame behind the memory that the guest's kernel uses: the rig tells it to leave the end alone. */
export const UNUSED_FRAMES = 0x5f000

/** The last frame of the guest's 512 MiB, from 0x40000 on. */
export const LAST_FRAME = 0x5ffff

/** Real foreign memory: that of the guest, where its kernel does not use it. */
export function guestForeignMemory(): ForeignMemoryProvider {
  const hypervisor = new Hypervisor()
  const window = openWindow({ pageCount: 64 })
  const guest = guestMemory(GUEST_DOMAIN)
  return {
    memory: hypervisor.foreignMemory(),
    window,
    domain: domainId(GUEST_DOMAIN),
    ownDomain: domainId(0),
    absentDomain: domainId(77),
    frames: { first: guestFrame(UNUSED_FRAMES), count: 16 },
    hole: guestFrame(0x10),
    border: guestFrame(LAST_FRAME),
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
      guest.close()
    },
  }
}
