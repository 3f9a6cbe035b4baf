import type { MapCache, Retention } from '@xmc/core'
import { createForeignCache, type ForeignBackend } from '@xmc/foreign'
import { createGrantCache, type GrantBackend, type PersistentGrants } from '@xmc/grants'
import { type GrantReference, type GuestFrame, grantReference, guestFrame } from '@xmc/interface'
import { World } from '../helpers/world.ts'

/** How a cache of foreign memory differs from one of 64 buckets of 64 KiB. */
export interface ForeignOptions {
  readonly pageCount?: number | undefined
  readonly bucketShift?: number | undefined
  readonly retention?: Retention | undefined
  readonly access?: 'read-write' | 'as-requested' | undefined
  readonly shared?: boolean | undefined
}

/** How a cache of grants differs from one of 1,024 pages that unmaps at once. */
export interface GrantOptions {
  readonly pageCount?: number | undefined
  readonly persistent?: PersistentGrants | undefined
}

/** A world whose caches are made one by one, each with a window of its own. */
export class MuseumWorld extends World {
  constructor() {
    super({ windowPages: 1 })
  }

  foreignCache(options: ForeignOptions = {}): MapCache<GuestFrame, ForeignBackend> {
    const { pageCount = 1024, bucketShift = 16, retention, access, shared } = options
    const window = this.open(pageCount, shared)
    const memory = this.hypervisor.foreignMemory()
    const domain = this.guest.id
    const cache = createForeignCache({ memory, domain, window, bucketShift, retention, access })
    this.closeAtEnd(cache)
    return cache
  }

  grantCache(options: GrantOptions = {}): MapCache<GrantReference, GrantBackend> {
    const { pageCount = 1024, persistent } = options
    const window = this.open(pageCount)
    const table = this.hypervisor.grantTable()
    const cache = createGrantCache({ table, domain: this.guest.id, window, persistent })
    this.closeAtEnd(cache)
    return cache
  }

  /**
   * Gives the guest `count` frames from 0x40 on and grants them to the control domain: references 8
   * and so on, for frames that hold 1 and so on.
   */
  grant(count: number): GrantReference[] {
    this.guest.populate(0x40, count)
    for (let nth = 0; nth < count; nth++) this.guestWrite(0x40 + nth, nth + 1)
    return this.guest.grants.share({ first: 0x40, count }, { to: this.hypervisor.control.id })
  }

  /** Sets the first 32 bits of a frame, by the guest. */
  guestWrite(guestPage: number, value: number): void {
    this.guest.memory.writeUint32(guestPage * 4096, value)
  }

  /** The first 32 bits of a frame, as the guest sees them. */
  guestRead(guestPage: number): number {
    return this.guest.memory.readUint32(guestPage * 4096)
  }
}

export { grantReference as reference, guestFrame as frame }
