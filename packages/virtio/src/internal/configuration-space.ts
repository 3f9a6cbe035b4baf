import type { VirtioDevice } from '../device.ts'
import { VIRTIO_MMIO_CONFIG, VIRTIO_MMIO_SIZE } from '../registers.ts'

/** Reads a device's configuration space (2.5) at a register; undefined where such an access may not be. */
export function readConfiguration(
  device: VirtioDevice,
  register: number,
  size: number,
): number | undefined {
  const start = register - VIRTIO_MMIO_CONFIG
  if (!isAccessSize(size) || register + size > VIRTIO_MMIO_SIZE) return undefined
  let value = 0
  for (let index = size - 1; index >= 0; index -= 1) {
    // Behind the fields is padding, which a driver may expect (2.5.1).
    value = value * 256 + (device.configuration[start + index] ?? 0)
  }
  return value
}

/** Writes a device's configuration space at a register; false where such an access may not be. */
export function writeConfiguration(
  device: VirtioDevice,
  register: number,
  value: number,
  size: number,
): boolean {
  const start = register - VIRTIO_MMIO_CONFIG
  if (
    device.writeConfiguration === undefined ||
    !isAccessSize(size) ||
    start + size > device.configuration.length
  ) {
    return false
  }
  device.writeConfiguration(start, size === 4 ? value : value & (2 ** (8 * size) - 1), size)
  return true
}

function isAccessSize(size: number): boolean {
  return size === 1 || size === 2 || size === 4
}
