import { checkOptions, InvalidArgumentError, type OptionNames } from '@xmc/interface'
import {
  VIRTIO_BLK_SECTOR_SIZE,
  VIRTIO_BLK_SEGMENT_F_UNMAP,
  VIRTIO_BLK_T_DISCARD,
  VIRTIO_BLK_T_FLUSH,
  VIRTIO_BLK_T_GET_ID,
  VIRTIO_BLK_T_IN,
  VIRTIO_BLK_T_OUT,
  VIRTIO_BLK_T_WRITE_ZEROES,
} from '../block-protocol.ts'
import { featureSet, VIRTIO_F_EVENT_IDX, VIRTIO_F_INDIRECT_DESC } from '../features.ts'
import { VIRTIO_ID_BLOCK } from '../registers.ts'
import {
  BLOCK_FEATURES,
  type BlockConfiguration,
  readBlockConfiguration,
} from './block-configuration.ts'
import { type BlockPayload, BlockRequest, BlockRequestHandler } from './block-request.ts'
import { ControlPages } from './control-pages.ts'
import { BlockUnsupportedError, DeviceNotStartedError, DiskReadOnlyError } from './errors.ts'
import { GuestBuffer, type GuestSegment } from './guest-buffer.ts'
import { RequestQueue } from './request-queue.ts'
import type { DriverStatistics } from './statistics.ts'
import { DriverTransport } from './transport.ts'
import { type DriverTransportOptions, transportOptions } from './transport-options.ts'
import type { DriverVirtqueue } from './virtqueue.ts'

/** The only queue of a block device without VIRTIO_BLK_F_MQ (virtio 1.2, 5.2.2). */
const REQUEST_QUEUE = 0

/** Where a block driver runs, and what it asks its device for. */
export interface BlockDriverOptions extends DriverTransportOptions {
  /** Most elements of the queue, a power of 2 from 4 to 32,768; the device may allow fewer. Default 256. */
  readonly queueSize?: number | undefined
  /** Whether to ask for VIRTIO_F_EVENT_IDX. Default true. */
  readonly eventIndex?: boolean | undefined
  /** Whether to ask for VIRTIO_F_INDIRECT_DESC. Default true. */
  readonly indirectDescriptors?: boolean | undefined
  /**
   * Chains of this many buffers, from 2 on, go through an indirect table; shorter ones while half of the
   * queue is taken. A request has 2 besides its data. Default 4; Linux takes every chain through a table: 2.
   */
  readonly indirectFrom?: number | undefined
  /**
   * Whether headers, status bytes and indirect tables stay with the device until a reset, rather than
   * being granted for each request as Linux does. Default false.
   */
  readonly keepControlPages?: boolean | undefined
}

/** A request as it goes to the device, unchecked. */
export interface RawBlockRequest {
  /** `VIRTIO_BLK_T_*`, or any other 32 bits. */
  readonly type: number
  /** First sector, below 2^53. Default 0. */
  readonly sector?: number | undefined
  /** What it carries. Default `none`. */
  readonly payload?: Extract<BlockPayload, 'none' | 'to-device' | 'from-device'> | undefined
  /** The buffers, with a payload. */
  readonly data?: GuestSegment | readonly GuestSegment[] | undefined
}

const OPTIONS: OptionNames<BlockDriverOptions> = {
  bus: true,
  address: true,
  interrupt: true,
  pages: true,
  dma: true,
  timeoutMilliseconds: true,
  queueSize: true,
  eventIndex: true,
  indirectDescriptors: true,
  indirectFrom: true,
  keepControlPages: true,
}

/**
 * A guest's driver for a virtio block device (virtio 1.2, 5.2).
 *
 * Any number of requests may be under way. Those for which descriptors or addresses are lacking wait in
 * order; the device may complete the others in any. Sectors are of 512 bytes, whatever the block size.
 *
 * Every request can end with DeviceNotStartedError `ERR_XMC_DEVICE_NOT_STARTED`, DeviceResetError
 * `ERR_XMC_DEVICE_RESET`, DeviceNeedsResetError `ERR_XMC_DEVICE_NEEDS_RESET`, DeviceTimeoutError
 * `ERR_XMC_DEVICE_TIMEOUT`, DeviceProtocolError `ERR_XMC_DEVICE_PROTOCOL`, MmioAccessError
 * `ERR_XMC_MMIO_ACCESS`, DmaBrokenError `ERR_XMC_DMA_BROKEN`, DmaExhaustedError `ERR_XMC_DMA_EXHAUSTED`,
 * ClosedError `ERR_XMC_CLOSED`; and with what the device answers: BlockIoError `ERR_XMC_BLOCK_IO`,
 * BlockUnsupportedError `ERR_XMC_BLOCK_UNSUPPORTED`. After an error that is neither of these two, only
 * {@link BlockDriver.reset} and {@link BlockDriver.start} bring the device back.
 */
export class BlockDriver {
  /** The device below: status, registers, reset. */
  readonly transport: DriverTransport
  readonly #options: BlockDriverOptions
  #configuration: BlockConfiguration | undefined
  #queue: DriverVirtqueue | undefined
  #requests: RequestQueue<BlockRequest> | undefined
  #handler: BlockRequestHandler | undefined
  readonly #configurationListeners = new Set<(configuration: BlockConfiguration) => void>()

  /** @throws InvalidArgumentError `ERR_XMC_ARGUMENT` for a queue size or time limit out of range */
  constructor(options: BlockDriverOptions) {
    checkOptions('BlockDriver', options, OPTIONS)
    const { queueSize = 256 } = options
    if (!(queueSize >= 4)) {
      throw new InvalidArgumentError('queueSize', 'a power of 2 from 4 to 32768', queueSize)
    }
    this.#options = options
    this.transport = new DriverTransport(transportOptions(options), {
      failed: (error) => this.#requests?.fail(error),
      configurationChanged: async () => await this.#reread(),
    })
  }

  /** What the device said of itself at the last start or change. @throws DeviceNotStartedError */
  get configuration(): BlockConfiguration {
    if (this.#configuration === undefined) throw new DeviceNotStartedError()
    return this.#configuration
  }

  /** Counted since the driver was made. */
  get statistics(): Readonly<DriverStatistics> {
    return this.transport.statistics
  }

  /** The request queue, with its ring; undefined before the first start. */
  get queue(): DriverVirtqueue | undefined {
    return this.#queue
  }

  /** Requests that the device has now. */
  get inFlight(): number {
    return this.#requests?.inFlight ?? 0
  }

  /** Requests that wait for room now. */
  get waiting(): number {
    return this.#requests?.waiting ?? 0
  }

  /**
   * Finds the device, resets it and sets it up (virtio 1.2, 3.1.1 and 5.2.5): requests are possible from
   * then on. On a driver that is started, or that has failed, it starts anew.
   *
   * @throws NoDeviceError `ERR_XMC_NO_DEVICE` when there is no block device
   * @throws FeatureNegotiationError `ERR_XMC_FEATURES`, NoQueueError `ERR_XMC_NO_QUEUE`
   * @throws GuestMemoryExhaustedError `ERR_XMC_GUEST_MEMORY_EXHAUSTED`, and as every request
   */
  async start(): Promise<void> {
    const { transport } = this
    const { pages, dma, eventIndex = true, indirectDescriptors = true } = this.#options
    await transport.identify(VIRTIO_ID_BLOCK)
    const features = await transport.negotiate({
      required: 0n,
      wanted:
        BLOCK_FEATURES |
        (eventIndex ? featureSet(VIRTIO_F_EVENT_IDX) : 0n) |
        (indirectDescriptors ? featureSet(VIRTIO_F_INDIRECT_DESC) : 0n),
    })
    const { epoch, statistics } = transport
    const queue = await this.#addQueue()
    transport.requireEpoch(epoch)
    const configuration = await this.#readConfiguration(features)
    const keep = this.#options.keepControlPages ?? false
    const control = new ControlPages(queue.size, pages, dma, keep)
    transport.attach(control)
    this.#handler = new BlockRequestHandler(control, configuration.maximumSegmentSize, statistics)
    this.#requests?.attach(queue, this.#handler)
    await transport.setDriverOk()
  }

  /** A buffer of guest memory for data; whole pages are taken. @throws as {@link GuestBuffer} */
  allocateBuffer(length: number): GuestBuffer {
    return new GuestBuffer(this.#options.pages, length)
  }

  /**
   * Reads sectors from `sector` on straight into guest memory. The segments together are a multiple of
   * 512 bytes, and need no alignment each.
   *
   * @throws InvalidArgumentError `ERR_XMC_ARGUMENT` for sectors beyond the disk, a length that is no multiple
   * of 512, or more segments than device or queue allow
   * @throws ReleasedError `ERR_XMC_RELEASED` for a buffer that was released
   */
  read(sector: number, data: GuestSegment | readonly GuestSegment[]): Promise<void> {
    return this.#transfer(VIRTIO_BLK_T_IN, sector, 'from-device', data)
  }

  /**
   * Writes sectors from `sector` on straight from guest memory, which the device can only read. Durable
   * after the next flush. The bytes must not change until the request ends.
   *
   * @throws DiskReadOnlyError `ERR_XMC_DISK_READ_ONLY`, and as {@link BlockDriver.read}
   */
  write(sector: number, data: GuestSegment | readonly GuestSegment[]): Promise<void> {
    if (this.#configuration?.readOnly) return Promise.reject(new DiskReadOnlyError())
    return this.#transfer(VIRTIO_BLK_T_OUT, sector, 'to-device', data)
  }

  /**
   * Makes writes that have ended durable. Nothing to do, and no request, for a device without
   * VIRTIO_BLK_F_FLUSH: its writes are durable when they end (5.2.6.2).
   */
  async flush(): Promise<void> {
    if (this.#configuration?.flush === false && this.transport.state === 'live') return
    await this.#submit(new BlockRequest(VIRTIO_BLK_T_FLUSH, 0, 'none', [], 0))
  }

  /**
   * Lets the device forget sectors, in as many requests as its limit asks for.
   *
   * @throws BlockUnsupportedError `ERR_XMC_BLOCK_UNSUPPORTED` without VIRTIO_BLK_F_DISCARD
   * @throws DiskReadOnlyError `ERR_XMC_DISK_READ_ONLY`, InvalidArgumentError `ERR_XMC_ARGUMENT` for sectors
   * beyond the disk
   */
  async discard(sector: number, count: number): Promise<void> {
    const limit = this.#configuration?.discard?.maximumSectors
    await this.#change(VIRTIO_BLK_T_DISCARD, sector, count, limit, 0)
  }

  /**
   * Makes sectors read as zeros, in as many requests as the device's limit asks for; with `unmap` the
   * device may deallocate them.
   *
   * @throws BlockUnsupportedError `ERR_XMC_BLOCK_UNSUPPORTED` without VIRTIO_BLK_F_WRITE_ZEROES
   * @throws as {@link BlockDriver.discard}
   */
  async writeZeroes(
    sector: number,
    count: number,
    { unmap = false }: { readonly unmap?: boolean | undefined } = {},
  ): Promise<void> {
    const limit = this.#configuration?.writeZeroes?.maximumSectors
    const flags = unmap ? VIRTIO_BLK_SEGMENT_F_UNMAP : 0
    await this.#change(VIRTIO_BLK_T_WRITE_ZEROES, sector, count, limit, flags)
  }

  /** Reads the device's identity, up to 20 characters. */
  async getId(): Promise<string> {
    const request = new BlockRequest(VIRTIO_BLK_T_GET_ID, 0, 'identity', [], 0)
    await this.#submit(request)
    return request.identity
  }

  /** Reads `length` bytes from `sector` on into memory of the caller's, by way of a buffer. @throws as {@link BlockDriver.read} */
  async readBytes(sector: number, length: number): Promise<Uint8Array> {
    const buffer = this.allocateBuffer(length)
    try {
      await this.read(sector, buffer)
      return buffer.bytes.slice()
    } finally {
      buffer.release()
    }
  }

  /** Writes bytes of the caller's, by way of a buffer. @throws as {@link BlockDriver.write} */
  async writeBytes(sector: number, bytes: Uint8Array): Promise<void> {
    const buffer = this.allocateBuffer(bytes.length)
    try {
      buffer.bytes.set(bytes)
      await this.write(sector, buffer)
    } finally {
      buffer.release()
    }
  }

  /**
   * Makes a request as it is, with no look at the disk's size, its being read-only, or the device's
   * features: for tests of devices.
   *
   * @throws InvalidArgumentError `ERR_XMC_ARGUMENT` for more segments than the queue has room for
   */
  request(raw: RawBlockRequest): Promise<void> {
    const { type, sector = 0, payload = 'none', data = [] } = raw
    const segments = listOf(data)
    return this.#submit(new BlockRequest(type, sector, payload, segments, lengthOf(segments)))
  }

  /** Calls `listener` when the configuration has changed, as by a resize; returns the function that ends it. */
  onConfigurationChange(listener: (configuration: BlockConfiguration) => void): () => void {
    this.#configurationListeners.add(listener)
    return () => {
      this.#configurationListeners.delete(listener)
    }
  }

  /** Resets the device: see {@link DriverTransport.reset}. Requests are possible after the next start. */
  async reset(): Promise<void> {
    await this.transport.reset()
  }

  /** Resets the device and ends the driver: see {@link DriverTransport.close}. Buffers stay the caller's. */
  async close(): Promise<void> {
    await this.transport.close()
  }

  #transfer(
    type: number,
    sector: number,
    payload: 'to-device' | 'from-device',
    data: GuestSegment | readonly GuestSegment[],
  ): Promise<void> {
    const segments = listOf(data)
    const length = lengthOf(segments)
    const problem = this.#checkTransfer(sector, length, segments.length)
    if (problem !== undefined) return Promise.reject(problem)
    return this.#submit(new BlockRequest(type, sector, payload, segments, length))
  }

  #checkTransfer(sector: number, length: number, segments: number): Error | undefined {
    const configuration = this.#configuration
    if (configuration === undefined) return this.transport.obstacle ?? new DeviceNotStartedError()
    if (length === 0 || length % VIRTIO_BLK_SECTOR_SIZE !== 0) {
      return new InvalidArgumentError('data', 'a multiple of 512 bytes, at least 512', length)
    }
    const { maximumSegments } = configuration
    if (segments > maximumSegments) {
      return new InvalidArgumentError('data', `at most ${maximumSegments} segments`, segments)
    }
    return checkSectors(sector, length / VIRTIO_BLK_SECTOR_SIZE, configuration.capacity)
  }

  async #change(
    type: number,
    sector: number,
    count: number,
    limit: number | undefined,
    flags: number,
  ): Promise<void> {
    const { readOnly, capacity } = this.configuration
    if (readOnly) throw new DiskReadOnlyError()
    if (limit === undefined) throw new BlockUnsupportedError(type)
    const problem = checkSectors(sector, count, capacity)
    if (problem !== undefined) throw problem
    const requests: Promise<void>[] = []
    for (let done = 0; done < count; done += limit) {
      const size = Math.min(limit, count - done)
      requests.push(
        this.#submit(new BlockRequest(type, sector + done, 'sectors', [], 0, size, flags)),
      )
    }
    await Promise.all(requests)
  }

  #submit(request: BlockRequest): Promise<void> {
    const obstacle = this.transport.obstacle
    const requests = this.#requests
    const handler = this.#handler
    const queue = this.#queue
    if (obstacle !== undefined || !requests || !handler || !queue) {
      return Promise.reject(obstacle ?? new DeviceNotStartedError())
    }
    const descriptors = 2 + handler.payloadDescriptors(request)
    if (descriptors > queue.size) {
      return Promise.reject(
        new InvalidArgumentError('data', `at most ${queue.size - 2} descriptors`, descriptors - 2),
      )
    }
    let retained = 0
    try {
      for (const { buffer } of request.segments) {
        buffer.retain()
        retained++
      }
    } catch (error) {
      for (const { buffer } of request.segments.slice(0, retained)) buffer.relinquish()
      return Promise.reject(error)
    }
    requests.submit(request)
    return request.done
  }

  async #addQueue(): Promise<DriverVirtqueue> {
    const { queueSize, indirectFrom, keepControlPages } = this.#options
    this.#requests = new RequestQueue(this.transport.statistics)
    this.#queue = await this.transport.addQueue(REQUEST_QUEUE, this.#requests, {
      size: queueSize,
      indirectFrom,
      keepTables: keepControlPages,
    })
    return this.#queue
  }

  async #readConfiguration(features: bigint): Promise<BlockConfiguration> {
    const { transport } = this
    const { epoch } = transport
    const configuration = await transport.readConfiguration((registers) =>
      readBlockConfiguration(registers, features),
    )
    // What the device said before a reset is not what it says after it.
    transport.requireEpoch(epoch)
    this.#configuration = configuration
    return configuration
  }

  async #reread(): Promise<void> {
    const configuration = await this.#readConfiguration(this.transport.features)
    for (const listener of this.#configurationListeners) {
      try {
        listener(configuration)
      } catch (error) {
        process.emitWarning(
          `a listener of a block driver's configuration threw: ${String(error)}`,
          {
            type: 'XmcWarning',
            code: 'WARN_XMC_LISTENER',
          },
        )
      }
    }
  }
}

function listOf(data: GuestSegment | readonly GuestSegment[]): readonly GuestSegment[] {
  return isList(data) ? data : [data]
}

function isList(data: GuestSegment | readonly GuestSegment[]): data is readonly GuestSegment[] {
  return Array.isArray(data)
}

function lengthOf(segments: readonly GuestSegment[]): number {
  let length = 0
  for (const segment of segments) length += segment.length
  return length
}

function checkSectors(sector: number, count: number, capacity: number): Error | undefined {
  if (!Number.isSafeInteger(sector) || sector < 0) {
    return new InvalidArgumentError('sector', 'an integer from 0', sector)
  }
  if (!Number.isSafeInteger(count) || count < 1) {
    return new InvalidArgumentError('count', 'an integer from 1', count)
  }
  if (sector + count <= capacity) return undefined
  return new InvalidArgumentError(
    'sector',
    `sectors up to ${capacity - 1}, the last of the disk`,
    sector + count - 1,
  )
}
