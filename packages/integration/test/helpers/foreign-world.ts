import { LOCK_DMA, LOCK_WRITE, type MapCache, type Retention } from '@xmc/core'
import { createForeignCache, type ForeignBackend } from '@xmc/foreign'
import { domainId, type GuestFrame, guestFrame } from '@xmc/interface'
import { type Pointer, World, type WorldOptions } from './world.ts'

/** How a world with a cache of foreign memory is made. */
export interface ForeignWorldOptions extends WorldOptions {
  readonly retention?: Retention | undefined
  readonly bucketShift?: number | undefined
  readonly translate?: ((page: GuestFrame, pageCount: number) => number | undefined) | undefined
}

/**
 * A world with a cache of the guest's memory in 1 MiB buckets, and the scenarios' operations on it, by
 * guest address.
 */
export class ForeignWorld extends World {
  readonly cache: MapCache<GuestFrame, ForeignBackend>

  constructor(options: ForeignWorldOptions = {}) {
    super(options)
    const { retention, bucketShift, translate } = options
    this.cache = createForeignCache({
      memory: this.hypervisor.foreignMemory(),
      domain: domainId(this.guest.id),
      window: this.window,
      retention,
      bucketShift,
      translate,
    })
    this.cache.addRamListener(this.notifier)
    this.closeAtEnd(this.cache)
  }

  /** The scenarios' `map(address, size, unlocked)`: the bytes that an access without a lock reads. */
  access(address: number, size: number): Uint8Array {
    const bytes = new Uint8Array(size)
    this.cache.read(frameOf(address), address % 4096, bytes)
    return bytes
  }

  /** The scenarios' `lock map(address, size)`: for DMA, unless told otherwise. */
  lock(address: number, size: number, flags: number = LOCK_WRITE | LOCK_DMA): Pointer {
    const offset = address % 4096
    return { windowPage: this.cache.lock(frameOf(address), offset, size, flags), offset }
  }

  /** The scenarios' `invalidate(pointer)`. */
  release({ windowPage, offset }: Pointer): void {
    this.cache.unlock(windowPage, offset)
  }

  /** The scenarios' `lookup(pointer)`, the reverse lookup. */
  lookup({ windowPage, offset }: Pointer): number {
    return this.cache.pageOf(windowPage) * 4096 + offset
  }
}

/** A cache of foreign memory besides, in a world that has another one. */
export function addForeignCache(world: World): MapCache<GuestFrame, ForeignBackend> {
  const cache = createForeignCache({
    memory: world.hypervisor.foreignMemory(),
    domain: domainId(world.guest.id),
    window: world.open(4096),
  })
  world.closeAtEnd(cache)
  return cache
}

/** The frame that an address lies in. */
export function frameOf(address: number): GuestFrame {
  return guestFrame(Math.floor(address / 4096))
}
