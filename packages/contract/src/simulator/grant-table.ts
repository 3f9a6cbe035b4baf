import { openWindow } from '@xmc/hostmem'
import { domainId, grantReference } from '@xmc/interface'
import { Hypervisor } from '@xmc/sim'
import type { GrantedPages, GrantTableProvider } from '../grant-table/provider.ts'
import { protectionAt } from '../protection.ts'

const FIRST_FRAME = 0x40000
const FRAMES = 2048

/** The grant table of the simulator, with all capabilities. */
export function simulatedGrantTable(): GrantTableProvider {
  const hypervisor = new Hypervisor({ seed: 1, pagingRetry: { intervalMilliseconds: 1 } })
  const guest = hypervisor.createDomain({ memoryBytes: FRAMES * 4096, ramBase: FIRST_FRAME })
  const window = openWindow({ pageCount: 512 })
  const table = hypervisor.grantTable()
  const frames = new Map<GrantedPages, number>()
  let next = FIRST_FRAME

  const frameOf = (pages: GrantedPages, index: number): number => {
    const first = frames.get(pages)
    if (first === undefined) throw new Error('these pages were not granted by this fixture')
    return first + index
  }

  const grant: GrantTableProvider['granter']['grant'] = (count, options = {}) => {
    const { writable = true, to = domainId(0) } = options
    const first = next
    next += count
    if (next > FIRST_FRAME + FRAMES) throw new Error(`the guest has no ${count} fresh pages left`)
    const references = guest.grants.share({ first, count }, { to, readonly: !writable })
    const address = (index: number, offset: number): number => (first + index) * 4096 + offset
    const pages: GrantedPages = {
      references: references.map((reference) => grantReference(reference)),
      read(index, offset, length) {
        const bytes = new Uint8Array(length)
        guest.memory.read(address(index, offset), bytes)
        return bytes
      },
      write: (index, offset, bytes) => guest.memory.write(address(index, offset), bytes),
      revoke() {
        // As gntalloc does it: an entry that is still mapped stays as it is.
        guest.grants.unshare(references)
      },
    }
    frames.set(pages, first)
    return pages
  }

  return {
    table,
    window,
    domain: domainId(guest.id),
    otherDomain: domainId(5),
    absentDomain: domainId(77),
    unusedReference: grantReference(3),
    granter: { grant },
    capabilities: {
      consecutive: { grant },
      paging: {
        pageOut: (pages, index) => guest.pageOut(frameOf(pages, index)),
        pageIn: (pages, index) => guest.pageIn(frameOf(pages, index)),
      },
      protection: { of: (page) => protectionAt(window.hostAddress + page * 4096) },
      accounting: { liveMappings: () => hypervisor.accounting.totals().mappings },
      eventChannels: {
        bind() {
          const { eventChannels } = hypervisor
          const offered = eventChannels.allocateUnbound(guest.id, hypervisor.control.id)
          const port = eventChannels.bindInterdomain(hypervisor.control.id, guest.id, offered)
          let signals = 0
          eventChannels.setHandler(guest.id, offered, () => {
            signals++
          })
          return {
            port,
            async signals() {
              // A signal is delivered in a later turn.
              await new Promise((resolve) => {
                setImmediate(resolve)
              })
              return signals
            },
          }
        },
      },
      reopening: {
        reopen() {
          table.close()
          return hypervisor.grantTable()
        },
      },
      death: { destroy: () => guest.destroy() },
    },
    close() {
      hypervisor.close()
      window.close()
    },
  }
}
