import {
  VIRTIO_MMIO_QUEUE_DESC_HIGH,
  VIRTIO_MMIO_QUEUE_DESC_LOW,
  VIRTIO_MMIO_QUEUE_DEVICE_HIGH,
  VIRTIO_MMIO_QUEUE_DEVICE_LOW,
  VIRTIO_MMIO_QUEUE_DRIVER_HIGH,
  VIRTIO_MMIO_QUEUE_DRIVER_LOW,
  VIRTIO_MMIO_QUEUE_NUM,
  VIRTIO_MMIO_QUEUE_NUM_MAX,
  VIRTIO_MMIO_QUEUE_READY,
  VIRTIO_MMIO_QUEUE_SEL,
} from '../registers.ts'
import { addressHigh, addressLow } from './device-address.ts'
import { NoQueueError } from './errors.ts'
import type { RegisterSteps } from './feature-negotiation.ts'
import type { QueueRing } from './queue-ring.ts'

/**
 * Selects queue `index` and returns its size: the wanted one, a power of 2, or half of it and so on
 * until the device allows it (virtio 1.2, 4.2.3.2, steps 1 to 4).
 *
 * @throws NoQueueError `ERR_XMC_NO_QUEUE` when the device has no such queue, or it is in use
 */
export async function selectQueue(
  registers: RegisterSteps,
  index: number,
  size: number,
): Promise<number> {
  await registers.write(VIRTIO_MMIO_QUEUE_SEL, index)
  if ((await registers.read(VIRTIO_MMIO_QUEUE_READY)) !== 0) {
    throw new NoQueueError(index, 'is in use')
  }
  const maximum = await registers.read(VIRTIO_MMIO_QUEUE_NUM_MAX)
  if (maximum === 0) throw new NoQueueError(index, 'does not exist')
  let elements = size
  while (elements > maximum) elements /= 2
  return elements
}

/** Gives the selected queue its memory and makes it ready (virtio 1.2, 4.2.3.2, steps 5 to 7). */
export async function installRing(registers: RegisterSteps, ring: QueueRing): Promise<void> {
  await registers.write(VIRTIO_MMIO_QUEUE_NUM, ring.writer.queueSize)
  const places = [
    [VIRTIO_MMIO_QUEUE_DESC_LOW, VIRTIO_MMIO_QUEUE_DESC_HIGH, 0],
    [VIRTIO_MMIO_QUEUE_DRIVER_LOW, VIRTIO_MMIO_QUEUE_DRIVER_HIGH, ring.availableOffset],
    [VIRTIO_MMIO_QUEUE_DEVICE_LOW, VIRTIO_MMIO_QUEUE_DEVICE_HIGH, ring.usedOffset],
  ] as const
  for (const [low, high, offset] of places) {
    const page = ring.page + (offset >>> 12)
    await registers.write(low, addressLow(page, offset & 0xfff))
    await registers.write(high, addressHigh(page))
  }
  await registers.write(VIRTIO_MMIO_QUEUE_READY, 1)
}
