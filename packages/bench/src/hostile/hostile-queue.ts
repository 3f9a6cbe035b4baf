import {
  availableRingSize,
  VIRTIO_MMIO_QUEUE_DESC_HIGH,
  VIRTIO_MMIO_QUEUE_DESC_LOW,
  VIRTIO_MMIO_QUEUE_DEVICE_HIGH,
  VIRTIO_MMIO_QUEUE_DEVICE_LOW,
  VIRTIO_MMIO_QUEUE_DRIVER_HIGH,
  VIRTIO_MMIO_QUEUE_DRIVER_LOW,
  VIRTIO_MMIO_QUEUE_NOTIFY,
  VIRTIO_MMIO_QUEUE_NUM,
  VIRTIO_MMIO_QUEUE_READY,
  VIRTIO_MMIO_QUEUE_SEL,
  VIRTQ_AVAIL_INDEX,
  VIRTQ_AVAIL_RING,
  VIRTQ_DESC_F_INDIRECT,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_F_WRITE,
  VIRTQ_DESC_SIZE,
  VIRTQ_USED_INDEX,
} from '@xmc/virtio'
import type { HostileGuest } from './hostile-guest.ts'

/** Where a queue is. */
export interface QueuePlace {
  readonly slot: number
  /** Which queue of the device. @default 0 */
  readonly index?: number
  /** Elements. @default 256 */
  readonly size?: number
  /** Guest address of as many bytes as its size takes. */
  readonly at: number
}

/** A buffer as a descriptor names it. */
export interface Buffer {
  readonly address: bigint
  readonly length: number
  /** Whether the device is to write into it. */
  readonly write?: boolean
}

/** Pages of an indirect table. */
const TABLE_PAGES = 2

/** Bytes of the three parts of a queue, each on pages of its own. */
function queueBytes(size: number): number {
  const [table, available, used] = partsOf(size)
  return table + available + used
}

/** A virtqueue that its guest fills with whatever it likes. */
export class HostileQueue {
  readonly #guest: HostileGuest
  readonly #slot: number
  readonly #index: number
  readonly #size: number
  readonly #table: number
  readonly #available: number
  readonly #used: number
  #address: bigint | undefined
  readonly #tables = new Map<number, bigint>()
  #offered = 0

  constructor(guest: HostileGuest, { slot, index = 0, size = 256, at }: QueuePlace) {
    const [tableBytes, availableBytes] = partsOf(size)
    this.#guest = guest
    this.#slot = slot
    this.#index = index
    this.#size = size
    this.#table = at
    this.#available = at + tableBytes
    this.#used = this.#available + availableBytes
  }

  /** Tells the device where the queue is; anew after a reset. */
  async makeReady(): Promise<void> {
    const guest = this.#guest
    const [tableBytes, availableBytes] = partsOf(this.#size)
    const table = (this.#address ??= guest.share(this.#table, queueBytes(this.#size) / 4096))
    const available = table + BigInt(tableBytes)
    guest.memory.writeUint32(this.#available, 0)
    guest.memory.writeUint32(this.#used, 0)
    this.#offered = 0
    await this.#store(VIRTIO_MMIO_QUEUE_SEL, this.#index)
    await this.#store(VIRTIO_MMIO_QUEUE_NUM, this.#size)
    await this.#place(VIRTIO_MMIO_QUEUE_DESC_LOW, VIRTIO_MMIO_QUEUE_DESC_HIGH, table)
    await this.#place(VIRTIO_MMIO_QUEUE_DRIVER_LOW, VIRTIO_MMIO_QUEUE_DRIVER_HIGH, available)
    await this.#place(
      VIRTIO_MMIO_QUEUE_DEVICE_LOW,
      VIRTIO_MMIO_QUEUE_DEVICE_HIGH,
      available + BigInt(availableBytes),
    )
    await this.#store(VIRTIO_MMIO_QUEUE_READY, 1)
  }

  /** Writes a chain into descriptors of the queue from `first` on. */
  chain(first: number, buffers: readonly Buffer[]): void {
    this.#describe(this.#table, first, buffers)
  }

  /** Writes a chain of up to 512 buffers into a table at guest address `at`, two pages, and into descriptor `index` where to find it. */
  indirect(index: number, at: number, buffers: readonly Buffer[]): void {
    this.#describe(at, 0, buffers)
    const length = buffers.length * VIRTQ_DESC_SIZE
    const address = this.#tables.get(at) ?? this.#guest.share(at, TABLE_PAGES, true)
    this.#tables.set(at, address)
    this.raw(index, address, length, VIRTQ_DESC_F_INDIRECT, 0)
  }

  /** Writes anything into descriptor `index`. */
  raw(index: number, address: bigint, length: number, flags: number, next: number): void {
    this.#write(this.#table + index * VIRTQ_DESC_SIZE, address, length, flags, next)
  }

  /** Puts heads of chains into the available ring, without a notification. */
  offer(heads: readonly number[]): void {
    const { memory } = this.#guest
    for (const head of heads) {
      const element = this.#offered % this.#size
      memory.writeUint16(this.#available + VIRTQ_AVAIL_RING + 2 * element, head)
      this.#offered = (this.#offered + 1) & 0xffff
    }
    memory.writeUint16(this.#available + VIRTQ_AVAIL_INDEX, this.#offered)
  }

  /** Notifies the device; resolves when the processor may go on. */
  notify(): Promise<void> {
    return this.#store(VIRTIO_MMIO_QUEUE_NOTIFY, this.#index)
  }

  /** Requests that were offered and not yet answered. */
  get outstanding(): number {
    const used = this.#guest.memory.readUint16(this.#used + VIRTQ_USED_INDEX)
    return (this.#offered - used) & 0xffff
  }

  #describe(table: number, first: number, buffers: readonly Buffer[]): void {
    buffers.forEach(({ address, length, write = false }, nth) => {
      const isLast = nth === buffers.length - 1
      const flags = (isLast ? 0 : VIRTQ_DESC_F_NEXT) | (write ? VIRTQ_DESC_F_WRITE : 0)
      const index = first + nth
      this.#write(table + index * VIRTQ_DESC_SIZE, address, length, flags, isLast ? 0 : index + 1)
    })
  }

  #write(at: number, address: bigint, length: number, flags: number, next: number): void {
    const { memory } = this.#guest
    memory.writeBigUint64(at, address)
    memory.writeUint32(at + 8, length)
    memory.writeUint16(at + 12, flags)
    memory.writeUint16(at + 14, next)
  }

  async #place(low: number, high: number, address: bigint): Promise<void> {
    await this.#store(low, Number(address & 0xffff_ffffn))
    await this.#store(high, Number(address >> 32n))
  }

  #store(offset: number, value: number): Promise<void> {
    return this.#guest.store({ slot: this.#slot, offset, value })
  }
}

/** Bytes of descriptor table, available ring and used ring, in whole pages. */
function partsOf(size: number): readonly [number, number, number] {
  const ring = inPages(availableRingSize(size))
  return [inPages(size * VIRTQ_DESC_SIZE), ring, inPages(6 + 8 * size)]
}

function inPages(bytes: number): number {
  return Math.ceil(bytes / 4096) * 4096
}
