import type { DescriptorChain } from './descriptor-chain.ts'
import { VIRTIO_ID_BLOCK, VIRTIO_ID_CONSOLE, VIRTIO_ID_ENTROPY } from './registers.ts'

/**
 * What a device is to its transport: an identity, a configuration space, and an answer to each
 * request. A new kind of device is a class that implements this, and nothing else.
 *
 * Everything it does between requests is its own affair; memory, rings, notifications, negotiation
 * and reset are the transport's. A device belongs to one transport.
 */
export interface VirtioDevice {
  /** Kind of device (virtio 1.2, section 5): `VIRTIO_ID_*`. */
  readonly deviceId: number
  /** Features of this kind of device, by `featureSet`; those of rings and transport are not its own. */
  readonly features: bigint
  /** Its queues, in order of their index. */
  readonly queues: readonly QueueDeclaration[]
  /**
   * The configuration space, little-endian, at most 256 bytes; the guest reads it at any time. Tell
   * the host by `configurationChanged` when it changed.
   */
  readonly configuration: Uint8Array
  /** Called once, by the transport that the device is given to. */
  attach?(host: DeviceHost): void
  /** Called when the driver has set DRIVER_OK, with the features that it took. */
  start?(features: bigint): void
  /**
   * Called when the guest is gone: reset, or stopped after a fault. Requests that are being handled
   * may finish or fail; nobody looks at their result. After this a `start` may follow.
   *
   * A request that waits for the outside world must settle now: the reset is complete only when all
   * have.
   */
  stop?(): void
  /**
   * Whether it can take a request of a queue now; by default always. Whenever that turns true, tell
   * the host by `resume`.
   */
  ready?(queue: number): boolean
  /**
   * Answers a request.
   *
   * @returns the number of bytes written, from the first device-writable one on without a gap;
   * asynchronously, while other requests are handled. When it settles, the chain's memory is
   * released, and then the request is published as used.
   * @throws anything: the transport sets DEVICE_NEEDS_RESET
   */
  handle(chain: DescriptorChain, queue: number): number | Promise<number>
  /**
   * Called when the guest writes `size` (1, 2 or 4) bytes at `offset`, all within `configuration`;
   * without it, the configuration space is read-only.
   */
  writeConfiguration?(offset: number, value: number, size: number): void
}

/** One queue of a device. */
export interface QueueDeclaration {
  /** Largest size in elements, a power of 2 up to 32,768. */
  readonly size: number
  /**
   * Most requests that are handled at a time, by default `size`. With 1, requests are handled in
   * order, one after the other.
   */
  readonly inFlight?: number | undefined
  /**
   * Most bytes of a request, by default 64 MiB; of a larger one, buffers over 64 bytes cannot be
   * used.
   */
  readonly requestBytes?: number | undefined
}

/** What a transport is to its device. */
export interface DeviceHost {
  /** Looks for requests of a queue again, after `ready` was false. */
  resume(queue: number): void
  /** Tells the driver that the configuration space changed. */
  configurationChanged(): void
}

/** What kind of device a device id stands for, for messages: `block device`, `console`, … or `device 42`. */
export function deviceKind(deviceId: number): string {
  return DEVICE_KINDS.get(deviceId) ?? `device ${deviceId}`
}

const DEVICE_KINDS: ReadonlyMap<number, string> = new Map([
  [VIRTIO_ID_BLOCK, 'block device'],
  [VIRTIO_ID_CONSOLE, 'console'],
  [VIRTIO_ID_ENTROPY, 'entropy device'],
])
