import { constants } from 'node:os'
import {
  checkOptions,
  countPages,
  type DomainId,
  domainId,
  GRANT_STATUS,
  type GrantReference,
  grantReference,
  grantStatusName,
  guestFrame,
  InvalidArgumentError,
  isPageList,
  type Pages,
  SystemCallError,
} from '@xmc/interface'
import { type GrantEntry, type GrantPins, type GrantTables, readGrantEntry } from './grant-table.ts'
import { GuestGrantTable } from './guest-grant-table.ts'

/** To whom a frame is granted, and for what. */
export interface GrantTo {
  /** The grantee. */
  readonly to: number
  /** Whether the grantee may only read. Default false. */
  readonly readonly?: boolean | undefined
}

/**
 * A domain's own grant table as its kernel handles it, with the short forms that tests and guest
 * drivers want: entries are written, and taken back unless somebody still uses them.
 */
export class DomainGrants extends GuestGrantTable {
  readonly #tables: GrantTables

  constructor(tables: GrantTables, domain: DomainId) {
    super(tables, domain)
    this.#tables = tables
  }

  /** References that the table holds at its present size. */
  get size(): number {
    return this.#tables.size(this.domain)
  }

  /**
   * Makes the table at least `frames` frames large, 512 references each.
   *
   * @throws SystemCallError `ERR_XMC_SYSTEM_CALL` (`ENOSPC`) beyond the hypervisor's limit
   */
  grow(frames: number): void {
    const status = this.#tables.grow(this.domain, frames)
    if (status === GRANT_STATUS.okay) return
    throw tooLarge(`${frames} frames (${grantStatusName(status)})`, this.#tables)
  }

  /**
   * Grants a frame under a reference of the caller's choice, whatever the entry held. `share` keeps
   * clear of it.
   *
   * @throws InvalidArgumentError `ERR_XMC_ARGUMENT` for a reference beyond the table, a frame that has not
   * 32 bits (version 1 has no room for it), or a grantee that is no domain id
   */
  allow(reference: number, grant: GrantTo & { readonly frame: number }): void {
    checkOptions('allow', grant, { to: true, readonly: true, frame: true })
    const { to, readonly = false, frame } = grant
    const what = { grantee: domainId(to), frame: guestFrame(frame), readOnly: readonly }
    this.grant(this.#inTable(reference), what)
  }

  /**
   * Grants frames under consecutive references that are free, from 8 on; makes the table larger when
   * it has none. Returns the references in the order of the frames.
   *
   * @throws SystemCallError `ERR_XMC_SYSTEM_CALL` (`ENOSPC`) when the table cannot hold them
   * @throws InvalidArgumentError `ERR_XMC_ARGUMENT` for no frames, and as `allow`
   */
  share(frames: Pages<number>, grant: GrantTo): GrantReference[] {
    checkOptions('share', grant, { to: true, readonly: true })
    const count = countPages(frames)
    const first = this.#allocate(count)
    return Array.from({ length: count }, (_, i) => {
      const frame = isPageList(frames) ? frames[i] : frames.first + i
      this.allow(first + i, { ...grant, frame: frame ?? -1 })
      return grantReference(first + i)
    })
  }

  /**
   * Takes back what `share` granted, and its references; returns those that are still mapped: they stay.
   *
   * @throws InvalidArgumentError `ERR_XMC_ARGUMENT` for a reference that was not shared
   */
  unshare(references: readonly GrantReference[]): GrantReference[] {
    return references.filter((reference) => {
      if (!this.end(reference)) return true
      this.free(reference, 1)
      return false
    })
  }

  /**
   * What an entry holds.
   *
   * @throws InvalidArgumentError `ERR_XMC_ARGUMENT` for a reference beyond the table
   */
  entry(reference: number): GrantEntry {
    return readGrantEntry(this.#tables.sharedTable(this.domain), this.#inTable(reference))
  }

  /** How often a reference is mapped, by kind. */
  pins(reference: number): GrantPins {
    return this.#tables.pins(this.domain, grantReference(reference))
  }

  /** Takes a run of references whose entries nobody wrote by `allow`. */
  #allocate(count: number): GrantReference {
    const avoided: GrantReference[] = []
    try {
      for (;;) {
        const first = this.allocate(count)
        if (first === undefined) throw tooLarge(`${count} references in a row`, this.#tables)
        if (this.#isClear(first, count)) return first
        avoided.push(first)
      }
    } finally {
      for (const first of avoided) this.free(first, count)
    }
  }

  #isClear(first: number, count: number): boolean {
    for (let reference = first; reference < first + count; reference++) {
      if (this.entry(reference).flags !== 0) return false
    }
    return true
  }

  #inTable(reference: number): GrantReference {
    if (reference < this.size) return grantReference(reference)
    const expected = `an integer below ${this.size}, the size of the table`
    throw new InvalidArgumentError('reference', expected, reference)
  }
}

function tooLarge(what: string, tables: GrantTables): SystemCallError {
  const detail = `${what} do not fit into ${tables.maximumFrames} frames: end grants, or raise maximumGrantFrames`
  return new SystemCallError('grant table growth', constants.errno.ENOSPC, detail)
}
