import {
  VIRTIO_BLK_ID_SIZE,
  VIRTIO_BLK_S_IOERR,
  VIRTIO_BLK_S_OK,
  VIRTIO_BLK_S_UNSUPP,
  VIRTIO_BLK_STATUS_SIZE,
} from '../block-protocol.ts'
import type { ControlPages } from './control-pages.ts'
import { STATUS_NOT_WRITTEN } from './control-pages.ts'
import { BlockIoError, BlockUnsupportedError, DeviceProtocolError } from './errors.ts'
import type { GuestSegment } from './guest-buffer.ts'
import type { PendingRequest, RequestHandler } from './request-queue.ts'
import type { DriverStatistics } from './statistics.ts'
import type { DriverVirtqueue } from './virtqueue.ts'

/** What a block request carries between header and status. */
export type BlockPayload =
  /** Nothing. */
  | 'none'
  /** Bytes of the driver's buffers that the device reads. */
  | 'to-device'
  /** Bytes of the driver's buffers that the device writes. */
  | 'from-device'
  /** One segment of sectors. */
  | 'sectors'
  /** Room for an identity. */
  | 'identity'

/** One request to a block device (virtio 1.2, 5.2.6), and who waits for it. */
export class BlockRequest implements PendingRequest {
  /** `VIRTIO_BLK_T_*`. */
  readonly type: number
  /** First sector. */
  readonly sector: number
  readonly payload: BlockPayload
  /** The buffers, with a payload that has any. */
  readonly segments: readonly GuestSegment[]
  /** Bytes of the buffers. */
  readonly length: number
  /** Sectors and flags, with the payload `sectors`. */
  readonly sectorCount: number
  readonly flags: number
  /** What the device answered, with the payload `identity`. */
  identity = ''
  /** Ends when the request does. */
  readonly done: Promise<void>
  #resolve: (() => void) | undefined
  #reject: ((error: Error) => void) | undefined

  constructor(
    type: number,
    sector: number,
    payload: BlockPayload,
    segments: readonly GuestSegment[],
    length: number,
    sectorCount = 0,
    flags = 0,
  ) {
    this.type = type
    this.sector = sector
    this.payload = payload
    this.segments = segments
    this.length = length
    this.sectorCount = sectorCount
    this.flags = flags
    this.done = new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
  }

  resolve(): void {
    this.#resolve?.()
  }

  reject(error: Error): void {
    this.#reject?.(error)
  }
}

/** Puts block requests on a queue and takes their results. */
export class BlockRequestHandler implements RequestHandler<BlockRequest> {
  readonly #control: ControlPages
  readonly #maximumSegmentSize: number
  readonly #statistics: DriverStatistics

  constructor(control: ControlPages, maximumSegmentSize: number, statistics: DriverStatistics) {
    this.#control = control
    this.#maximumSegmentSize = maximumSegmentSize
    this.#statistics = statistics
  }

  place(queue: DriverVirtqueue, request: BlockRequest, slot: number): boolean {
    const control = this.#control
    return (
      queue.begin(2 + this.payloadDescriptors(request)) &&
      control.addHeader(queue, slot, request.type, request.sector) &&
      this.#addPayload(queue, request, slot) &&
      control.addStatus(queue, slot) &&
      queue.commit(slot)
    )
  }

  complete(request: BlockRequest, slot: number, length: number): void {
    const error = this.#errorOf(request, this.#control.status(slot), length)
    if (error !== undefined) {
      this.#statistics.errors++
      request.reject(error)
      return
    }
    if (request.payload === 'from-device') this.#statistics.bytesRead += request.length
    else if (request.payload === 'to-device') this.#statistics.bytesWritten += request.length
    else if (request.payload === 'identity') request.identity = this.#control.identity(slot)
    request.resolve()
  }

  release(request: BlockRequest): void {
    for (const segment of request.segments) segment.buffer.relinquish()
  }

  /** Descriptors of what the request carries: segments are cut to the device's longest. */
  payloadDescriptors({ payload, segments }: BlockRequest): number {
    if (payload === 'none') return 0
    if (payload === 'sectors' || payload === 'identity') return 1
    let count = 0
    for (const { length } of segments) count += Math.ceil(length / this.#maximumSegmentSize)
    return count
  }

  #addPayload(queue: DriverVirtqueue, request: BlockRequest, slot: number): boolean {
    const { payload, sector, sectorCount, flags } = request
    if (payload === 'none') return true
    if (payload === 'identity') return this.#control.addIdentity(queue, slot)
    if (payload === 'sectors') {
      return this.#control.addSectors(queue, slot, sector, sectorCount, flags)
    }
    for (const { buffer, offset, length } of request.segments) {
      for (let done = 0; done < length; done += this.#maximumSegmentSize) {
        const size = Math.min(length - done, this.#maximumSegmentSize)
        if (!queue.add(buffer.frame, offset + done, size, payload)) return false
      }
    }
    return true
  }

  #errorOf(request: BlockRequest, status: number, length: number): Error | undefined {
    const { type, sector } = request
    if (status === VIRTIO_BLK_S_IOERR) return new BlockIoError(type, sector)
    if (status === VIRTIO_BLK_S_UNSUPP) return new BlockUnsupportedError(type)
    if (status !== VIRTIO_BLK_S_OK) {
      const what = status === STATUS_NOT_WRITTEN ? 'no status' : `status ${status}`
      return new DeviceProtocolError('5.2.6', `request type ${type} was completed with ${what}`)
    }
    let expected = VIRTIO_BLK_STATUS_SIZE
    if (request.payload === 'from-device') expected += request.length
    else if (request.payload === 'identity') expected += VIRTIO_BLK_ID_SIZE
    // Bytes beyond the length that the device gives may be anything (2.7.8.3).
    if (length >= expected) return undefined
    return new DeviceProtocolError(
      '2.7.8.2',
      `request type ${type} succeeded with ${length} bytes written, of ${expected}`,
    )
  }
}
