import {
  type Awaitable,
  type ContractCase,
  type GrantedPages,
  type GrantOptions,
  type GrantTableProvider,
  protectionAt,
  type Unavailable,
} from '@xmc/contract'
import { openWindow } from '@xmc/hostmem'
import { type DomainId, domainId, type GrantReference, grantReference } from '@xmc/interface'
import { Hypervisor, type SharedPages } from '@xmc/xen'
import { settle } from '../../time/waiting.ts'
import type { GuestGrant } from '../guest.ts'
import { guestFor } from './guest.ts'
import { countMappings } from './process-mappings.ts'

/** dom0. */
const OWN_DOMAIN = 0

/** References are taken in no order; among so many there are enough consecutive ones. */
const PAGES_TO_CHOOSE_FROM = 64

/** Time for a signal to come from Xen through the kernel to this process. */
const SIGNAL_MILLISECONDS = 50

/** Real grants of dom0 to itself: gntalloc grants pages, and gntdev maps them. */
export function selfGrantedPages(): GrantTableProvider {
  const hypervisor = new Hypervisor()
  const grant = (pageCount: number, options: GrantOptions = {}): GrantedPages => {
    const { writable = true, to = OWN_DOMAIN } = options
    return pagesOfThisDomain(hypervisor.sharePages({ to, pageCount, readonly: !writable }))
  }
  const death = { unavailable: 'dom0 cannot be destroyed' }
  return grantTable(hypervisor, domainId(OWN_DOMAIN), grant, death, () => {})
}

/** Real grants of the guest to dom0. */
export async function guestGrantedPages(
  contractCase: Pick<ContractCase<GrantTableProvider>, 'requires'>,
): Promise<GrantTableProvider> {
  const { guest, death } = await guestFor(contractCase)
  const live = new Set<GuestGrant>()
  const grant = async (count: number, options: GrantOptions = {}): Promise<GrantedPages> => {
    const granted = await guest.grant(count, options)
    live.add(granted)
    return {
      references: granted.references.map((reference) => grantReference(reference)),
      read: (index, offset, length) => granted.read(index, offset, length),
      write: (index, offset, bytes) => granted.write(index, offset, bytes),
      async revoke() {
        live.delete(granted)
        await granted.revoke()
      },
    }
  }
  return grantTable(new Hypervisor(), domainId(guest.domain), grant, death, async () => {
    for (const granted of live) await granted.revoke()
  })
}

function grantTable(
  hypervisor: Hypervisor,
  domain: DomainId,
  grant: (count: number, options?: GrantOptions) => Awaitable<GrantedPages>,
  death: { destroy(): Awaitable<void> } | Unavailable,
  revokeAll: () => Awaitable<void>,
): GrantTableProvider {
  const window = openWindow({ pageCount: 512 })
  const table = hypervisor.grantTable()
  return {
    table,
    window,
    domain,
    otherDomain: domainId(5),
    absentDomain: domainId(77),
    unusedReference: grantReference(3),
    granter: { grant },
    capabilities: {
      consecutive: {
        async grant(count) {
          const pages = await grant(PAGES_TO_CHOOSE_FROM)
          return someOf(pages, consecutive(pages.references, count))
        },
      },
      paging: { unavailable: 'Xen on Arm pages nothing out' },
      protection: { of: (page) => protectionAt(window.hostAddress + page * 4096) },
      accounting: { liveMappings: () => countMappings('/dev/xen/gntdev') },
      eventChannels: { bind: () => observedEventChannel(hypervisor) },
      reopening: {
        reopen() {
          table.close()
          return hypervisor.grantTable()
        },
      },
      death,
    },
    async close() {
      hypervisor.close()
      window.close()
      await revokeAll()
    },
  }
}

/** A channel from this domain to itself. */
function observedEventChannel({ eventChannels, domain }: Hypervisor): {
  readonly port: number
  signals(): Promise<number>
} {
  const offered = eventChannels.allocateUnbound(domain, domain)
  const port = eventChannels.bindInterdomain(domain, domain, offered)
  let signals = 0
  eventChannels.setHandler(domain, offered, () => {
    signals++
  })
  return {
    port,
    async signals() {
      await settle(SIGNAL_MILLISECONDS)
      return signals
    },
  }
}

function pagesOfThisDomain(pages: SharedPages): GrantedPages {
  const { bytes, references } = pages
  return {
    references: references.map((reference) => grantReference(reference)),
    read: (index, offset, length) =>
      bytes.slice(index * 4096 + offset, index * 4096 + offset + length),
    write: (index, offset, source) => bytes.set(source, index * 4096 + offset),
    revoke: () => pages.close(),
  }
}

/** The pages at these places. */
function someOf(pages: GrantedPages, places: readonly number[]): GrantedPages {
  const at = (index: number): number => places[index] ?? -1
  return {
    references: places.flatMap((place) => pages.references[place] ?? []),
    read: (index, offset, length) => pages.read(at(index), offset, length),
    write: (index, offset, bytes) => pages.write(at(index), offset, bytes),
    revoke: () => pages.revoke(),
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
