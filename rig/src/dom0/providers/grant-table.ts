import { setTimeout as delay } from 'node:timers/promises'
import { type GrantedPages, type GrantTableProvider, protectionAt } from '@xmc/contract'
import { domainId, type GrantReference, grantReference } from '@xmc/grants'
import { openWindow } from '@xmc/hostmem'
import { Hypervisor, type SharedPages } from '@xmc/xen'
import { countMappings } from './process-mappings.ts'

/** dom0. */
const OWN_DOMAIN = 0

/** References are taken in no order; among so many there are enough consecutive ones. */
const PAGES_TO_CHOOSE_FROM = 64

/** Time for a signal to come from Xen through the kernel to this process. */
const SIGNAL_MILLISECONDS = 50

/** Real grants: gntalloc grants pages of dom0 to dom0, and gntdev maps them. */
export function selfGrantedPages(): GrantTableProvider {
  const hypervisor = new Hypervisor()
  const window = openWindow({ pageCount: 512 })
  const table = hypervisor.grantTable()

  const grant: GrantTableProvider['granter']['grant'] = (pageCount, options = {}) => {
    const { writable = true, to = OWN_DOMAIN } = options
    const pages = hypervisor.sharePages({ to, pageCount, readonly: !writable })
    return grantedPages(pages, [...pages.references.keys()])
  }

  return {
    table,
    window,
    domain: domainId(OWN_DOMAIN),
    otherDomain: domainId(5),
    absentDomain: domainId(77),
    unusedReference: grantReference(3),
    granter: { grant },
    capabilities: {
      consecutive: {
        grant(count) {
          const pages = hypervisor.sharePages({ to: OWN_DOMAIN, pageCount: PAGES_TO_CHOOSE_FROM })
          return grantedPages(pages, consecutive(pages.references, count))
        },
      },
      paging: { unavailable: 'Xen on Arm pages nothing out' },
      protection: { of: (page) => protectionAt(window.hostAddress + page * 4096) },
      accounting: { liveMappings: () => countMappings('/dev/xen/gntdev') },
      eventChannels: {
        bind() {
          const { eventChannels, domain } = hypervisor
          const offered = eventChannels.allocateUnbound(domain, domain)
          const port = eventChannels.bindInterdomain(domain, domain, offered)
          let signals = 0
          eventChannels.setHandler(domain, offered, () => {
            signals++
          })
          return {
            port,
            async signals() {
              await delay(SIGNAL_MILLISECONDS)
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
      death: { unavailable: 'dom0 is the granter here' },
    },
    close() {
      hypervisor.close()
      window.close()
    },
  }
}

function grantedPages(pages: SharedPages, places: readonly number[]): GrantedPages {
  const at = (index: number): number => (places[index] ?? -1) * 4096
  return {
    references: places.map((place) => grantReference(pages.references[place] ?? -1)),
    read: (index, offset, length) =>
      pages.bytes.slice(at(index) + offset, at(index) + offset + length),
    write: (index, offset, bytes) => pages.bytes.set(bytes, at(index) + offset),
    revoke: () => pages.close(),
  }
}

/** Places of `count` references whose numbers follow each other. */
function consecutive(references: readonly GrantReference[], count: number): number[] {
  const places = new Map(references.map((reference, place) => [Number(reference), place]))
  for (const first of references) {
    const run = Array.from({ length: count }, (_, index) => places.get(first + index))
    const known = run.filter((place) => place !== undefined)
    if (known.length === count) return known
  }
  throw new Error(`no ${count} of ${references.length} references are consecutive`)
}
