import { DmaExhaustedError, GuestMemoryExhaustedError } from './errors.ts'
import type { DmaMapper, GuestFrame, GuestPages } from './ports.ts'
import { RingWriter, ringLayout } from './ring-writer.ts'

/** The memory of one split queue: guest pages that the device may read and write until it is closed. */
export class QueueRing {
  /** The memory, field by field. */
  readonly writer: RingWriter
  /** First guest frame. */
  readonly frame: GuestFrame
  /** Guest frames. */
  readonly pageCount: number
  /** Device address of the descriptor table: page number; the offset is 0. */
  readonly page: number
  /** Offset of the available ring from `page` on, bytes. */
  readonly availableOffset: number
  /** Offset of the used ring from `page` on, bytes. */
  readonly usedOffset: number
  readonly #pages: GuestPages
  readonly #dma: DmaMapper

  /**
   * Takes pages, fills them with zeros, and gives them to the device.
   *
   * @throws InvalidArgumentError `ERR_XMC_ARGUMENT` for a size that is no power of 2 up to 32,768
   * @throws GuestMemoryExhaustedError `ERR_XMC_GUEST_MEMORY_EXHAUSTED`, DmaExhaustedError
   * `ERR_XMC_DMA_EXHAUSTED`, DmaBrokenError `ERR_XMC_DMA_BROKEN`
   */
  constructor(size: number, pages: GuestPages, dma: DmaMapper) {
    const { available, used, pageCount } = ringLayout(size)
    const frame = pages.allocate(pageCount)
    if (frame === undefined) throw new GuestMemoryExhaustedError(pageCount)
    try {
      const memory = pages.bytes(frame, pageCount)
      memory.fill(0)
      this.writer = new RingWriter(memory, size)
      this.page = dma.allocateCoherent(frame, pageCount)
      if (this.page < 0) throw new DmaExhaustedError()
    } catch (error) {
      pages.free(frame, pageCount)
      throw error
    }
    this.frame = frame
    this.pageCount = pageCount
    this.availableOffset = available
    this.usedOffset = used
    this.#pages = pages
    this.#dma = dma
  }

  /** Takes the pages back and frees them. False when the device still has them: they are leaked then. */
  close(): boolean {
    if (!this.#dma.freeCoherent(this.page, this.pageCount)) return false
    this.#pages.free(this.frame, this.pageCount)
    return true
  }
}
