import {
  availableEventOffset,
  descriptorTableSize,
  featureSet,
  MmioTransport,
  type MmioTransportOptions,
  TurnBudget,
  usedEventOffset,
  VIRTIO_F_ACCESS_PLATFORM,
  VIRTIO_F_VERSION_1,
  VIRTIO_MMIO_DRIVER_FEATURES,
  VIRTIO_MMIO_DRIVER_FEATURES_SEL,
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
  VIRTIO_MMIO_STATUS,
  type VirtioDevice,
} from '../../src/index.ts'
import { GuestMemoryDouble } from './guest-memory.ts'

/** A buffer of a chain: where it is in the double's array, and its direction. */
export interface TestBuffer {
  readonly at: number
  readonly length: number
  readonly write?: boolean
}

/** A queue as the test's driver sees it: places of its parts in the double's array. */
export interface TestQueue {
  readonly index: number
  readonly size: number
  readonly descriptors: number
  readonly available: number
  readonly used: number
}

/** Where buffers may lie: pages from here on hold no rings. */
export const DATA = 8 * 4096

export interface MachineOptions extends Partial<MmioTransportOptions> {
  readonly memory?: GuestMemoryDouble
}

/** A transport with memory, an interrupt line and a driver that does what a test tells it. */
export class Machine {
  readonly memory: GuestMemoryDouble
  readonly transport: MmioTransport
  /** Levels of the interrupt line, one after the other. */
  readonly levels: boolean[] = []
  /** What `onFault` heard. */
  readonly faults: Error[] = []
  /** Called on each change of the line. */
  onInterrupt: ((high: boolean) => void) | undefined

  constructor(device: VirtioDevice, options: MachineOptions = {}) {
    this.memory = options.memory ?? new GuestMemoryDouble(64)
    this.transport = new MmioTransport({
      onFault: (fault) => this.faults.push(fault),
      // A clock that stands still: a turn ends by the number of its descriptors alone.
      turnBudget: new TurnBudget({ now: () => 0 }),
      ...options,
      device,
      memory: this.memory,
      interrupt: {
        setLevel: (high) => {
          this.levels.push(high)
          this.onInterrupt?.(high)
        },
      },
    })
  }

  get view(): DataView {
    return this.memory.view
  }

  read(register: number): number {
    return this.transport.read(register, 4)
  }

  write(register: number, value: number): void {
    this.transport.write(register, value, 4)
  }

  /** Reset, ACKNOWLEDGE, DRIVER, features, FEATURES_OK. */
  negotiate(...features: number[]): void {
    const set = featureSet(VIRTIO_F_VERSION_1, VIRTIO_F_ACCESS_PLATFORM, ...features)
    this.write(VIRTIO_MMIO_STATUS, 0)
    this.write(VIRTIO_MMIO_STATUS, 1)
    this.write(VIRTIO_MMIO_STATUS, 3)
    this.write(VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0)
    this.write(VIRTIO_MMIO_DRIVER_FEATURES, Number(set & 0xffff_ffffn))
    this.write(VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1)
    this.write(VIRTIO_MMIO_DRIVER_FEATURES, Number(set >> 32n))
    this.write(VIRTIO_MMIO_STATUS, 11)
  }

  /** Lays a queue out: two pages for each, from the start of memory. */
  queue(index: number, size: number): TestQueue {
    const descriptors = index * 8192
    const available = descriptors + descriptorTableSize(size)
    return { index, size, descriptors, available, used: descriptors + 4096 }
  }

  /** Tells the device about a queue. */
  enable(queue: TestQueue): TestQueue {
    this.write(VIRTIO_MMIO_QUEUE_SEL, queue.index)
    this.write(VIRTIO_MMIO_QUEUE_NUM, queue.size)
    this.address(VIRTIO_MMIO_QUEUE_DESC_LOW, VIRTIO_MMIO_QUEUE_DESC_HIGH, queue.descriptors)
    this.address(VIRTIO_MMIO_QUEUE_DRIVER_LOW, VIRTIO_MMIO_QUEUE_DRIVER_HIGH, queue.available)
    this.address(VIRTIO_MMIO_QUEUE_DEVICE_LOW, VIRTIO_MMIO_QUEUE_DEVICE_HIGH, queue.used)
    this.write(VIRTIO_MMIO_QUEUE_READY, 1)
    return queue
  }

  driverOk(): void {
    this.write(VIRTIO_MMIO_STATUS, 15)
  }

  /** All of the above, for one queue of index 0. */
  start(size: number, ...features: number[]): TestQueue {
    this.negotiate(...features)
    const queue = this.enable(this.queue(0, size))
    this.driverOk()
    return queue
  }

  /** Device address of a place in the array. */
  deviceAddress(at: number): bigint {
    return (BigInt(this.memory.firstPage) << 12n) + BigInt(at)
  }

  descriptor(
    table: number,
    index: number,
    fields: { address: bigint; length: number; flags?: number; next?: number },
  ): void {
    const at = table + 16 * index
    this.view.setBigUint64(at, fields.address, true)
    this.view.setUint32(at + 8, fields.length, true)
    this.view.setUint16(at + 12, fields.flags ?? 0, true)
    this.view.setUint16(at + 14, fields.next ?? 0, true)
  }

  /** Writes a chain into consecutive descriptors from `first` on. */
  chain(table: number, first: number, buffers: readonly TestBuffer[]): void {
    for (const [index, buffer] of buffers.entries()) {
      const last = index === buffers.length - 1
      this.descriptor(table, first + index, {
        address: this.deviceAddress(buffer.at),
        length: buffer.length,
        flags: (buffer.write === true ? 2 : 0) | (last ? 0 : 1),
        next: last ? 0 : first + index + 1,
      })
    }
  }

  /** Puts a head into the available ring. */
  offer(queue: TestQueue, head: number): void {
    const index = this.view.getUint16(queue.available + 2, true)
    this.view.setUint16(queue.available + 4 + 2 * (index % queue.size), head, true)
    this.view.setUint16(queue.available + 2, (index + 1) & 0xffff, true)
  }

  notify(queue: TestQueue): void {
    this.write(VIRTIO_MMIO_QUEUE_NOTIFY, queue.index)
  }

  /** Chain at descriptor `first`, offered and notified. */
  send(queue: TestQueue, buffers: readonly TestBuffer[], first: number = 0): void {
    this.chain(queue.descriptors, first, buffers)
    this.offer(queue, first)
    this.notify(queue)
  }

  usedIndex(queue: TestQueue): number {
    return this.view.getUint16(queue.used + 2, true)
  }

  /** Used elements so far, at most a ring full. */
  used(queue: TestQueue): { id: number; length: number }[] {
    return Array.from({ length: this.usedIndex(queue) }, (_, index) => {
      const at = queue.used + 4 + 8 * (index % queue.size)
      return { id: this.view.getUint32(at, true), length: this.view.getUint32(at + 4, true) }
    })
  }

  setUsedEvent(queue: TestQueue, value: number): void {
    this.view.setUint16(queue.available + usedEventOffset(queue.size), value, true)
  }

  availableEvent(queue: TestQueue): number {
    return this.view.getUint16(queue.used + availableEventOffset(queue.size), true)
  }

  /** Resolves when nothing is in flight. */
  async idle(): Promise<void> {
    while (this.transport.inFlight > 0) {
      await new Promise((resolve) => {
        setImmediate(resolve)
      })
    }
  }

  text(at: number, length: number): string {
    return Buffer.from(this.memory.bytes.subarray(at, at + length)).toString('latin1')
  }

  put(at: number, text: string): void {
    this.memory.bytes.set(Buffer.from(text, 'latin1'), at)
  }

  private address(low: number, high: number, at: number): void {
    const address = this.deviceAddress(at)
    this.write(low, Number(address & 0xffff_ffffn))
    this.write(high, Number(address >> 32n))
  }
}

/** Turns of the event loop. */
export async function turns(count: number = 3): Promise<void> {
  for (let turn = 0; turn < count; turn += 1) {
    await new Promise((resolve) => {
      setImmediate(resolve)
    })
  }
}
