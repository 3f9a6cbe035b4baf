import { type DomainId, domainId, grantReference, grantStatusName } from '@xmc/interface'
import type {
  GrantCopyEnd,
  GrantEntry,
  GrantMapResult,
  GrantTablesOptions,
} from '../../src/grant-table.ts'
import {
  GRANT_FLAGS,
  GRANT_MAP_FLAGS,
  GrantTables,
  readGrantEntry,
  writeGrantEntry,
} from '../../src/grant-table.ts'

export const BACKEND: DomainId = domainId(0)
export const GUEST: DomainId = domainId(1)
export const STRANGER: DomainId = domainId(2)
export const RW: number = GRANT_FLAGS.permit_access
export const RO: number = RW | GRANT_FLAGS.readonly
export const HOST: number = GRANT_MAP_FLAGS.host_map
export const READ_ONLY: number = HOST | GRANT_MAP_FLAGS.readonly

export interface MapChange {
  readonly mapper?: DomainId
  readonly granter?: number
  readonly address?: number
}

/** Three domains; machine page of frame `f` of domain `d` is `d * 1000 + f`, below frame 100. */
export class GrantWorld {
  readonly tables: GrantTables
  readonly dead = new Set<number>()
  readonly pagedOut = new Set<number>()
  readonly #pages = new Map<number, Uint8Array>()

  constructor(options: GrantTablesOptions = {}) {
    this.tables = new GrantTables(
      {
        domainExists: (domain) => domain <= STRANGER && !this.dead.has(domain),
        machinePage: (domain, frame) => (frame < 100 ? domain * 1000 + frame : undefined),
        isPagedOut: (domain, frame) => domain === GUEST && this.pagedOut.has(frame),
        pageBytes: (machinePage) => this.page(machinePage),
      },
      options,
    )
  }

  page(machinePage: number): Uint8Array {
    const page = this.#pages.get(machinePage) ?? new Uint8Array(4096)
    this.#pages.set(machinePage, page)
    return page
  }

  /** The guest grants a frame to the backend. */
  grant(
    reference: number,
    flags: number,
    frame: number = reference,
    domain: number = BACKEND,
  ): void {
    const entry = { flags, domain, frame }
    writeGrantEntry(this.tables.sharedTable(GUEST), grantReference(reference), entry)
  }

  entry(reference: number): GrantEntry {
    return readGrantEntry(this.tables.sharedTable(GUEST), grantReference(reference))
  }

  flags(reference: number): number {
    return this.entry(reference).flags
  }

  map(
    reference: number,
    flags: number = HOST,
    { mapper = BACKEND, granter = GUEST, address = 0 }: MapChange = {},
  ): GrantMapResult {
    this.#address += 4096
    return this.tables.map({
      mapper,
      granter,
      reference: grantReference(reference),
      flags,
      address: address || this.#address,
    })
  }

  /** Maps, and fails the test when that is refused. */
  mapped(reference: number, flags: number = HOST): { handle: number; address: number } {
    const result = this.map(reference, flags)
    if (result.status !== 0) throw new Error(grantStatusName(result.status))
    return { handle: result.handle, address: this.#address }
  }

  unmap({ handle, address }: { handle: number; address: number }): number {
    return this.tables.unmap({ mapper: BACKEND, handle, address })
  }

  pins(reference: number): { read: number; write: number } {
    const pins = this.tables.pins(GUEST, grantReference(reference))
    return { read: pins.hostRead, write: pins.hostWrite }
  }

  #address = 0
}

/** A granted page as one end of a copy. */
export function grant(reference: number, offset = 0, domain: number = GUEST): GrantCopyEnd {
  return { domain, reference: grantReference(reference), offset }
}
