import { checkOptions } from '@xmc/interface'
import { GrantDma } from '@xmc/sim'
import { VIRTIO_ID_BLOCK } from '@xmc/virtio'
import {
  BlockDriver,
  type BlockDriverOptions,
  type DiscoveredTransport,
  type DmaMapper,
  type DriverTransportOptions,
  discoverTransports,
  FrameAllocator,
  GrantDmaMapper,
  type InterruptLine,
  type MmioBus,
  PlainDmaMapper,
} from '@xmc/virtio/driver'
import {
  GUEST_VIRTIO_MMIO_BASE,
  transportAddress,
  transportInterrupt,
  VIRTIO_MMIO_SLOTS,
} from '../address-map.ts'
import type { Addressing } from '../configuration.ts'
import type { SimulatedHypervisor } from '../providers/sim-hypervisor.ts'

/** Most RAM that the guest's drivers use, from the start of a bank: what lies in one piece on the host. */
const DRIVER_RAM_BYTES = 2 ** 30

/** How the guest's drivers work. */
export interface GuestOptions {
  /** How they address memory; `grants` by default. */
  readonly addressing?: Addressing | undefined
  /** The bank of RAM that they use, 0 by default. */
  readonly bank?: number | undefined
}

/** Settings of a block driver that are the guest's choice. */
export type GuestDriverOptions = Omit<BlockDriverOptions, keyof GuestDevicePlace>

/** Where a device is, and what a driver has to reach it with. */
export type GuestDevicePlace = Omit<DriverTransportOptions, 'timeoutMilliseconds'>

/**
 * The inside of a simulated guest: the drivers that a kernel has, in TypeScript. All that they reach of
 * the board are its registers, through the guest's memory-mapped I/O, and their interrupts.
 */
export class SimulatedGuest {
  /** Accesses to memory-mapped I/O by virtual CPU 0. */
  readonly bus: MmioBus
  /** The guest's RAM, as its drivers take and free it. */
  readonly pages: FrameAllocator
  readonly #hypervisor: SimulatedHypervisor
  readonly #addressing: Addressing

  constructor(hypervisor: SimulatedHypervisor, options: GuestOptions = {}) {
    checkOptions('SimulatedGuest', options, { addressing: true, bank: true })
    const { guest, ram } = hypervisor
    const { address, size } = ram[options.bank ?? 0] ?? { address: 0n, size: 0n }
    this.#hypervisor = hypervisor
    this.#addressing = options.addressing ?? 'grants'
    this.bus = {
      read: async (at, bytes) =>
        Number(await guest.ioreq.access({ address: BigInt(at), size: bytes, write: false })),
      write: async (at, value, bytes) => {
        const data = BigInt(value)
        await guest.ioreq.access({ address: BigInt(at), size: bytes, write: true, data })
      },
    }
    this.pages = new FrameAllocator({
      first: Number(address >> 12n),
      count: Math.min(Number(size), DRIVER_RAM_BYTES) / 4096,
      view: (frame, count) => guest.memory.view(frame, count),
    })
  }

  /** Looks for block devices at the board's transports, in the order of the slots. */
  async findDisks(): Promise<DiscoveredTransport[]> {
    const found = await discoverTransports(this.bus, {
      address: GUEST_VIRTIO_MMIO_BASE,
      count: VIRTIO_MMIO_SLOTS,
    })
    return found.filter(({ deviceId }) => deviceId === VIRTIO_ID_BLOCK)
  }

  /** The interrupt of a slot. */
  interrupt(slot: number): InterruptLine {
    const { domain, simulator } = this.#hypervisor
    const line = transportInterrupt(slot)
    return {
      get level() {
        return simulator.interrupts.level(domain, line)
      },
      subscribe: (handler) => {
        simulator.interrupts.setHandler(domain, line, handler)
        return () => {
          // The lines of a guest that was destroyed are gone.
          if (!this.#hypervisor.guest.isDying) {
            simulator.interrupts.setHandler(domain, line, undefined)
          }
        }
      },
    }
  }

  /** How one device is given memory: each has its own, as in Linux. */
  dma(): DmaMapper {
    if (this.#addressing === 'foreign') return new PlainDmaMapper()
    const { guest, simulator } = this.#hypervisor
    return new GrantDmaMapper(new GrantDma(guest.grants, simulator.control.id))
  }

  /**
   * What any driver needs to reach the device in a slot, as
   * `new EntropyDriver(guest.deviceAt(1))`: each call is for one driver.
   */
  deviceAt(slot: number, dma: DmaMapper = this.dma()): GuestDevicePlace {
    return {
      bus: this.bus,
      address: transportAddress(slot),
      interrupt: this.interrupt(slot),
      pages: this.pages,
      dma,
    }
  }

  /** Makes a driver for the block device in a slot; it is to be started. */
  blockDriver(slot: number, options: GuestDriverOptions = {}, dma?: DmaMapper): BlockDriver {
    return new BlockDriver({ ...options, ...this.deviceAt(slot, dma) })
  }
}
