import {
  VIRTIO_ID_NONE,
  VIRTIO_MMIO_DEVICE_ID,
  VIRTIO_MMIO_MAGIC,
  VIRTIO_MMIO_MAGIC_VALUE,
  VIRTIO_MMIO_SIZE,
  VIRTIO_MMIO_VERSION,
  VIRTIO_MMIO_VERSION_2,
} from './registers.ts'

/**
 * A register range with no device behind it: device id 0, which drivers pass over (virtio 1.2,
 * 4.2.2), for boards with transports at fixed places. Everything else reads 0, and writes have no
 * effect.
 */
export class EmptyTransport {
  /** Bytes of the register range. */
  readonly size: number = VIRTIO_MMIO_SIZE

  read(offset: number, size: number): number {
    if (size !== 4) return 0
    switch (offset) {
      case VIRTIO_MMIO_MAGIC_VALUE:
        return VIRTIO_MMIO_MAGIC
      case VIRTIO_MMIO_VERSION:
        return VIRTIO_MMIO_VERSION_2
      case VIRTIO_MMIO_DEVICE_ID:
        return VIRTIO_ID_NONE
      default:
        return 0
    }
  }

  write(_offset: number, _value: number, _size: number): void {
    // Nothing is there.
  }
}
