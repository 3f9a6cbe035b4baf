import { InvalidArgumentError } from '@xmc/core/errors'
import type { VirtioDevice } from '../device.ts'
import { VIRTIO_MMIO_CONFIG, VIRTIO_MMIO_SIZE } from '../registers.ts'
import { VIRTQ_SIZE_MAX } from '../ring-layout.ts'

/** Feature numbers 24 to 49 belong to rings and transports (2.2). */
const RESERVED_FEATURES = ((1n << 26n) - 1n) << 24n

/**
 * Refuses a device that cannot be offered.
 *
 * @throws InvalidArgumentError `ERR_XMC_ARGUMENT`
 */
export function checkDevice(device: VirtioDevice): void {
  if ((device.features & RESERVED_FEATURES) !== 0n || device.features >> 64n !== 0n) {
    throw new InvalidArgumentError(
      'device.features',
      'features of the device alone, numbers 0 to 23 and 50 to 63',
      `0x${device.features.toString(16)}`,
    )
  }
  if (device.configuration.length > VIRTIO_MMIO_SIZE - VIRTIO_MMIO_CONFIG) {
    throw new InvalidArgumentError(
      'device.configuration',
      'at most 256 bytes',
      device.configuration.length,
    )
  }
  for (const { size } of device.queues) {
    if (size < 1 || size > VIRTQ_SIZE_MAX || (size & (size - 1)) !== 0) {
      throw new InvalidArgumentError('device.queues', `a power of 2 up to ${VIRTQ_SIZE_MAX}`, size)
    }
  }
}
