import { checkMethods, checkOptions, InvalidArgumentError, type OptionNames } from '@xmc/interface'
import type { VirtioDevice } from '../device.ts'
import { VIRTIO_MMIO_CONFIG, VIRTIO_MMIO_SIZE } from '../registers.ts'
import { VIRTQ_SIZE_MAX } from '../ring-layout.ts'
import type { MmioTransportOptions } from '../transport-options.ts'

/** Feature numbers 24 to 49 belong to rings and transports (2.2). */
const RESERVED_FEATURES = ((1n << 26n) - 1n) << 24n

const OPTIONS: OptionNames<MmioTransportOptions> = {
  device: true,
  memory: true,
  interrupt: true,
  accessPlatform: true,
  mapping: true,
  bytesInFlight: true,
  turnBudget: true,
  roomPatience: true,
  vendorId: true,
  name: true,
  onFault: true,
  reports: true,
}

/**
 * Checks that a transport can be made of its options: all that it needs is there, and nothing that it does not know.
 *
 * @throws InvalidArgumentError `ERR_XMC_ARGUMENT`
 */
export function checkTransport(options: MmioTransportOptions): void {
  checkOptions('MmioTransport', options, OPTIONS)
  checkDevice(options.device)
  checkMethods('memory', options.memory, ['map', 'mapAsync'])
  checkMethods('interrupt', options.interrupt, ['setLevel'])
}

/**
 * Refuses a device that cannot be offered.
 *
 * @throws InvalidArgumentError `ERR_XMC_ARGUMENT`
 */
function checkDevice(device: VirtioDevice): void {
  checkMethods('device', device, ['handle'])
  if (!Number.isInteger(device.deviceId) || device.deviceId < 1) {
    throw new InvalidArgumentError('device.deviceId', 'an integer from 1 on', device.deviceId)
  }
  if (typeof device.features !== 'bigint') {
    throw new InvalidArgumentError('device.features', 'a bigint', device.features)
  }
  if (!(device.configuration instanceof Uint8Array)) {
    throw new InvalidArgumentError('device.configuration', 'a Uint8Array', device.configuration)
  }
  if (!Array.isArray(device.queues)) {
    throw new InvalidArgumentError('device.queues', 'an array', device.queues)
  }
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
    if (!Number.isInteger(size) || size < 1 || size > VIRTQ_SIZE_MAX || (size & (size - 1)) !== 0) {
      throw new InvalidArgumentError('device.queues', `a power of 2 up to ${VIRTQ_SIZE_MAX}`, size)
    }
  }
}
