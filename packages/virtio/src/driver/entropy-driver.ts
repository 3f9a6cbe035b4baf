import { checkOptions, InvalidArgumentError, type OptionNames } from '@xmc/interface'
import { featureSet, VIRTIO_F_EVENT_IDX, VIRTIO_F_INDIRECT_DESC } from '../features.ts'
import { VIRTIO_ID_ENTROPY } from '../registers.ts'
import { DeviceNotStartedError, DeviceProtocolError } from './errors.ts'
import { GuestBuffer } from './guest-buffer.ts'
import { type PendingRequest, type RequestHandler, RequestQueue } from './request-queue.ts'
import type { DriverStatistics } from './statistics.ts'
import { DriverTransport } from './transport.ts'
import { type DriverTransportOptions, transportOptions } from './transport-options.ts'
import type { DriverVirtqueue } from './virtqueue.ts'

/** The only queue of an entropy device (virtio 1.2, 5.4.2). */
const REQUEST_QUEUE = 0

/** Where an entropy driver runs. */
export interface EntropyDriverOptions extends DriverTransportOptions {
  /** Most elements of the queue, a power of 2 up to 32,768. Default 16. */
  readonly queueSize?: number | undefined
}

class EntropyRequest implements PendingRequest {
  readonly buffer: GuestBuffer
  readonly resolve: (written: number) => void
  readonly reject: (error: Error) => void

  constructor(
    buffer: GuestBuffer,
    resolve: (written: number) => void,
    reject: (error: Error) => void,
  ) {
    this.buffer = buffer
    this.resolve = resolve
    this.reject = reject
  }
}

const OPTIONS: OptionNames<EntropyDriverOptions> = {
  bus: true,
  address: true,
  interrupt: true,
  pages: true,
  dma: true,
  timeoutMilliseconds: true,
  queueSize: true,
}

/**
 * A guest's driver for a virtio entropy device (virtio 1.2, 5.4): random bytes from the host.
 *
 * Calls end as those of `BlockDriver` do where the device fails.
 */
export class EntropyDriver {
  /** The device below: status, registers, reset. */
  readonly transport: DriverTransport
  readonly #options: EntropyDriverOptions
  #requests: RequestQueue<EntropyRequest> | undefined

  /** @throws InvalidArgumentError `ERR_XMC_ARGUMENT` for a time limit out of range */
  constructor(options: EntropyDriverOptions) {
    checkOptions('EntropyDriver', options, OPTIONS)
    this.#options = options
    this.transport = new DriverTransport(transportOptions(options), {
      failed: (error) => this.#requests?.fail(error),
    })
  }

  /** Counted since the driver was made. */
  get statistics(): Readonly<DriverStatistics> {
    return this.transport.statistics
  }

  /**
   * Finds the device, resets it and sets it up (virtio 1.2, 3.1.1 and 5.4.5).
   *
   * @throws NoDeviceError `ERR_XMC_NO_DEVICE` when there is no entropy device
   * @throws FeatureNegotiationError `ERR_XMC_FEATURES`, NoQueueError `ERR_XMC_NO_QUEUE`
   */
  async start(): Promise<void> {
    const { transport } = this
    await transport.identify(VIRTIO_ID_ENTROPY)
    await transport.negotiate({
      required: 0n,
      wanted: featureSet(VIRTIO_F_EVENT_IDX, VIRTIO_F_INDIRECT_DESC),
    })
    const { epoch } = transport
    const requests = new RequestQueue<EntropyRequest>(transport.statistics)
    this.#requests = requests
    const size = this.#options.queueSize ?? 16
    const queue = await transport.addQueue(REQUEST_QUEUE, requests, { size })
    transport.requireEpoch(epoch)
    requests.attach(queue, new EntropyHandler(transport.statistics))
    await transport.setDriverOk()
  }

  /**
   * Random bytes: 1 to `length`, as many as the device gives with one request (5.4.6).
   *
   * @throws InvalidArgumentError `ERR_XMC_ARGUMENT` for a length below 1
   * @throws DeviceProtocolError `ERR_XMC_DEVICE_PROTOCOL` when the device gives none, or more than asked
   */
  async read(length: number): Promise<Uint8Array> {
    if (!Number.isSafeInteger(length) || length < 1) {
      throw new InvalidArgumentError('length', 'an integer from 1', length)
    }
    const { obstacle } = this.transport
    const requests = this.#requests
    if (obstacle !== undefined || requests === undefined) {
      throw obstacle ?? new DeviceNotStartedError()
    }
    const buffer = new GuestBuffer(this.#options.pages, length)
    try {
      buffer.retain()
      const written = await new Promise<number>((resolve, reject) => {
        requests.submit(new EntropyRequest(buffer, resolve, reject))
      })
      return buffer.bytes.slice(0, written)
    } finally {
      buffer.release()
    }
  }

  /** Resets the device: see {@link DriverTransport.reset}. */
  async reset(): Promise<void> {
    await this.transport.reset()
  }

  /** Resets the device and ends the driver: see {@link DriverTransport.close}. */
  async close(): Promise<void> {
    await this.transport.close()
  }
}

class EntropyHandler implements RequestHandler<EntropyRequest> {
  readonly #statistics: DriverStatistics

  constructor(statistics: DriverStatistics) {
    this.#statistics = statistics
  }

  place(queue: DriverVirtqueue, { buffer }: EntropyRequest, slot: number): boolean {
    return (
      queue.begin(1) &&
      queue.add(buffer.frame, 0, buffer.length, 'from-device') &&
      queue.commit(slot)
    )
  }

  complete(request: EntropyRequest, _slot: number, length: number): void {
    const asked = request.buffer.length
    if (length >= 1 && length <= asked) {
      this.#statistics.bytesRead += length
      request.resolve(length)
      return
    }
    this.#statistics.errors++
    request.reject(
      new DeviceProtocolError('5.4.6.2', `${length} random bytes were given, of ${asked} asked`),
    )
  }

  release({ buffer }: EntropyRequest): void {
    buffer.relinquish()
  }
}
