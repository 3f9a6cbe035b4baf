import { PAGE_SIZE, XmcError } from '@xmc/interface'
import { DmaBrokenError } from './errors.ts'
import type { DmaDirection, DmaMapper, GuestFrame } from './ports.ts'

/** A buffer to grant. */
export interface GrantDmaBuffer {
  /** First page of the guest's buffer; the others follow. */
  readonly frame: GuestFrame
  /** Where the buffer starts, in bytes from the first page; may be more than a page. */
  readonly offset: number
  /** Bytes, at least 1. */
  readonly length: number
  readonly direction: DmaDirection
}

/**
 * What the guest's grant DMA layer must offer: addresses are `1 << 63 | reference << 12 | offset`, and a
 * buffer's pages have consecutive references. Met by `GrantDma` of the simulator.
 */
export interface GrantDma {
  /** True once a grant was still in use when it was taken back. */
  readonly broken: boolean
  /**
   * Grants a buffer, read-only for `to-device`. Throws an error with the code
   * `ERR_XMC_NO_GRANT_REFERENCES` when the table is full.
   */
  mapPages(buffer: GrantDmaBuffer): bigint
  /** Grants `count` whole pages, readable and writable. Throws as `mapPages`. */
  allocateCoherent(frame: GuestFrame, count: number): bigint
  /** Takes a buffer back by its address; false when the device still has it. */
  unmap(address: bigint): boolean
}

/**
 * Gives buffers to a device by grants: the device reaches what is granted to it and nothing else, and
 * only until the grant is ended.
 */
export class GrantDmaMapper implements DmaMapper {
  readonly needsAccessPlatform = true
  readonly #dma: GrantDma

  constructor(dma: GrantDma) {
    this.#dma = dma
  }

  get broken(): boolean {
    return this.#dma.broken
  }

  /** @throws DmaBrokenError `ERR_XMC_DMA_BROKEN` */
  map(frame: GuestFrame, offset: number, length: number, direction: DmaDirection): number {
    if (this.#dma.broken) throw new DmaBrokenError()
    try {
      return pageOf(this.#dma.mapPages({ frame, offset, length, direction }))
    } catch (error) {
      return exhausted(error)
    }
  }

  unmap(page: number, offset: number): boolean {
    if (this.#dma.broken) return false
    return this.#dma.unmap((BigInt(page) << 12n) | BigInt(offset % PAGE_SIZE))
  }

  /** @throws DmaBrokenError `ERR_XMC_DMA_BROKEN` */
  allocateCoherent(frame: GuestFrame, count: number): number {
    if (this.#dma.broken) throw new DmaBrokenError()
    try {
      return pageOf(this.#dma.allocateCoherent(frame, count))
    } catch (error) {
      return exhausted(error)
    }
  }

  freeCoherent(page: number): boolean {
    return this.unmap(page, 0)
  }
}

function pageOf(address: bigint): number {
  return Number(address >> 12n)
}

/** −1 when `error` says that the grant table is full. */
function exhausted(error: unknown): number {
  if (error instanceof XmcError && error.code === 'ERR_XMC_NO_GRANT_REFERENCES') return -1
  throw error
}
