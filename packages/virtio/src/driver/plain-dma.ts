import { PAGE_SIZE } from '@xmc/interface'
import type { DmaMapper, GuestFrame } from './ports.ts'

/**
 * Gives buffers to a device by their guest-physical addresses: the device may map all of the guest's
 * memory (foreign mappings), so nothing has to be granted, and nothing can be taken back.
 */
export class PlainDmaMapper implements DmaMapper {
  readonly needsAccessPlatform = false
  readonly broken = false

  /** The number of the buffer's own first page. */
  map(frame: GuestFrame, offset: number): number {
    return frame + Math.floor(offset / PAGE_SIZE)
  }

  /** Always true. */
  unmap(): boolean {
    return true
  }

  /** `frame` itself. */
  allocateCoherent(frame: GuestFrame): number {
    return frame
  }

  /** Always true. */
  freeCoherent(): boolean {
    return true
  }
}
