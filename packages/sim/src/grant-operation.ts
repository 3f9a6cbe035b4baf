import type {
  DomainId,
  GRANT_STATUS,
  GrantFailure,
  GrantReference,
  GuestFrame,
} from '@xmc/interface'

/** What the grant tables ask of the hypervisor around them. */
export interface GrantTableHost {
  /** True while the domain lives. The tables of a domain that does not are never made. */
  domainExists(domain: DomainId): boolean
  /** The machine page behind a guest frame (its p2m entry); undefined for a hole. */
  machinePage(domain: DomainId, frame: GuestFrame): number | undefined
  /** True when the frame is paged out: a map or copy of it answers `eagain`. Asked first. */
  isPagedOut(domain: DomainId, frame: GuestFrame): boolean
  /** The 4,096 bytes of a machine page, for grant copies. */
  pageBytes(machinePage: number): Uint8Array
}

/** Limits and kind of the simulated hypervisor. */
export interface GrantTablesOptions {
  /** Frames a domain's table can grow to, 512 references each. Default 64. */
  readonly maximumFrames?: number
  /** Frames of map-track of a mapping domain, 256 mappings each but for one. Default 1,024. */
  readonly maximumMaptrackFrames?: number
  /**
   * True when mapping domains are translated, as every guest and dom0 on Arm, and HVM and PVH on
   * x86: they may use no other map flags than host_map and readonly. Default true.
   */
  readonly translated?: boolean
}

/** One grant map operation (`GNTTABOP_map_grant_ref`). */
export interface GrantMapOperation {
  /** The calling domain. */
  readonly mapper: DomainId
  /** Whose grant. Any 16-bit number; reserved ids, `DOMID_SELF` too, answer `bad_domain`. */
  readonly granter: number
  /** Entry in the granter's table. */
  readonly reference: GrantReference
  /** Bits of `GRANT_MAP_FLAGS`. */
  readonly flags: number
  /**
   * Where the page appears in the mapper's address space. Only compared at unmap, so any number that
   * is unique among the mapper's mappings serves; a mapping at 0 can be unmapped only by
   * `releaseMapper`.
   */
  readonly address: number
}

/** The answer to a map operation. */
export type GrantMapResult =
  | {
      readonly status: typeof GRANT_STATUS.okay
      /** Names the mapping at unmap. Unique among the live mappings of one mapper. */
      readonly handle: number
      /** The page that is mapped now. */
      readonly machinePage: number
    }
  | { readonly status: GrantFailure }

/** One grant unmap operation (`GNTTABOP_unmap_grant_ref`). */
export interface GrantUnmapOperation {
  /** The calling domain. */
  readonly mapper: DomainId
  /** Of the mapping. */
  readonly handle: number
  /** Where the host mapping is; 0 leaves it in place, and the answer is `okay` all the same. */
  readonly address: number
  /** Machine address of the device mapping (machine page * 4096); 0, the default, leaves it. */
  readonly deviceAddress?: number
}

/** One end of a grant copy. */
export type GrantCopyEnd =
  | {
      /** Whose grant; `DOMID_SELF` is the caller. */
      readonly domain: number
      readonly reference: GrantReference
      /** Offset in the granted page, 0 to 65,535; beyond 4,096 answers `bad_copy_arg`. */
      readonly offset: number
    }
  | {
      /** Memory of the caller. */
      readonly bytes: Uint8Array
      /** Offset in `bytes`. */
      readonly offset: number
    }

/** One grant copy operation (`GNTTABOP_copy`). */
export interface GrantCopyOperation {
  readonly caller: DomainId
  readonly source: GrantCopyEnd
  readonly target: GrantCopyEnd
  /** Bytes, 0 to 65,535. */
  readonly length: number
}

/** A mapping that is live, for accounting. */
export interface LiveGrantMapping {
  readonly mapper: DomainId
  readonly handle: number
  /** May be dead: the mapping of its page stays valid. */
  readonly granter: DomainId
  readonly reference: GrantReference
  /** The frame as it was when the entry was first pinned. */
  readonly frame: GuestFrame
  readonly machinePage: number
  readonly writable: boolean
  /** Whether the page is in the mapper's address space. */
  readonly host: boolean
  /** Whether the page is mapped for a device. */
  readonly device: boolean
  readonly address: number
}

/** Pins of one reference, counted by kind; each at most 128. */
export interface GrantPins {
  readonly hostRead: number
  readonly hostWrite: number
  readonly deviceRead: number
  readonly deviceWrite: number
}

/** An entry that is pinned, for accounting. */
export interface PinnedGrantEntry {
  readonly granter: DomainId
  readonly reference: GrantReference
  readonly grantee: DomainId
  readonly frame: GuestFrame
  readonly machinePage: number
  readonly pins: GrantPins
}
