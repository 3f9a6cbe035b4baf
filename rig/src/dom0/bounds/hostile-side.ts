import { createForeignCache } from '@xmc/foreign'
import { createGrantCache } from '@xmc/grants'
import { openWindow } from '@xmc/hostmem'
import { domainId, guestFrame, windowPage, XEN_GRANT_ADDRESS_OFFSET } from '@xmc/interface'
import { AddressSpace, ContainerRegion, MAX_GRANT_FRAMES, XenMemory } from '@xmc/memory-region'
import { Hypervisor } from '@xmc/xen'
import { borderFrame, reservedFrames } from '../../guest/memory-layout.ts'
import { guestDomain } from '../guest.ts'
import { type CallCounts, countedForeign, countedGrants, noCalls } from './counted-ports.ts'

/** First frame of the guest's RAM. */
const RAM_FRAME = 0x40000

/** Pages for queues, headers and tables. */
const CONTROL_PAGES = 64

/** A reference that nobody granted. */
const UNGRANTED = 0xffff_ff00

/** Memory that a hostile driver hands to devices, and the devices' way to it through Xen, with every call counted. */
export interface HostileSide {
  readonly addressing: 'grants' | 'foreign'
  /** What devices reach. */
  readonly dma: AddressSpace
  /** Calls that it took so far. */
  readonly calls: CallCounts
  /** Control page `page` as the driver sees it, 0 to 63, and as a device is told of it. */
  control(page: number): { readonly view: DataView; readonly address: bigint }
  /** What a device is told of page `page` of the data: no two pages lie side by side. */
  data(page: number): bigint
  /** The `index`th address behind which there is nothing. */
  nowhere(index: number): bigint
  close(): void
}

/** Pages of dom0 that it grants to itself. `dataPages` are up to 900. */
export function byGrants(dataPages: number): HostileSide {
  const hypervisor = new Hypervisor()
  const pages = hypervisor.sharePages({ to: 0, pageCount: CONTROL_PAGES + dataPages })
  const addressOf = (page: number): bigint =>
    XEN_GRANT_ADDRESS_OFFSET + BigInt(pages.references[page] ?? 0) * 4096n
  const { buffer, byteOffset } = pages.bytes
  return {
    ...throughXen(hypervisor),
    addressing: 'grants',
    control: (page) => ({
      view: new DataView(buffer, byteOffset + page * 4096, 4096),
      address: addressOf(page),
    }),
    // From both ends in turn.
    data: (page) =>
      addressOf(CONTROL_PAGES + (page % 2 === 0 ? page / 2 : dataPages - (page + 1) / 2)),
    nowhere: (index) => XEN_GRANT_ADDRESS_OFFSET + BigInt(UNGRANTED + index) * 4096n,
  }
}

/** Frames of the guest: reserved ones for control, and one in each MiB of its RAM for data, which devices must not write. */
export function byFrames(): HostileSide {
  const hypervisor = new Hypervisor()
  const side = throughXen(hypervisor)
  const window = openWindow({ pageCount: CONTROL_PAGES })
  hypervisor.foreignMemory().map({
    domain: domainId(guestDomain),
    window,
    windowPage: windowPage(0),
    frames: { first: guestFrame(reservedFrames.first), count: CONTROL_PAGES },
    writable: true,
  })
  return {
    ...side,
    addressing: 'foreign',
    control: (page) => ({
      view: new DataView(window.buffer, window.byteOffset + page * 4096, 4096),
      address: BigInt(reservedFrames.first + page) * 4096n,
    }),
    data: (page) => BigInt(RAM_FRAME + page * 256) * 4096n,
    nowhere: (index) => BigInt(borderFrame + 1 + index) * 4096n,
    close() {
      side.close()
      window.close()
    },
  }
}

/** Caches over the real providers, as a board has them: RAM is the guest's, grants are dom0's own. */
function throughXen(hypervisor: Hypervisor): Pick<HostileSide, 'dma' | 'calls' | 'close'> {
  const calls = noCalls()
  const windows = [openWindow({ bytes: 2 ** 29 }), openWindow({ bytes: 2 ** 26 })] as const
  const foreign = createForeignCache({
    memory: countedForeign(hypervisor.foreignMemory(), calls),
    domain: domainId(guestDomain),
    window: windows[0],
  })
  const grants = createGrantCache({
    table: countedGrants(hypervisor.grantTable(), calls),
    domain: domainId(0),
    window: windows[1],
  })
  const size = BigInt(borderFrame + 1 - RAM_FRAME) * 4096n
  const banks = [{ name: 'xen.ram.lo', address: BigInt(RAM_FRAME) * 4096n, size }]
  const regions = new XenMemory({ memory: foreign, banks, grants, grantFrames: MAX_GRANT_FRAMES })
  const root = new ContainerRegion({ name: 'dma' })
  regions.addTo(root)
  const dma = new AddressSpace({ name: 'dma', root, bounceBudget: 0 })
  return {
    dma,
    calls,
    close() {
      for (const part of [dma, foreign, grants]) part.close()
      hypervisor.close()
      for (const window of windows) window.close()
    },
  }
}
