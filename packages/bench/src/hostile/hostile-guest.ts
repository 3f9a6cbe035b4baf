import {
  type Addressing,
  Board,
  type BoardOptions,
  SimulatedHypervisor,
  transportAddress,
} from '@xmc/arm-virt'
import { XEN_GRANT_ADDRESS_OFFSET } from '@xmc/interface'
import {
  VIRTIO_MMIO_DRIVER_FEATURES,
  VIRTIO_MMIO_DRIVER_FEATURES_SEL,
  VIRTIO_MMIO_STATUS,
  VIRTIO_STATUS_ACKNOWLEDGE,
  VIRTIO_STATUS_DRIVER,
  VIRTIO_STATUS_DRIVER_OK,
  VIRTIO_STATUS_FEATURES_OK,
} from '@xmc/virtio'
import { HostileQueue, type QueuePlace } from './hostile-queue.ts'

/** Where the guest's RAM begins. */
export const RAM = 0x4000_0000

/** VIRTIO_F_VERSION_1, VIRTIO_F_ACCESS_PLATFORM, VIRTIO_F_INDIRECT_DESC. */
const FEATURES = (1n << 32n) | (1n << 33n) | (1n << 28n)

/** A page that nobody answers for, far above RAM and grants. */
const NOWHERE = 0x70_0000_0000n

/** References from here on are never granted. */
const UNGRANTED = 30_000

/** How a hostile guest and its board are made. */
export interface HostileOptions extends BoardOptions {
  /** By what it names its memory. */
  readonly addressing: Addressing
  /** Bytes of its RAM. @default 128 MiB */
  readonly memoryBytes?: number
  /** @default 1 */
  readonly virtualCpus?: number
  /** A hypervisor with a guest; by default it is made. */
  readonly hypervisor?: SimulatedHypervisor
}

/** One store to a register. */
export interface Store {
  readonly slot: number
  readonly offset: number
  readonly value: number
  /** Bytes. @default 4 */
  readonly size?: 1 | 2 | 4
  /** @default 0 */
  readonly virtualCpu?: number
}

/**
 * Code in a guest that keeps to no rule: it writes what it likes into its memory, and stores what it likes to the registers
 * of its devices, as its processors do. Nothing else of the host is in its reach.
 */
export class HostileGuest {
  readonly addressing: Addressing
  readonly hypervisor: SimulatedHypervisor
  /** Undefined where somebody else serves the guest. */
  readonly board: Board | undefined

  /** Makes a guest with a board. */
  static open(options: HostileOptions): HostileGuest {
    const { memoryBytes = 128 * 2 ** 20, virtualCpus = 1, hypervisor: given, ...board } = options
    const hypervisor = given ?? SimulatedHypervisor.create({ ...board, memoryBytes, virtualCpus })
    return new HostileGuest(options.addressing, hypervisor, Board.open(hypervisor, board))
  }

  /** @param board undefined where the guest is served by somebody else */
  constructor(addressing: Addressing, hypervisor: SimulatedHypervisor, board?: Board) {
    this.addressing = addressing
    this.hypervisor = hypervisor
    this.board = board
  }

  /** Its memory, by guest address. */
  get memory(): SimulatedHypervisor['guest']['memory'] {
    return this.hypervisor.guest.memory
  }

  /** What a device has to be told of pages from guest address `at` on: grants of them, or the address itself. */
  share(at: number, pages: number, readonly = false): bigint {
    if (this.addressing === 'foreign') return BigInt(at)
    const frames = { first: at / 4096, count: pages }
    const [reference = 0] = this.hypervisor.guest.grants.share(frames, { to: 0, readonly })
    return XEN_GRANT_ADDRESS_OFFSET + BigInt(reference) * 4096n
  }

  /** The `index`th address behind which there is nothing. */
  nowhere(index: number): bigint {
    const page = BigInt(index) * 4096n
    return this.addressing === 'foreign'
      ? NOWHERE + page
      : XEN_GRANT_ADDRESS_OFFSET + BigInt(UNGRANTED) * 4096n + page
  }

  /** Resolves when the processor that stores may go on. */
  async store({ slot, offset, value, size = 4, virtualCpu = 0 }: Store): Promise<void> {
    await this.hypervisor.guest.ioreq.access({
      address: transportAddress(slot) + BigInt(offset),
      size,
      write: true,
      data: BigInt(value >>> 0),
      vcpu: virtualCpu,
    })
  }

  /** Resets the device in a slot and negotiates; queues come next, and then {@link start}. */
  async negotiate(slot: number): Promise<void> {
    const status = VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER
    await this.store({ slot, offset: VIRTIO_MMIO_STATUS, value: 0 })
    await this.store({ slot, offset: VIRTIO_MMIO_STATUS, value: status })
    for (const half of [0, 1]) {
      const value = Number((FEATURES >> BigInt(32 * half)) & 0xffff_ffffn)
      await this.store({ slot, offset: VIRTIO_MMIO_DRIVER_FEATURES_SEL, value: half })
      await this.store({ slot, offset: VIRTIO_MMIO_DRIVER_FEATURES, value })
    }
    const agreed = status | VIRTIO_STATUS_FEATURES_OK
    await this.store({ slot, offset: VIRTIO_MMIO_STATUS, value: agreed })
  }

  /** A queue that the device has not been told of. */
  layOut(place: QueuePlace): HostileQueue {
    return new HostileQueue(this, place)
  }

  /** A queue that is ready. */
  async queue(place: QueuePlace): Promise<HostileQueue> {
    const queue = this.layOut(place)
    await queue.makeReady()
    return queue
  }

  /** Lets the device in a slot work. */
  async start(slot: number): Promise<void> {
    const ready = VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER | VIRTIO_STATUS_FEATURES_OK
    const value = ready | VIRTIO_STATUS_DRIVER_OK
    await this.store({ slot, offset: VIRTIO_MMIO_STATUS, value })
  }

  /** Ends the guest, its board and its hypervisor. */
  async close(): Promise<void> {
    this.hypervisor.guest.destroy()
    await this.board?.close()
    this.hypervisor.close()
  }
}
