import type { MapCache, MapOptions, Mapping } from '@xmc/core'
import { createGrantCache, type GrantBackend, type PersistentGrants } from '@xmc/grants'
import { domainId, type GrantReference, splitGrantAddress } from '@xmc/interface'
import { World, type WorldOptions } from './world.ts'

/** How a world with a cache of grants is made. */
export interface GrantWorldOptions extends WorldOptions {
  /** References 0 to `references` − 1 grant frames from 0x40000 on; 9 is read-only. Default 64. */
  readonly references?: number | undefined
  readonly persistent?: PersistentGrants | undefined
}

/** First frame that is granted. */
const FIRST_FRAME = 0x40000

/** A world with a cache of what the guest granted, and access to it by the guest's DMA addresses. */
export class GrantWorld extends World {
  readonly cache: MapCache<GrantReference, GrantBackend>

  constructor(options: GrantWorldOptions = {}) {
    super({ windowPages: 4096, ...options })
    const { references = 64, persistent } = options
    if (references > 0) this.populate(FIRST_FRAME, references)
    for (let reference = 0; reference < references; reference++) {
      const frame = FIRST_FRAME + reference
      this.guest.grants.allow(reference, { to: 0, frame, readonly: reference === 9 })
    }
    this.cache = createGrantCache({
      table: this.hypervisor.grantTable(),
      domain: domainId(this.guest.id),
      window: this.window,
      persistent,
    })
    this.cache.addRamListener(this.notifier)
    this.closeAtEnd(this.cache)
  }

  /** Maps a guest's DMA address, as a device does that got it from the guest. */
  map(address: bigint, length: number, options: MapOptions = {}): Mapping<GrantReference> {
    const { reference, offset } = splitGrantAddress(address)
    return this.cache.map(reference, offset, length, options)
  }

  /** How often a reference is mapped, as Xen counts it. */
  pins(reference: number): { reads: number; writes: number } {
    const { hostRead, hostWrite } = this.guest.grants.pins(reference)
    return { reads: hostRead, writes: hostWrite }
  }
}
