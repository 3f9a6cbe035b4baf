import { openWindow } from '@xmc/hostmem'
import { domainId, guestFrame } from '@xmc/interface'
import { Hypervisor } from '@xmc/sim'
import type { ForeignMemoryProvider } from '../foreign-memory/provider.ts'
import { protectionAt } from '../protection.ts'

/** Foreign memory of the simulator, with all capabilities. */
export function simulatedForeignMemory(): ForeignMemoryProvider {
  const hypervisor = new Hypervisor({ seed: 1, pagingRetry: { intervalMilliseconds: 1 } })
  const guest = hypervisor.createDomain({ memoryBytes: 32 * 4096, ramBase: 0x40000 })
  const window = openWindow({ pageCount: 1024 })
  return {
    memory: hypervisor.foreignMemory(),
    window,
    domain: domainId(guest.id),
    ownDomain: domainId(0),
    absentDomain: domainId(77),
    frames: { first: guestFrame(0x40000), count: 16 },
    hole: guestFrame(0x10),
    border: guestFrame(0x4001f),
    guest: {
      read(frame, offset, length) {
        const bytes = new Uint8Array(length)
        guest.memory.read(frame * 4096 + offset, bytes)
        return bytes
      },
      write: (frame, offset, bytes) => guest.memory.write(frame * 4096 + offset, bytes),
    },
    capabilities: {
      paging: {
        pageOut: (frame) => guest.pageOut(frame),
        pageIn: (frame) => guest.pageIn(frame),
      },
      protection: { of: (page) => protectionAt(window.hostAddress + page * 4096) },
      accounting: { liveMappings: () => hypervisor.accounting.totals().mappings },
      death: { destroy: () => guest.destroy() },
    },
    close() {
      hypervisor.close()
      window.close()
    },
  }
}
