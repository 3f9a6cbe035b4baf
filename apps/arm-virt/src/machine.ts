import { BlockDevice, BlockRequestError, type Disk } from '@xmc/virtio'
import {
  type BlockDriver,
  BlockIoError,
  BlockUnsupportedError,
  DeviceNeedsResetError,
} from '@xmc/virtio/driver'
import { Board, type BoardStatistics } from './board.ts'
import {
  boardPart,
  type MachineConfiguration,
  type MachineOptions,
  machineConfiguration,
} from './configuration.ts'
import { DomainEndedError, LeftoversError } from './errors.ts'
import { SimulatedGuest } from './guest/simulated-guest.ts'
import type { HypervisorUsage } from './hypervisor.ts'
import { SimulatedHypervisor } from './providers/sim-hypervisor.ts'

/** What a disk machine is made from. */
export interface DiskMachineOptions extends Omit<MachineOptions, 'devices'> {
  /** One block device for each, in the order of the slots. They stay open when the machine is closed. */
  readonly disks: readonly Disk[]
  /** Elements of each disk's queue, a power of 2 from 4 to 32,768; 256 by default. */
  readonly queueSize?: number | undefined
}

/** What was left of a guest when its machine had been closed, and what it had cost. */
export interface MachineEnd {
  readonly board: BoardStatistics
  readonly usage: HypervisorUsage
}

/** What devices said first of what went wrong. */
interface FirstErrors {
  request: BlockRequestError | undefined
  fault: Error | undefined
}

/**
 * An embedded hypervisor with one guest, the guest's board with disks, and the guest's drivers: all that a
 * job needs, put together and taken down in order.
 */
export class DiskMachine {
  readonly configuration: MachineConfiguration
  readonly hypervisor: SimulatedHypervisor
  readonly board: Board
  readonly guest: SimulatedGuest
  /** The block devices, in the order of the slots. */
  readonly devices: readonly BlockDevice[]
  readonly #queueSize: number
  readonly #firstErrors: FirstErrors

  /**
   * @throws TooManyDevicesError `ERR_XMC_TOO_MANY_DEVICES`, RamSizeError `ERR_XMC_RAM_SIZE`, InvalidArgumentError
   * `ERR_XMC_ARGUMENT`, SystemCallError `ERR_XMC_SYSTEM_CALL`; nothing stays open
   */
  static open(options: DiskMachineOptions): DiskMachine {
    const firstErrors: FirstErrors = { request: undefined, fault: undefined }
    const { disks, queueSize = 256, onFault, ...machine } = options
    const onError = (error: BlockRequestError): void => {
      firstErrors.request ??= error
    }
    const devices = disks.map((disk) => new BlockDevice({ disk, queueSize, onError }))
    const configuration = machineConfiguration({
      ...machine,
      devices,
      onFault: (fault, repeated) => {
        firstErrors.fault ??= fault.error
        onFault?.(fault, repeated)
      },
    })
    const hypervisor = SimulatedHypervisor.create(configuration)
    try {
      const board = Board.open(hypervisor, boardPart(configuration))
      const parts = { configuration, hypervisor, board, devices, queueSize, firstErrors }
      return new DiskMachine(parts)
    } catch (error) {
      hypervisor.close()
      throw error
    }
  }

  private constructor(parts: {
    readonly configuration: MachineConfiguration
    readonly hypervisor: SimulatedHypervisor
    readonly board: Board
    readonly devices: readonly BlockDevice[]
    readonly queueSize: number
    readonly firstErrors: FirstErrors
  }) {
    this.configuration = parts.configuration
    this.hypervisor = parts.hypervisor
    this.board = parts.board
    this.devices = parts.devices
    this.#queueSize = parts.queueSize
    this.#firstErrors = parts.firstErrors
    const { addressing } = parts.configuration
    this.guest = new SimulatedGuest(parts.hypervisor, { addressing })
  }

  /** Requests that the block devices have answered, of any kind. */
  get requests(): number {
    return this.devices.reduce((sum, device) => sum + device.statistics.requests, 0)
  }

  /** A driver for the disk in a slot, as this machine's jobs use it. It is to be started. */
  driver(slot: number): BlockDriver {
    return this.guest.blockDriver(slot, { queueSize: this.#queueSize })
  }

  /**
   * Starts `drivers`, does `work`, and resets the devices.
   *
   * @throws DomainEndedError `ERR_XMC_DOMAIN_ENDED` when the guest ends meanwhile
   * @throws what the device says of a request that failed (DiskError `ERR_XMC_DISK`, GuestBufferError
   * `ERR_XMC_GUEST_BUFFER`, BlockRequestError `ERR_XMC_BLOCK_REQUEST`) or of a ring (VirtqueueError
   * `ERR_XMC_VIRTQUEUE`), rather than what the guest could see of it; and what `work` throws
   */
  async run<Result>(drivers: readonly BlockDriver[], work: () => Promise<Result>): Promise<Result> {
    const unsubscribe = this.hypervisor.onEnd((end) => {
      const error = new DomainEndedError(this.hypervisor.domain, end)
      for (const driver of drivers) driver.transport.fail(error)
    })
    try {
      for (const driver of drivers) await driver.start()
      return await work()
    } catch (error) {
      throw this.#explain(error)
    } finally {
      unsubscribe()
      await this.#closeDrivers(drivers)
    }
  }

  /**
   * Closes the board and the hypervisor, and looks for what is left.
   *
   * @throws LeftoversError `ERR_XMC_LEFTOVERS` when something of the guest was still mapped or bound
   * @throws as `Board.close`; the hypervisor is closed nevertheless
   */
  async close(): Promise<MachineEnd> {
    const { board, hypervisor } = this
    try {
      await board.close()
      const leftovers = hypervisor.leftovers()
      if (leftovers.length > 0) throw new LeftoversError(leftovers)
      return { board: board.statistics, usage: hypervisor.usage }
    } finally {
      hypervisor.close()
    }
  }

  async #closeDrivers(drivers: readonly BlockDriver[]): Promise<void> {
    for (const driver of drivers) {
      try {
        await driver.close()
      } catch (error) {
        // A guest that has ended cannot reset its devices; the board has.
        if (this.hypervisor.end === undefined) throw error
      }
    }
  }

  /** The host's side of what the guest saw. */
  #explain(error: unknown): unknown {
    const { domain, end } = this.hypervisor
    if (end !== undefined) return new DomainEndedError(domain, end)
    const { request, fault } = this.#firstErrors
    if (error instanceof BlockIoError || error instanceof BlockUnsupportedError) {
      return request?.cause ?? request ?? error
    }
    if (error instanceof DeviceNeedsResetError) return fault ?? error
    return error
  }
}
