import { type MmioTransport, VIRTIO_MMIO_QUEUE_READY, VIRTIO_MMIO_STATUS } from '@xmc/virtio'

/**
 * The registers of a transport as the guest's processors reach them. A store that begins a drain, or that needs
 * one to end before it has an effect, holds the processor that made it, and no other.
 */
export class TransportRegisters {
  readonly #transport: MmioTransport
  readonly #hold: (transport: MmioTransport) => void

  /** @param hold is told, within a store, that its processor must wait until the transport has drained */
  constructor(transport: MmioTransport, hold: (transport: MmioTransport) => void) {
    this.#transport = transport
    this.#hold = hold
  }

  read(offset: number, size: number): number {
    return this.#transport.read(offset, size)
  }

  write(offset: number, value: number, size: number): void {
    const transport = this.#transport
    const before = transport.draining
    transport.write(offset, value, size)
    if (!transport.draining) return
    // A driver that resets the device, or takes a queue away, may use the memory again when the store is done.
    if (!before || offset === VIRTIO_MMIO_STATUS || offset === VIRTIO_MMIO_QUEUE_READY) {
      this.#hold(transport)
    }
  }
}
