import { domainId, type GrantReference, grantReference } from '@xmc/interface'
import {
  GRANT_FLAGS,
  GRANT_MAP_FLAGS,
  type GrantCopyEnd,
  type GrantEntry,
  type GrantMapResult,
  GrantTables,
  readGrantEntry,
  writeGrantEntry,
} from '../src/grant-table.ts'

/** The guest of the traces: it grants its pages to itself. */
export const SELF = domainId(0)
/** A domain that exists, and does nothing. */
export const OTHER = domainId(1)
const HOST_MAP = GRANT_MAP_FLAGS.host_map
const READ_ONLY: number = GRANT_MAP_FLAGS.host_map | GRANT_MAP_FLAGS.readonly

const FRAME_0 = 0x100
const FRAMES = 8
const NO_HANDLE = 0xffff_ffff

/** One address of the guest with what is mapped there. */
interface Slot {
  readonly address: number
  readonly handle: number
}

interface TraceGuestOptions {
  readonly maptrackFrames: number
  readonly translated: boolean
}

/** Drives {@link GrantTables} as the recorded test guest drove Xen. */
export class TraceGuest {
  readonly tables: GrantTables
  readonly slots = new Map<number, Slot>()
  readonly ownPage: Uint8Array = new Uint8Array(4096)
  readonly #pages = new Map<number, Uint8Array>()
  readonly #translated: boolean
  /** Frames that moved away when the translated guest mapped its own page. */
  readonly #moved = new Set<number>()

  constructor({ maptrackFrames, translated }: TraceGuestOptions) {
    this.#translated = translated
    for (let i = 0; i < FRAMES; i++) this.#pages.set(FRAME_0 + i, new Uint8Array(4096))
    this.tables = new GrantTables(
      {
        domainExists: (domain) => domain === SELF || domain === OTHER,
        machinePage: (_domain, frame) =>
          this.#pages.has(frame) && !this.#moved.has(frame) ? frame : undefined,
        isPagedOut: () => false,
        pageBytes: (machinePage) => this.page(machinePage - FRAME_0),
      },
      { maximumMaptrackFrames: maptrackFrames, translated },
    )
  }

  page(index: number): Uint8Array {
    const page = this.#pages.get(FRAME_0 + index)
    if (!page) throw new Error(`the guest has no page ${index}`)
    return page
  }

  /** Writes an entry: by default page `index` for the guest itself. */
  grant(reference: number, flags: number, index: number, domain: number = SELF): void {
    this.write(reference, { flags, domain, frame: FRAME_0 + index })
  }

  write(reference: number, entry: GrantEntry): void {
    writeGrantEntry(this.tables.sharedTable(SELF), grantReference(reference), entry)
  }

  /** The entry's flags as the traces print them. */
  flags(reference: number): string {
    return this.#entry(reference).flags.toString(16)
  }

  /** Which of the guest's pages the entry grants. */
  granted(reference: number): number {
    return this.#entry(reference).frame - FRAME_0
  }

  map(
    slot: number,
    reference: number,
    flags: number = HOST_MAP,
    granter: number = SELF,
  ): GrantMapResult['status'] {
    const address = 0x1000_0000 + slot * 4096
    const result = this.tables.map({
      mapper: SELF,
      granter,
      reference: grantReference(reference),
      flags,
      address,
    })
    const handle = result.status === 0 ? result.handle : NO_HANDLE
    this.slots.set(slot, { address, handle })
    // One machine page has one frame in a translated domain: mapping a page of one's own moves it.
    if (result.status === 0 && this.#translated) this.#moved.add(result.machinePage)
    return result.status
  }

  unmap(slot: number, address?: number): number {
    const { handle, address: mappedAt } = this.slots.get(slot) ?? { handle: NO_HANDLE, address: 0 }
    return this.tables.unmap({ mapper: SELF, handle, address: address ?? mappedAt })
  }

  copyFrom(reference: number, offset: number, length: number, ownOffset = 0): number {
    return this.#copy(
      this.#end(reference, offset),
      { bytes: this.ownPage, offset: ownOffset },
      length,
    )
  }

  copyTo(reference: number, offset: number, length: number, ownOffset = 0): number {
    return this.#copy(
      { bytes: this.ownPage, offset: ownOffset },
      this.#end(reference, offset),
      length,
    )
  }

  #entry(reference: number): GrantEntry {
    return readGrantEntry(this.tables.sharedTable(SELF), grantReference(reference))
  }

  #end(reference: number, offset: number): GrantCopyEnd & { reference: GrantReference } {
    return { domain: SELF, reference: grantReference(reference), offset }
  }

  #copy(source: GrantCopyEnd, target: GrantCopyEnd, length: number): number {
    return this.tables.copy({ caller: SELF, source, target, length })
  }
}

const { permit_access: RW, accept_transfer: TRANSFER } = GRANT_FLAGS
const RO = GRANT_FLAGS.permit_access | GRANT_FLAGS.readonly
/** Slots of the named cases; the random trace uses 0 to 63. */
const FIRST = 100
const SECOND = 101
const THIRD = 102
const DEVICE = 103
const BATCH = 200
const FILL = 1000

/** The named cases, each replayed as the recorded guest ran it, in the order of the recording. */
export function namedCases(guest: TraceGuest): Record<string, () => string> {
  const { tables } = guest
  let mapped = 0
  let failures = 0
  const with8 = (value: number): string => `status=${value} flags=${guest.flags(8)}`
  const entry8 = (flags: number): void => guest.grant(8, flags, 0)
  const fill = (reference: (n: number) => number): number => {
    for (mapped = 0; ; mapped++) {
      const last = guest.map(FILL + mapped, reference(mapped))
      if (last !== 0) return last
    }
  }
  const drain = (): number => {
    let failed = 0
    for (let n = 0; n < mapped; n++) if (guest.unmap(FILL + n) !== 0) failed++
    failures += failed
    return failed
  }
  const once = (setUp: () => void, run: () => number, reference = 8): string => {
    setUp()
    return `status=${run()} flags=${guest.flags(reference)}`
  }

  return {
    self: () => `domid=${SELF}`,
    query_size: () => {
      const rc = tables.grow(SELF, 1)
      return `rc=0 status=${rc} nr=${tables.size(SELF) / 512} max=${tables.maximumFrames}`
    },
    map_rw: () =>
      once(
        () => entry8(RW),
        () => guest.map(FIRST, 8),
      ),
    map_rw_twice: () => {
      const line = with8(guest.map(SECOND, 8))
      const same = guest.slots.get(FIRST)?.handle === guest.slots.get(SECOND)?.handle
      return `${line} same_handle=${Number(same)}`
    },
    map_ro_over_rw: () => with8(guest.map(THIRD, 8, READ_ONLY)),
    unmap_rw_1of3: () => with8(guest.unmap(FIRST)),
    unmap_twice: () => with8(guest.unmap(FIRST)),
    unmap_rw_2of3: () => with8(guest.unmap(SECOND)),
    owner_clears_flags_while_ro_mapped: () => {
      entry8(0)
      return `flags=${guest.flags(8)}`
    },
    unmap_after_owner_cleared: () => with8(guest.unmap(THIRD)),
    map_rw_on_ro_grant: () =>
      once(
        () => entry8(RO),
        () => guest.map(FIRST, 8),
      ),
    map_ro_on_ro_grant: () => with8(guest.map(FIRST, 8, READ_ONLY)),
    unmap_ro: () => with8(guest.unmap(FIRST)),
    map_ro_first: () =>
      once(
        () => entry8(RW),
        () => guest.map(FIRST, 8, READ_ONLY),
      ),
    then_map_rw: () => with8(guest.map(SECOND, 8)),
    then_unmap_rw: () => with8(guest.unmap(SECOND)),
    then_unmap_ro: () => with8(guest.unmap(FIRST)),
    map_no_flags: () => status(guest.map(FIRST, 8, 0)),
    map_readonly_only: () => status(guest.map(FIRST, 8, GRANT_MAP_FLAGS.readonly)),
    map_device_only: () => with8(guest.map(DEVICE, 8, GRANT_MAP_FLAGS.device_map)),
    unmap_device_only_addr0: () => with8(guest.unmap(DEVICE, 0)),
    map_empty_entry: () => `status=${guest.map(FIRST, 10)} flags=${guest.flags(10)}`,
    map_last_entry_of_frame0_empty: () => status(guest.map(FIRST, 511)),
    map_ref_512: () => status(guest.map(FIRST, 512)),
    map_ref_huge: () => status(guest.map(FIRST, 0xffff_ffff)),
    map_bad_dom: () => status(guest.map(FIRST, 8, HOST_MAP, 1234)),
    map_domid_self: () => status(guest.map(FIRST, 8, HOST_MAP, 0x7ff0)),
    map_granted_to_other_dom: () =>
      once(
        () => guest.grant(10, RW, 2, OTHER),
        () => guest.map(FIRST, 10),
        10,
      ),
    map_accept_transfer_type: () =>
      once(
        () => guest.grant(10, TRANSFER, 2),
        () => guest.map(FIRST, 10),
        10,
      ),
    map_bad_frame: () =>
      once(
        () => guest.write(10, { flags: RW, domain: SELF, frame: 0xffff_ffff }),
        () => guest.map(FIRST, 10),
        10,
      ),
    unmap_bad_handle: () => {
      guest.write(10, { flags: 0, domain: 0, frame: 0 })
      return status(tables.unmap({ mapper: SELF, handle: 0x00ff_ffff, address: 0x1000_0000 }))
    },
    map_for_wrong_addr: () => status(guest.map(FIRST, 8)),
    unmap_wrong_addr: () => with8(guest.unmap(FIRST, 0x1000_0000 + 50 * 4096)),
    unmap_addr_zero: () => with8(guest.unmap(FIRST, 0)),
    unmap_right_addr_after: () => with8(guest.unmap(FIRST)),
    batch5: () => {
      guest.grant(9, RW, 1)
      const statuses = [
        guest.map(BATCH, 8),
        guest.map(BATCH + 1, 10),
        guest.map(BATCH + 2, 9),
        guest.map(BATCH + 3, 8, HOST_MAP, 1234),
        guest.map(BATCH + 4, 8),
      ]
      return `rc=0 status=${statuses.join(',')}`
    },
    batch5_after_unmap: () => {
      for (const n of [0, 2, 4]) guest.unmap(BATCH + n)
      return `flags8=${guest.flags(8)} flags9=${guest.flags(9)}`
    },
    // An operation count of 0 is the caller's loop, which does nothing.
    batch0: () => 'rc=0',
    copy_page_from_ro_gref: () => {
      guest.grant(10, RO, 2)
      guest.page(2).fill(0x5a)
      const answer = guest.copyFrom(10, 0, 4096)
      return `status=${answer} byte=${hexByte(guest.ownPage)} flags=${guest.flags(10)}`
    },
    copy_to_rw_gref: () => {
      guest.grant(11, RW, 3)
      const answer = guest.copyTo(11, 0, 4096)
      return `status=${answer} byte=${hexByte(guest.page(3))} flags=${guest.flags(11)}`
    },
    copy_to_ro_gref: () => status(guest.copyTo(10, 0, 16)),
    copy_src_crosses_page: () => status(guest.copyFrom(10, 4090, 16)),
    copy_dst_crosses_page: () => status(guest.copyFrom(10, 0, 16, 4090)),
    copy_len0_off4096: () => status(guest.copyFrom(10, 4096, 0)),
    copy_len0: () => status(guest.copyFrom(10, 0, 0)),
    copy_empty_gref: () => status(guest.copyFrom(12, 0, 16)),
    copy_bad_gref: () => status(guest.copyFrom(600, 0, 16)),
    swap_8_11: () => {
      const answer = tables.swapEntries(SELF, grantReference(8), grantReference(11))
      return `rc=0 status=${answer} frame8_is_f3=${Number(guest.granted(8) === 3)}`
    },
    set_version2_while_mapped: () => {
      guest.grant(12, RW, 4)
      const mapStatus = guest.map(FIRST, 12)
      const rc = tables.setVersion(SELF, 2)
      guest.unmap(FIRST)
      return `map=${mapStatus} rc=${rc} version=1`
    },
    same_grant_host_rw_fill: () => {
      guest.grant(13, RW, 5)
      const last = fill(() => 13)
      return `mapped=${mapped} last_status=${last} flags=${guest.flags(13)}`
    },
    same_grant_drain: () => `failed=${drain()} flags=${guest.flags(13)}`,
    maptrack_fill: () => {
      for (let n = 0; n < 8; n++) guest.grant(64 + n, RW, 6)
      const last = fill((n) => 64 + (n % 8))
      return `mapped=${mapped} last_status=${last}`
    },
    maptrack_drain: () => `failed=${drain()} flags64=${guest.flags(64)}`,
    map_after_drain: () => {
      const line = status(guest.map(FIRST, 64))
      guest.unmap(FIRST)
      return line
    },
    end_named: () => `fail=${failures}`,
    end_fuzz: () => `fail=${failures}`,
  }
}

function status(value: number): string {
  return `status=${value}`
}

function hexByte(page: Uint8Array): string {
  return page.every((byte) => byte === page[0]) ? (page[0] ?? 0).toString(16) : 'mixed'
}
