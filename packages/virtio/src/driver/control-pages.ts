import { PAGE_SIZE } from '@xmc/interface'
import {
  VIRTIO_BLK_HEADER_RESERVED,
  VIRTIO_BLK_HEADER_SECTOR,
  VIRTIO_BLK_HEADER_SIZE,
  VIRTIO_BLK_HEADER_TYPE,
  VIRTIO_BLK_ID_SIZE,
  VIRTIO_BLK_SEGMENT_FLAGS,
  VIRTIO_BLK_SEGMENT_SECTOR,
  VIRTIO_BLK_SEGMENT_SECTOR_COUNT,
  VIRTIO_BLK_SEGMENT_SIZE,
  VIRTIO_BLK_STATUS_SIZE,
} from '../block-protocol.ts'
import { DmaExhaustedError, GuestMemoryExhaustedError } from './errors.ts'
import type { DmaMapper, GuestFrame, GuestPages } from './ports.ts'
import type { ResetAttachment } from './transport-options.ts'
import type { DriverVirtqueue } from './virtqueue.ts'

/** Bytes of a slot, on either side; a slot never crosses a page. */
const SLOT = 32
/** In a slot that the device reads: the segment of discard and write-zeroes, behind the header. */
const SEGMENT = VIRTIO_BLK_HEADER_SIZE
/** In a slot that the device writes: the identity, behind the status. */
const IDENTITY = 8

/** A status that no device may answer with: the device has written none. */
export const STATUS_NOT_WRITTEN = 0xff

interface Side {
  readonly frame: GuestFrame
  readonly bytes: Uint8Array
  readonly view: DataView
  /** Where the pages are mapped, if they stay with the device; −1 otherwise. */
  readonly page: number
}

/**
 * What a block request has besides its data: a header, and a segment of sectors, in pages that the
 * device only reads; a status byte, and an identity, in pages that it writes (virtio 1.2, 5.2.6). Each
 * request in flight has a slot in both.
 *
 * A slot's parts are given to the device for each request; with `keep`, all pages stay with the device
 * until they are closed.
 */
export class ControlPages implements ResetAttachment {
  readonly #pages: GuestPages
  readonly #dma: DmaMapper
  readonly #pageCount: number
  readonly #read: Side
  readonly #written: Side

  /**
   * @throws GuestMemoryExhaustedError `ERR_XMC_GUEST_MEMORY_EXHAUSTED`, DmaExhaustedError
   * `ERR_XMC_DMA_EXHAUSTED`, DmaBrokenError `ERR_XMC_DMA_BROKEN`
   */
  constructor(slots: number, pages: GuestPages, dma: DmaMapper, keep: boolean) {
    this.#pages = pages
    this.#dma = dma
    this.#pageCount = Math.ceil((slots * SLOT) / PAGE_SIZE)
    this.#read = this.#open('to-device', keep)
    try {
      this.#written = this.#open('from-device', keep)
    } catch (error) {
      this.#close(this.#read)
      throw error
    }
  }

  /** Adds a request's header to its chain. Returns and throws as {@link DriverVirtqueue.add}. */
  addHeader(queue: DriverVirtqueue, slot: number, type: number, sector: number): boolean {
    const at = slot * SLOT
    const { view } = this.#read
    view.setUint32(at + VIRTIO_BLK_HEADER_TYPE, type, true)
    view.setUint32(at + VIRTIO_BLK_HEADER_RESERVED, 0, true)
    setSector(view, at + VIRTIO_BLK_HEADER_SECTOR, sector)
    return this.#add(queue, this.#read, at, VIRTIO_BLK_HEADER_SIZE)
  }

  /** Adds the segment of a discard or write-zeroes request. Returns and throws as {@link DriverVirtqueue.add}. */
  addSectors(
    queue: DriverVirtqueue,
    slot: number,
    sector: number,
    count: number,
    flags: number,
  ): boolean {
    const at = slot * SLOT + SEGMENT
    const { view } = this.#read
    setSector(view, at + VIRTIO_BLK_SEGMENT_SECTOR, sector)
    view.setUint32(at + VIRTIO_BLK_SEGMENT_SECTOR_COUNT, count, true)
    view.setUint32(at + VIRTIO_BLK_SEGMENT_FLAGS, flags, true)
    return this.#add(queue, this.#read, at, VIRTIO_BLK_SEGMENT_SIZE)
  }

  /** Adds room for an identity. Returns and throws as {@link DriverVirtqueue.add}. */
  addIdentity(queue: DriverVirtqueue, slot: number): boolean {
    const at = slot * SLOT + IDENTITY
    this.#written.bytes.fill(0, at, at + VIRTIO_BLK_ID_SIZE)
    return this.#add(queue, this.#written, at, VIRTIO_BLK_ID_SIZE)
  }

  /** Adds the status byte, the last of a chain. Returns and throws as {@link DriverVirtqueue.add}. */
  addStatus(queue: DriverVirtqueue, slot: number): boolean {
    const at = slot * SLOT
    this.#written.bytes[at] = STATUS_NOT_WRITTEN
    return this.#add(queue, this.#written, at, VIRTIO_BLK_STATUS_SIZE)
  }

  /** The status that the device has written. */
  status(slot: number): number {
    return this.#written.bytes[slot * SLOT] ?? STATUS_NOT_WRITTEN
  }

  /** The identity that the device has written: bytes up to the first NUL, each a character. */
  identity(slot: number): string {
    const at = slot * SLOT + IDENTITY
    const bytes = this.#written.bytes.subarray(at, at + VIRTIO_BLK_ID_SIZE)
    const end = bytes.indexOf(0)
    return String.fromCharCode(...(end < 0 ? bytes : bytes.subarray(0, end)))
  }

  close(): boolean {
    const closedRead = this.#close(this.#read)
    return this.#close(this.#written) && closedRead
  }

  #add(queue: DriverVirtqueue, side: Side, at: number, length: number): boolean {
    const deviceWrites = side === this.#written
    if (side.page < 0) {
      return queue.add(side.frame, at, length, deviceWrites ? 'from-device' : 'to-device')
    }
    queue.addMapped(side.page + (at >>> 12), at & (PAGE_SIZE - 1), length, deviceWrites)
    return true
  }

  #open(direction: 'to-device' | 'from-device', keep: boolean): Side {
    const count = this.#pageCount
    const frame = this.#pages.allocate(count)
    if (frame === undefined) throw new GuestMemoryExhaustedError(count)
    try {
      const bytes = this.#pages.bytes(frame, count)
      bytes.fill(0)
      const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
      const page = keep ? this.#dma.map(frame, 0, count * PAGE_SIZE, direction) : -1
      if (keep && page < 0) throw new DmaExhaustedError()
      return { frame, bytes, view, page }
    } catch (error) {
      this.#pages.free(frame, count)
      throw error
    }
  }

  #close({ frame, page }: Side): boolean {
    const count = this.#pageCount
    if (page >= 0 && !this.#dma.unmap(page, 0, count * PAGE_SIZE)) return false
    // A mapper that is broken may have leaked a request's part of these pages.
    if (this.#dma.broken) return false
    this.#pages.free(frame, count)
    return true
  }
}

/** Writes a sector number, a u64 below 2^53. */
function setSector(view: DataView, at: number, sector: number): void {
  view.setUint32(at, sector, true)
  view.setUint32(at + 4, sector / 2 ** 32, true)
}
