import {
  VIRTIO_MMIO_QUEUE_DESC_HIGH,
  VIRTIO_MMIO_QUEUE_DESC_LOW,
  VIRTIO_MMIO_QUEUE_DEVICE_HIGH,
  VIRTIO_MMIO_QUEUE_DEVICE_LOW,
  VIRTIO_MMIO_QUEUE_DRIVER_HIGH,
  VIRTIO_MMIO_QUEUE_DRIVER_LOW,
  VIRTIO_MMIO_QUEUE_NUM,
} from '../registers.ts'
import type { SplitQueueLayout } from '../split-queue.ts'
import { type DeviceAddress, pageOf } from './device-address.ts'

/** What a driver wrote about one queue. */
export class QueueRegisters {
  ready = false
  private size = 0
  private descriptorLow = 0
  private descriptorHigh = 0
  private driverLow = 0
  private driverHigh = 0
  private deviceLow = 0
  private deviceHigh = 0

  /** Stores a register of a queue that is not ready; false where there is no such register. */
  write(register: number, value: number): boolean {
    switch (register) {
      case VIRTIO_MMIO_QUEUE_NUM:
        this.size = value
        return true
      case VIRTIO_MMIO_QUEUE_DESC_LOW:
        this.descriptorLow = value
        return true
      case VIRTIO_MMIO_QUEUE_DESC_HIGH:
        this.descriptorHigh = value
        return true
      case VIRTIO_MMIO_QUEUE_DRIVER_LOW:
        this.driverLow = value
        return true
      case VIRTIO_MMIO_QUEUE_DRIVER_HIGH:
        this.driverHigh = value
        return true
      case VIRTIO_MMIO_QUEUE_DEVICE_LOW:
        this.deviceLow = value
        return true
      case VIRTIO_MMIO_QUEUE_DEVICE_HIGH:
        this.deviceHigh = value
        return true
      default:
        return false
    }
  }

  layout(queue: number, eventIndex: boolean): SplitQueueLayout {
    return {
      queue,
      size: this.size,
      descriptorArea: address(this.descriptorLow, this.descriptorHigh),
      driverArea: address(this.driverLow, this.driverHigh),
      deviceArea: address(this.deviceLow, this.deviceHigh),
      eventIndex,
    }
  }
}

function address(low: number, high: number): DeviceAddress {
  return { page: pageOf(low, high), offset: low & 0xfff }
}
