import type { GrantReference } from '@xmc/interface'

/** Flags of a grant entry, the names of Xen's public header without `GTF_`. */
export const GRANT_FLAGS = {
  /** Mask of the entry's type. */
  type_mask: 3,
  /** Type: not granted. */
  invalid: 0,
  /** Type: the grantee may map and copy the frame. */
  permit_access: 1,
  /** Type: the grantee may transfer a frame; neither mapped nor copied here. */
  accept_transfer: 2,
  /** Type of version 2 only; neither mapped nor copied in version 1. */
  transitive: 3,
  /** Set by the guest: no writing. */
  readonly: 4,
  /** Set by Xen while the entry is pinned. */
  reading: 8,
  /** Set by Xen while the entry is pinned for writing. */
  writing: 16,
  /** Version 2 only: part of a page. It cannot be mapped. */
  sub_page: 256,
} as const

/** Flags of a map request, the names of Xen's public header without `GNTMAP_`. */
export const GRANT_MAP_FLAGS = {
  /** Map for I/O by a device; untranslated mappers only. */
  device_map: 1,
  /** Map into the mapper's address space. */
  host_map: 2,
  /** Map without write access. */
  readonly: 4,
  /** Untranslated mappers only; without effect here. */
  application_map: 8,
  /** The address is that of a page table entry; untranslated mappers only, without effect here. */
  contains_pte: 16,
} as const

/** Bytes of one entry of a version 1 grant table. */
export const GRANT_ENTRY_SIZE = 8

/** Entries in one 4 KiB frame of a version 1 grant table. */
export const GRANT_ENTRIES_PER_FRAME = 512

/** The domain id by which a caller means itself (`DOMID_SELF`). */
export const DOMID_SELF = 0x7ff0

/** What an entry of a version 1 grant table holds: 8 bytes, little endian. */
export interface GrantEntry {
  /** Bits of {@link GRANT_FLAGS}, 16 bits at byte 0. */
  readonly flags: number
  /** The grantee, 16 bits at byte 2. */
  readonly domain: number
  /** The guest frame granted, 32 bits at byte 4. */
  readonly frame: number
}

/**
 * Reads an entry of a shared table.
 *
 * @throws RangeError when `reference` lies beyond the table
 */
export function readGrantEntry(table: DataView, reference: GrantReference): GrantEntry {
  const at = reference * GRANT_ENTRY_SIZE
  return {
    flags: table.getUint16(at, true),
    domain: table.getUint16(at + 2, true),
    frame: table.getUint32(at + 4, true),
  }
}

/**
 * Writes an entry of a shared table as a guest does: frame and grantee first, the flags, which make
 * the entry valid, last.
 *
 * @throws RangeError when `reference` lies beyond the table
 */
export function writeGrantEntry(
  table: DataView,
  reference: GrantReference,
  entry: GrantEntry,
): void {
  const at = reference * GRANT_ENTRY_SIZE
  table.setUint32(at + 4, entry.frame, true)
  table.setUint16(at + 2, entry.domain, true)
  table.setUint16(at, entry.flags, true)
}
