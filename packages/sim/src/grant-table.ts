import {
  type DomainId,
  GRANT_STATUS,
  type GrantFailure,
  type GrantReference,
  type GrantStatus,
  InvalidArgumentError,
  isDomainId,
  PAGE_SIZE,
} from '@xmc/interface'
import { DOMID_SELF, GRANT_MAP_FLAGS } from './grant-entry.ts'
import type {
  GrantCopyEnd,
  GrantCopyOperation,
  GrantMapOperation,
  GrantMapResult,
  GrantPins,
  GrantTableHost,
  GrantTablesOptions,
  GrantUnmapOperation,
  LiveGrantMapping,
  PinnedGrantEntry,
} from './grant-operation.ts'
import { type ActiveEntry, GranterTable, type PageResolver } from './internal/granter-table.ts'
import { MapTrack } from './internal/map-track.ts'

export * from './grant-entry.ts'
export * from './grant-operation.ts'

interface Mapping {
  readonly table: GranterTable
  readonly entry: ActiveEntry
  readonly writable: boolean
  readonly address: number
  host: boolean
  device: boolean
}

interface Mapper {
  readonly track: MapTrack<Mapping>
  /** The machine page at each address of the mapper that a grant was mapped to. */
  readonly pageAt: Map<number, number>
}

const NO_PINS: GrantPins = { hostRead: 0, hostWrite: 0, deviceRead: 0, deviceWrite: 0 }

/**
 * The grant tables of all domains of one hypervisor, version 1, at the level of hypercalls: a
 * deterministic state machine that answers what live Xen was recorded to answer. Version 2, transfers
 * and transitive grants are not simulated.
 *
 * A domain's table comes into being with its first use, one frame of 512 entries, all zero. The
 * guest writes its entries as bytes ({@link GrantTables.sharedTable}); Xen's own view, pins and
 * mappings, is apart from them. References 0 to 7 are reserved by convention only.
 */
export class GrantTables {
  readonly #host: GrantTableHost
  readonly #maximumFrames: number
  readonly #maximumMaptrackFrames: number
  readonly #translated: boolean
  readonly #tables = new Map<DomainId, GranterTable>()
  /** Tables of dead domains, kept while something of theirs is pinned. */
  readonly #orphans = new Set<GranterTable>()
  readonly #mappers = new Map<DomainId, Mapper>()
  readonly #pinnedPages = new Map<number, number>()

  /** @throws InvalidArgumentError `ERR_XMC_ARGUMENT` for a limit that is not a positive integer */
  constructor(host: GrantTableHost, options: GrantTablesOptions = {}) {
    this.#host = host
    this.#maximumFrames = positive('maximumFrames', options.maximumFrames ?? 64)
    this.#maximumMaptrackFrames = positive(
      'maximumMaptrackFrames',
      options.maximumMaptrackFrames ?? 1024,
    )
    this.#translated = options.translated ?? true
  }

  /** Frames a table can grow to. */
  get maximumFrames(): number {
    return this.#maximumFrames
  }

  /**
   * The bytes of a domain's table at its current size, as the guest sees them: shared memory, not
   * a copy. A view taken before the table grew stays valid and short.
   *
   * @throws InvalidArgumentError `ERR_XMC_ARGUMENT` when there is no such domain
   */
  sharedTable(domain: DomainId): DataView {
    const table = this.#requireTable(domain)
    return new DataView(table.bytes, 0, table.frames * PAGE_SIZE)
  }

  /**
   * Number of references of a domain's table.
   *
   * @throws InvalidArgumentError `ERR_XMC_ARGUMENT` when there is no such domain
   */
  size(domain: DomainId): number {
    return this.#requireTable(domain).size
  }

  /**
   * Makes a domain's table at least `frames` frames large (`GNTTABOP_setup_table`). Answers
   * `general_error` beyond the limit, `bad_domain` without such a domain.
   */
  grow(domain: DomainId, frames: number): GrantStatus {
    const table = this.#table(domain)
    if (!table) return GRANT_STATUS.bad_domain
    if (frames > this.#maximumFrames) return GRANT_STATUS.general_error
    table.frames = Math.max(table.frames, frames)
    return GRANT_STATUS.okay
  }

  /** Maps a reference into the mapper's address space, for a device, or both. */
  map(operation: GrantMapOperation): GrantMapResult {
    const { flags } = operation
    const host = (flags & GRANT_MAP_FLAGS.host_map) !== 0
    const device = (flags & GRANT_MAP_FLAGS.device_map) !== 0
    if (!host && !device) return { status: GRANT_STATUS.bad_gntref }
    const forUntranslated =
      GRANT_MAP_FLAGS.device_map | GRANT_MAP_FLAGS.application_map | GRANT_MAP_FLAGS.contains_pte
    if (this.#translated && flags & forUntranslated) return { status: GRANT_STATUS.general_error }
    const table = this.#table(operation.granter)
    if (!table) return { status: GRANT_STATUS.bad_domain }

    const mapper = this.#mapper(operation.mapper)
    // Xen takes the handle before it looks at the reference, so an exhausted map-track hides a bad one.
    const handle = mapper.track.take()
    if (handle === undefined) return { status: GRANT_STATUS.no_space }
    const writable = (flags & GRANT_MAP_FLAGS.readonly) === 0
    const pinned =
      operation.reference < table.size
        ? table.pin(
            operation.reference,
            operation.mapper,
            { host, device, writable },
            'map',
            this.#resolve,
          )
        : GRANT_STATUS.bad_gntref
    if (typeof pinned === 'number') {
      mapper.track.put(handle)
      return { status: pinned }
    }
    const { address } = operation
    mapper.track.set(handle, { table, entry: pinned, writable, address, host, device })
    if (host) mapper.pageAt.set(address, pinned.machinePage)
    return { status: GRANT_STATUS.okay, handle, machinePage: pinned.machinePage }
  }

  /**
   * Undoes a mapping, or the part of it that the addresses name. The handle is free again when
   * neither part is left. A wrong address answers `general_error` and changes nothing.
   */
  unmap(operation: GrantUnmapOperation): GrantStatus {
    const { handle, address, deviceAddress = 0 } = operation
    const mapper = this.#mappers.get(operation.mapper)
    const mapping = mapper?.track.get(handle)
    if (!mapper || !mapping) return GRANT_STATUS.bad_handle
    const { machinePage } = mapping.entry
    if (deviceAddress !== 0 && deviceAddress !== machinePage * PAGE_SIZE) {
      return GRANT_STATUS.general_error
    }
    const host = address !== 0 && mapping.host
    if (host && mapper.pageAt.get(address) !== machinePage) return GRANT_STATUS.general_error
    if (host) mapper.pageAt.delete(address)
    this.#remove(mapper, handle, mapping, host, deviceAddress !== 0 && mapping.device)
    return GRANT_STATUS.okay
  }

  /**
   * Unmaps everything a mapper has mapped, as Xen does when a domain dies and Linux when a process
   * closes its last handle. Returns how many mappings there were.
   */
  releaseMapper(mapper: DomainId): number {
    const state = this.#mappers.get(mapper)
    if (!state) return 0
    const live = [...state.track.entries()]
    for (const [handle, mapping] of live) {
      this.#remove(state, handle, mapping, mapping.host, mapping.device)
    }
    state.pageAt.clear()
    return live.length
  }

  /**
   * Copies between granted pages and memory of the caller. Both ends are pinned, then the lengths
   * are checked, so a bad reference answers before `bad_copy_arg`. A copy of 0 bytes is `okay`,
   * whatever its ends. Own memory may be longer than a page: the kernel cuts such a copy into pages
   * before Xen sees it.
   *
   * @throws InvalidArgumentError `ERR_XMC_ARGUMENT` for a number that has not 16 bits
   */
  copy(operation: GrantCopyOperation): GrantStatus {
    const { caller, source, target, length } = operation
    uint16('length', length)
    if (length === 0) return GRANT_STATUS.okay
    const from = this.#openEnd(caller, source, false)
    if (typeof from === 'number') return from
    const to = this.#openEnd(caller, target, true)
    if (typeof to === 'number') {
      from.close()
      return to
    }
    const fits =
      source.offset + length <= from.bytes.length && target.offset + length <= to.bytes.length
    if (fits) {
      to.bytes.set(from.bytes.subarray(source.offset, source.offset + length), target.offset)
    }
    from.close()
    to.close()
    return fits ? GRANT_STATUS.okay : GRANT_STATUS.bad_copy_arg
  }

  /**
   * Exchanges two entries of a domain's own table (`GNTTABOP_swap_grant_ref`). Answers `bad_gntref`
   * beyond the table and `eagain` while one of them is pinned.
   */
  swapEntries(domain: DomainId, a: GrantReference, b: GrantReference): GrantStatus {
    const table = this.#table(domain)
    if (!table) return GRANT_STATUS.bad_domain
    if (a >= table.size || b >= table.size) return GRANT_STATUS.bad_gntref
    if (a === b) return GRANT_STATUS.okay
    if (table.active.has(a) || table.active.has(b)) return GRANT_STATUS.eagain
    table.swap(a, b)
    return GRANT_STATUS.okay
  }

  /**
   * Asks for another version of a domain's table (`GNTTABOP_set_version`): 0, or a negative errno.
   * −22 (`EINVAL`) for a version that does not exist, −16 (`EBUSY`) while an entry from 8 on is pinned,
   * and −38 (`ENOSYS`) for version 2, which is not simulated: what Xen answers under `max-ver:1`.
   */
  setVersion(domain: DomainId, version: number): 0 | -16 | -22 | -38 {
    const table = this.#requireTable(domain)
    if (version === 1) return 0
    if (version !== 2) return -22
    for (const reference of table.active.keys()) {
      if (reference >= 8) return -16
    }
    return -38
  }

  /**
   * Forgets a domain that died: what it had mapped is unmapped, its table is gone. Mappings that
   * others have of its pages stay valid until they are unmapped. A new domain may have the same id.
   */
  removeDomain(domain: DomainId): void {
    this.releaseMapper(domain)
    this.#mappers.delete(domain)
    const table = this.#tables.get(domain)
    this.#tables.delete(domain)
    if (table && table.active.size > 0) this.#orphans.add(table)
  }

  /** Every live mapping, by mapper and handle. */
  *mappings(): IterableIterator<LiveGrantMapping> {
    for (const [mapper, { track }] of this.#mappers) {
      for (const [handle, mapping] of track.entries()) {
        const { table, entry, writable, host, device, address } = mapping
        yield {
          mapper,
          handle,
          granter: table.domain,
          reference: entry.reference,
          frame: entry.frame,
          machinePage: entry.machinePage,
          writable,
          host,
          device,
          address,
        }
      }
    }
  }

  /** Every pinned entry, those of dead granters last. */
  *pinnedEntries(): IterableIterator<PinnedGrantEntry> {
    for (const table of [...this.#tables.values(), ...this.#orphans]) {
      for (const entry of table.active.values()) {
        yield { granter: table.domain, ...entry, pins: { ...entry.pins } }
      }
    }
  }

  /** Pins of one reference of a living granter; all zero when it is not in use. */
  pins(granter: DomainId, reference: GrantReference): GrantPins {
    return { ...(this.#tables.get(granter)?.active.get(reference)?.pins ?? NO_PINS) }
  }

  /** True while a grant pins the machine page: it must not be given to anybody else. */
  isPinned(machinePage: number): boolean {
    return this.#pinnedPages.has(machinePage)
  }

  #remove(mapper: Mapper, handle: number, mapping: Mapping, host: boolean, device: boolean): void {
    if (host) mapping.host = false
    if (device) mapping.device = false
    const { table, entry, writable } = mapping
    if (host || device) table.unpin(entry, { host, device, writable })
    if (!mapping.host && !mapping.device) mapper.track.put(handle)
    if (table.active.size === 0) this.#orphans.delete(table)
  }

  #openEnd(caller: DomainId, end: GrantCopyEnd, writable: boolean): OpenCopyEnd | GrantFailure {
    uint16('offset', end.offset)
    if ('bytes' in end) return { bytes: end.bytes, close: nothing }
    const table = this.#table(end.domain === DOMID_SELF ? caller : end.domain)
    if (!table) return GRANT_STATUS.bad_domain
    if (end.reference >= table.size) return GRANT_STATUS.bad_gntref
    const request = { host: true, device: false, writable }
    const entry = table.pin(end.reference, caller, request, 'copy', this.#resolve)
    if (typeof entry === 'number') return entry
    const bytes = this.#host.pageBytes(entry.machinePage)
    return { bytes, close: () => table.unpin(entry, request) }
  }

  readonly #resolve: PageResolver = (granter, frame) => {
    if (this.#host.isPagedOut(granter, frame)) return { failure: GRANT_STATUS.eagain }
    const machinePage = this.#host.machinePage(granter, frame)
    return machinePage === undefined ? { failure: GRANT_STATUS.bad_page } : { machinePage }
  }

  #table(domain: number): GranterTable | undefined {
    if (!isDomainId(domain) || !this.#host.domainExists(domain)) return undefined
    let table = this.#tables.get(domain)
    if (!table) {
      table = new GranterTable(domain, this.#maximumFrames, this.#pinnedPages)
      this.#tables.set(domain, table)
    }
    return table
  }

  #requireTable(domain: DomainId): GranterTable {
    const table = this.#table(domain)
    if (!table) throw new InvalidArgumentError('domain', 'a domain that exists', domain)
    return table
  }

  #mapper(domain: DomainId): Mapper {
    let mapper = this.#mappers.get(domain)
    if (!mapper) {
      mapper = { track: new MapTrack(this.#maximumMaptrackFrames), pageAt: new Map() }
      this.#mappers.set(domain, mapper)
    }
    return mapper
  }
}

interface OpenCopyEnd {
  readonly bytes: Uint8Array
  readonly close: () => void
}

function nothing(): void {}

function positive(field: string, value: number): number {
  if (!Number.isSafeInteger(value) || value < 1) {
    throw new InvalidArgumentError(field, 'a positive integer', value)
  }
  return value
}

function uint16(field: string, value: number): void {
  if ((value & 0xffff) !== value) {
    throw new InvalidArgumentError(field, 'an integer from 0 to 65535', value)
  }
}
