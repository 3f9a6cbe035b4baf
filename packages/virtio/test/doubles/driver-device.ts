import { type Descriptor, RingWriter, readDescriptor, ringLayout } from '../../src/driver.ts'
import {
  featureSet,
  VIRTIO_F_VERSION_1,
  VIRTIO_ID_BLOCK,
  VIRTIO_MMIO_CONFIG,
  VIRTIO_MMIO_CONFIG_GENERATION,
  VIRTIO_MMIO_DEVICE_FEATURES,
  VIRTIO_MMIO_DEVICE_FEATURES_SEL,
  VIRTIO_MMIO_DEVICE_ID,
  VIRTIO_MMIO_DRIVER_FEATURES,
  VIRTIO_MMIO_DRIVER_FEATURES_SEL,
  VIRTIO_MMIO_INTERRUPT_ACK,
  VIRTIO_MMIO_INTERRUPT_STATUS,
  VIRTIO_MMIO_MAGIC,
  VIRTIO_MMIO_MAGIC_VALUE,
  VIRTIO_MMIO_QUEUE_DESC_HIGH,
  VIRTIO_MMIO_QUEUE_DESC_LOW,
  VIRTIO_MMIO_QUEUE_DEVICE_HIGH,
  VIRTIO_MMIO_QUEUE_DEVICE_LOW,
  VIRTIO_MMIO_QUEUE_DRIVER_HIGH,
  VIRTIO_MMIO_QUEUE_DRIVER_LOW,
  VIRTIO_MMIO_QUEUE_NOTIFY,
  VIRTIO_MMIO_QUEUE_NUM,
  VIRTIO_MMIO_QUEUE_NUM_MAX,
  VIRTIO_MMIO_QUEUE_READY,
  VIRTIO_MMIO_STATUS,
  VIRTIO_MMIO_VENDOR_ID,
  VIRTIO_MMIO_VERSION,
  VIRTIO_STATUS_FEATURES_OK,
  VIRTQ_DESC_F_INDIRECT,
  VIRTQ_DESC_F_NEXT,
} from '../../src/index.ts'
import type { GuestDouble, RegisterFile } from './driver-guest.ts'

/** A chain as the device sees it. */
export interface DeviceChain {
  readonly head: number
  readonly indirect: boolean
  readonly descriptors: readonly Descriptor[]
}

/**
 * A device with one queue that does nothing by itself: tests take its chains, complete them in any way,
 * right or wrong, and raise its interrupt. `log` has every register write.
 */
export class ManualDevice implements RegisterFile {
  deviceId = VIRTIO_ID_BLOCK
  magic = VIRTIO_MMIO_MAGIC
  version = 2
  features: bigint
  queueMaximum = 8
  readonly configuration = new Uint8Array(0x100)
  generation = 0
  /** When true, FEATURES_OK does not stay. */
  refusesFeatures = false
  /** Reads of the status that still give what it was, after a reset. */
  resetTakes = 0
  /** When true, QueueReady reads 1 from the start. */
  queueInUse = false
  status = 0
  driverFeatures = 0n
  interruptStatus = 0
  /** When true, acknowledging changes nothing. */
  ignoresAcknowledge = false
  notifications = 0
  onNotify: (() => void) | undefined
  /** Register writes: offset and value. */
  readonly log: (readonly [number, number])[] = []
  readonly #guest: GuestDouble
  readonly #registers = new Map<number, number>()
  #statusBeforeReset = 0
  #taken = 0

  constructor(guest: GuestDouble, features: readonly number[] = [], capacity = 1024) {
    this.#guest = guest
    this.features = featureSet(VIRTIO_F_VERSION_1, ...features)
    new DataView(this.configuration.buffer).setUint32(0, capacity, true)
  }

  read(offset: number, size: number): number {
    if (offset >= VIRTIO_MMIO_CONFIG) return this.#readConfiguration(offset, size)
    if (size !== 4) throw new Error(`read of ${size} bytes at ${offset}`)
    switch (offset) {
      case VIRTIO_MMIO_MAGIC_VALUE:
        return this.magic
      case VIRTIO_MMIO_VERSION:
        return this.version
      case VIRTIO_MMIO_DEVICE_ID:
        return this.deviceId
      case VIRTIO_MMIO_VENDOR_ID:
        return 0x1234
      case VIRTIO_MMIO_DEVICE_FEATURES:
        return Number((this.features >> BigInt(32 * this.#selected())) & 0xffff_ffffn)
      case VIRTIO_MMIO_QUEUE_NUM_MAX:
        return this.queueMaximum
      case VIRTIO_MMIO_QUEUE_READY:
        return this.queueInUse ? 1 : this.#register(offset)
      case VIRTIO_MMIO_INTERRUPT_STATUS:
        return this.interruptStatus
      case VIRTIO_MMIO_STATUS:
        if (this.resetTakes > 0 && this.status === 0) {
          this.resetTakes--
          return this.#statusBeforeReset
        }
        return this.status
      case VIRTIO_MMIO_CONFIG_GENERATION:
        return this.generation
      default:
        throw new Error(`read of register 0x${offset.toString(16)}`)
    }
  }

  write(offset: number, value: number, size: number): void {
    if (size !== 4) throw new Error(`write of ${size} bytes at ${offset}`)
    this.log.push([offset, value])
    this.#registers.set(offset, value)
    if (offset === VIRTIO_MMIO_STATUS) this.#writeStatus(value)
    else if (offset === VIRTIO_MMIO_INTERRUPT_ACK) {
      if (!this.ignoresAcknowledge) this.interruptStatus &= ~value
      this.#guest.line.setLevel(this.interruptStatus !== 0)
    } else if (offset === VIRTIO_MMIO_DRIVER_FEATURES) {
      const shift = BigInt(32 * this.#register(VIRTIO_MMIO_DRIVER_FEATURES_SEL))
      this.driverFeatures &= ~(0xffff_ffffn << shift)
      this.driverFeatures |= BigInt(value) << shift
    } else if (offset === VIRTIO_MMIO_QUEUE_NOTIFY) {
      this.notifications++
      this.onNotify?.()
    }
  }

  /** Size that the driver gave the queue. */
  get queueSize(): number {
    return this.#register(VIRTIO_MMIO_QUEUE_NUM)
  }

  /** Page numbers and offsets of the queue's parts. */
  get addresses(): Record<'descriptors' | 'driver' | 'device', bigint> {
    const at = (low: number, high: number): bigint =>
      (BigInt(this.#register(high)) << 32n) | BigInt(this.#register(low))
    return {
      descriptors: at(VIRTIO_MMIO_QUEUE_DESC_LOW, VIRTIO_MMIO_QUEUE_DESC_HIGH),
      driver: at(VIRTIO_MMIO_QUEUE_DRIVER_LOW, VIRTIO_MMIO_QUEUE_DRIVER_HIGH),
      device: at(VIRTIO_MMIO_QUEUE_DEVICE_LOW, VIRTIO_MMIO_QUEUE_DEVICE_HIGH),
    }
  }

  /** The queue's memory. */
  get ring(): RingWriter {
    const size = this.queueSize
    const page = Number(this.addresses.descriptors >> 12n)
    const memory = this.#guest.bytesAt(page, 0, ringLayout(size).pageCount * 4096)
    return new RingWriter(memory, size)
  }

  /** Chains that are available and not taken. */
  get availableCount(): number {
    return (this.ring.availableIndex - this.#taken) & 0xffff
  }

  /** The next chain. */
  take(): DeviceChain {
    if (this.availableCount === 0) throw new Error('no chain is available')
    const { ring } = this
    const head = ring.availableHead(this.#taken)
    this.#taken = (this.#taken + 1) & 0xffff
    const first = ring.readDescriptor(head)
    if ((first.flags & VIRTQ_DESC_F_INDIRECT) === 0) {
      return { head, indirect: false, descriptors: follow(first, (i) => ring.readDescriptor(i)) }
    }
    const bytes = this.#guest.bytesAt(first.page, first.offset, first.length)
    const table = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    const read = (index: number): Descriptor => readDescriptor(table, index)
    return { head, indirect: true, descriptors: follow(read(0), read) }
  }

  /** Every chain that is available. */
  takeAll(): DeviceChain[] {
    return Array.from({ length: this.availableCount }, () => this.take())
  }

  /** The bytes of a chain's buffer. */
  bytes(descriptor: Descriptor | undefined): Uint8Array {
    if (descriptor === undefined) throw new Error('no such descriptor')
    return this.#guest.bytesAt(descriptor.page, descriptor.offset, descriptor.length)
  }

  /** Completes a block request: writes its status, and publishes it as used. */
  complete(chain: DeviceChain, status = 0, length?: number): void {
    this.bytes(chain.descriptors.at(-1))[0] = status
    const written = chain.descriptors.reduce(
      (sum, { flags, length: bytes }) => sum + (flags & 2 ? bytes : 0),
      0,
    )
    this.publish(chain.head, length ?? written)
  }

  /** Writes a used element and the used index. */
  publish(id: number, length: number): void {
    const { ring } = this
    const index = ring.usedIndex
    ring.setUsedElement(index, id, length)
    ring.usedIndex = index + 1
  }

  /** Raises the interrupt for a used buffer (1) or the configuration (2). */
  interrupt(reason: number): void {
    this.interruptStatus |= reason
    this.#guest.line.setLevel(true)
  }

  #writeStatus(value: number): void {
    if (value === 0) {
      this.#statusBeforeReset = this.status
      this.#registers.clear()
      this.#taken = 0
      this.driverFeatures = 0n
      this.interruptStatus = 0
      this.#guest.line.setLevel(false)
    }
    this.status = this.refusesFeatures ? value & ~VIRTIO_STATUS_FEATURES_OK : value
  }

  #readConfiguration(offset: number, size: number): number {
    const view = new DataView(this.configuration.buffer)
    const at = offset - VIRTIO_MMIO_CONFIG
    if (size === 1) return view.getUint8(at)
    return size === 2 ? view.getUint16(at, true) : view.getUint32(at, true)
  }

  #register(offset: number): number {
    return this.#registers.get(offset) ?? 0
  }

  #selected(): number {
    return this.#register(VIRTIO_MMIO_DEVICE_FEATURES_SEL)
  }
}

function follow(first: Descriptor, read: (index: number) => Descriptor): Descriptor[] {
  const chain = [first]
  for (let at = first; at.flags & VIRTQ_DESC_F_NEXT; ) {
    at = read(at.next)
    chain.push(at)
    if (chain.length > 1000) throw new Error('a loop of descriptors')
  }
  return chain
}
