import {
  BlockDevice,
  type Disk,
  MmioTransport,
  type TurnBudget,
  VIRTIO_BLK_HEADER_SIZE,
  VIRTIO_BLK_T_IN,
  VIRTIO_BLK_T_OUT,
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
  VIRTIO_MMIO_STATUS,
} from '@xmc/virtio'
import type { HostileSide } from './hostile-side.ts'

/** Elements of the queue: its table fills a page. */
const QUEUE_SIZE = 256

/** Control pages: table, available ring, used ring, headers and status bytes; indirect tables from there on. */
const [TABLE, AVAILABLE, USED, ENDS, FIRST_INDIRECT] = [0, 1, 2, 3, 4]

const NEXT = 1
const WRITE = 2
const INDIRECT = 4

/** A buffer of a request. */
export interface HostileBuffer {
  readonly address: bigint
  readonly length: number
}

/** A block device on real memory, and a driver of it that keeps to no rule. */
export class HostileDisk {
  readonly transport: MmioTransport
  /** Why requests failed, without repetition. */
  readonly failures: Set<string> = new Set()
  readonly #side: HostileSide
  readonly #table: DataView
  readonly #available: DataView
  readonly #used: DataView
  readonly #ends: { readonly view: DataView; readonly address: bigint }
  #offered = 0

  constructor(side: HostileSide, disk: Disk, turnBudget?: TurnBudget) {
    this.#side = side
    const [table, available, used] = [TABLE, AVAILABLE, USED].map((page) => side.control(page))
    if (table === undefined || available === undefined || used === undefined) throw new RangeError()
    this.#table = table.view
    this.#available = available.view
    this.#used = used.view
    this.#ends = side.control(ENDS)
    // Others have used these pages before.
    for (let at = 0; at < 32; at += 8) this.#ends.view.setBigUint64(at, 0n, true)
    this.#ends.view.setUint32(0, VIRTIO_BLK_T_IN, true)
    this.#ends.view.setUint32(16, VIRTIO_BLK_T_OUT, true)
    this.transport = new MmioTransport({
      device: new BlockDevice({
        disk,
        queueSize: QUEUE_SIZE,
        onError: ({ message, cause }) => this.failures.add(`${message}: ${String(cause)}`),
      }),
      memory: side.dma,
      interrupt: { setLevel() {} },
      turnBudget,
      onFault() {},
    })
    this.#start([table.address, available.address, used.address])
  }

  /**
   * Writes a request into an indirect table.
   *
   * @param request its number, 0 to 59; its status is then {@link status} of it
   * @param buffers up to 250
   */
  put(request: number, kind: 'read' | 'write', buffers: readonly HostileBuffer[]): void {
    const { view, address } = this.#side.control(FIRST_INDIRECT + request)
    const ends = this.#ends.address
    const header = ends + (kind === 'read' ? 0n : 16n)
    const status = ends + 64n + BigInt(request)
    const flags = NEXT | (kind === 'read' ? WRITE : 0)
    describe(view, 0, header, VIRTIO_BLK_HEADER_SIZE, NEXT)
    buffers.forEach((buffer, nth) => describe(view, nth + 1, buffer.address, buffer.length, flags))
    describe(view, buffers.length + 1, status, 1, WRITE)
    describe(this.#table, request, address, (buffers.length + 2) * 16, INDIRECT)
    this.#ends.view.setUint8(64 + request, 0xff)
  }

  /** How a request has ended; 0xff where it was not answered. */
  status(request: number): number {
    return this.#ends.view.getUint8(64 + request)
  }

  /** Offers requests and notifies the device once. */
  notify(requests: readonly number[]): void {
    for (const request of requests) {
      this.#available.setUint16(4 + 2 * (this.#offered % QUEUE_SIZE), request, true)
      this.#offered = (this.#offered + 1) & 0xffff
    }
    this.#available.setUint16(2, this.#offered, true)
    this.transport.write(VIRTIO_MMIO_QUEUE_NOTIFY, 0, 4)
  }

  /** Requests that were offered and not yet answered. */
  get outstanding(): number {
    return (this.#offered - this.#used.getUint16(2, true)) & 0xffff
  }

  #start(areas: readonly [bigint, bigint, bigint]): void {
    const store = (offset: number, value: number): void => this.transport.write(offset, value, 4)
    for (const view of [this.#available, this.#used]) view.setUint32(0, 0, true)
    for (const status of [0, 1, 3]) store(VIRTIO_MMIO_STATUS, status)
    // VIRTIO_F_INDIRECT_DESC; VIRTIO_F_VERSION_1 and VIRTIO_F_ACCESS_PLATFORM.
    const features = [2 ** 28, 3]
    features.forEach((bits, half) => {
      store(VIRTIO_MMIO_DRIVER_FEATURES_SEL, half)
      store(VIRTIO_MMIO_DRIVER_FEATURES, bits)
    })
    store(VIRTIO_MMIO_STATUS, 0xb)
    store(VIRTIO_MMIO_QUEUE_NUM, QUEUE_SIZE)
    const registers = [
      [VIRTIO_MMIO_QUEUE_DESC_LOW, VIRTIO_MMIO_QUEUE_DESC_HIGH],
      [VIRTIO_MMIO_QUEUE_DRIVER_LOW, VIRTIO_MMIO_QUEUE_DRIVER_HIGH],
      [VIRTIO_MMIO_QUEUE_DEVICE_LOW, VIRTIO_MMIO_QUEUE_DEVICE_HIGH],
    ] as const
    registers.forEach(([low, high], area) => {
      const address = areas[area] ?? 0n
      store(low, Number(address & 0xffff_ffffn))
      store(high, Number(address >> 32n))
    })
    store(VIRTIO_MMIO_QUEUE_READY, 1)
    store(VIRTIO_MMIO_STATUS, 0xf)
  }
}

function describe(
  table: DataView,
  index: number,
  address: bigint,
  length: number,
  flags: number,
): void {
  table.setBigUint64(index * 16, address, true)
  table.setUint32(index * 16 + 8, length, true)
  table.setUint16(index * 16 + 12, flags, true)
  table.setUint16(index * 16 + 14, (flags & NEXT) === 0 ? 0 : index + 1, true)
}
