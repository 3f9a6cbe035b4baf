import {
  type DomainId,
  type GrantReference,
  type GuestFrame,
  grantReference,
  InvalidArgumentError,
} from '@xmc/interface'
import {
  GRANT_ENTRIES_PER_FRAME,
  GRANT_FLAGS,
  readGrantEntry,
  writeGrantEntry,
} from './grant-entry.ts'
import type { GrantTables } from './grant-table.ts'

/** References below this are for the console, xenstore and other early users. */
const FIRST_REFERENCE = 8

/** What a guest grants with one reference. */
export interface GuestGrant {
  /** Who may map and copy it. */
  readonly grantee: DomainId
  /** The guest's page, below 2^32: an entry of version 1 holds 32 bits. */
  readonly frame: GuestFrame
  readonly readOnly: boolean
}

/**
 * A guest kernel's use of its own grant table: which references are taken, and the entries it writes
 * into the memory it shares with Xen. One for each guest; drivers share it.
 */
export class GuestGrantTable {
  /** The guest. */
  readonly domain: DomainId
  readonly #tables: GrantTables
  readonly #taken = new Set<number>()
  /** No reference below this is free. */
  #lowest = FIRST_REFERENCE

  constructor(tables: GrantTables, domain: DomainId) {
    this.#tables = tables
    this.domain = domain
  }

  /** References that are taken now. */
  get takenCount(): number {
    return this.#taken.size
  }

  /**
   * Takes the lowest run of `count` consecutive free references, from 8 on, and makes the table larger
   * for them where needed. Undefined when the table is as large as it may be.
   *
   * @throws InvalidArgumentError `ERR_XMC_ARGUMENT` for a count that is not a positive integer, or
   * when the guest is gone
   */
  allocate(count: number): GrantReference | undefined {
    if (!Number.isSafeInteger(count) || count < 1) {
      throw new InvalidArgumentError('count', 'a positive integer', count)
    }
    if (count > this.#tables.maximumFrames * GRANT_ENTRIES_PER_FRAME) return undefined
    const first = this.#findRun(count)
    const frames = Math.ceil((first + count) / GRANT_ENTRIES_PER_FRAME)
    if (this.#tables.size(this.domain) < first + count) {
      if (this.#tables.grow(this.domain, frames) !== 0) return undefined
    }
    for (let reference = first; reference < first + count; reference++) this.#taken.add(reference)
    if (first === this.#lowest) this.#lowest = first + count
    return grantReference(first)
  }

  /**
   * Gives `count` references from `first` on back. Their entries must have ended.
   *
   * @throws InvalidArgumentError `ERR_XMC_ARGUMENT` for a reference that is not taken
   */
  free(first: GrantReference, count: number): void {
    for (let reference = first as number; reference < first + count; reference++) {
      if (!this.#taken.delete(reference)) {
        throw new InvalidArgumentError('reference', 'a reference that is taken', reference)
      }
    }
    this.#lowest = Math.min(this.#lowest, first)
  }

  /**
   * Lets the grantee map and copy a frame.
   *
   * @throws InvalidArgumentError `ERR_XMC_ARGUMENT` for a frame of more than 32 bits
   */
  grant(reference: GrantReference, { grantee, frame, readOnly }: GuestGrant): void {
    if (frame > 0xffff_ffff) {
      throw new InvalidArgumentError('frame', 'a frame below 2^32 (grant table version 1)', frame)
    }
    const flags = GRANT_FLAGS.permit_access | (readOnly ? GRANT_FLAGS.readonly : 0)
    writeGrantEntry(this.#tables.sharedTable(this.domain), reference, {
      flags,
      domain: grantee,
      frame,
    })
  }

  /**
   * Takes the grant back. False, and nothing is done, while the grantee still has the page mapped,
   * as far as the guest can see: while Xen has the entry marked as read or written.
   */
  end(reference: GrantReference): boolean {
    const table = this.#tables.sharedTable(this.domain)
    const { flags } = readGrantEntry(table, reference)
    if (flags & (GRANT_FLAGS.reading | GRANT_FLAGS.writing)) return false
    writeGrantEntry(table, reference, { flags: 0, domain: 0, frame: 0 })
    return true
  }

  #findRun(count: number): number {
    let first = this.#lowest
    for (let length = 0; length < count; length++) {
      if (this.#taken.has(first + length)) {
        first += length + 1
        length = -1
      }
    }
    return first
  }
}
