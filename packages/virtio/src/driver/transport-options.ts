import type { DmaMapper, GuestPages, InterruptLine, MmioBus } from './ports.ts'

/** The part of the guest that a driver runs in, and where its device is. */
export interface DriverTransportOptions {
  readonly bus: MmioBus
  /** Address of the device's registers. */
  readonly address: number | bigint
  /** The device's interrupt. */
  readonly interrupt: InterruptLine
  readonly pages: GuestPages
  readonly dma: DmaMapper
  /**
   * How long a register access, a request or a reset may take, 1 to 2^31 − 1, or Infinity. What takes longer
   * ends with `ERR_XMC_DEVICE_TIMEOUT`, within an eighth of the limit after it. Default 30,000.
   */
  readonly timeoutMilliseconds?: number | undefined
}

/** The part of a driver's options that its transport is made from. */
export function transportOptions(options: DriverTransportOptions): DriverTransportOptions {
  const { bus, address, interrupt, pages, dma, timeoutMilliseconds } = options
  return { bus, address, interrupt, pages, dma, timeoutMilliseconds }
}

/** What whoever drives a device with a {@link DriverTransport} is told. */
export interface DriverTransportListener {
  /** The device was given up, or reset: nothing that it was asked for will be done. */
  failed?(error: Error): void
  /** The device's configuration has changed. */
  configurationChanged?(): Promise<void>
}

/** How to use a queue. */
export interface DriverQueueOptions {
  /** Most elements, a power of 2 up to 32,768; the device may allow fewer. Default 256. */
  readonly size?: number | undefined
  /**
   * Chains of this many buffers, from 2 on, go through an indirect descriptor table if
   * VIRTIO_F_INDIRECT_DESC was negotiated; shorter ones while half of the queue is taken. Default 4.
   */
  readonly indirectFrom?: number | undefined
  /** Whether indirect tables stay with the device until a reset, rather than for a chain. Default false. */
  readonly keepTables?: boolean | undefined
}

/** What the transport gives up when the device has been reset, in the order of being added. */
export interface ResetAttachment {
  /** Frees what the device could reach. False when the device still has it. */
  close(): boolean
}
