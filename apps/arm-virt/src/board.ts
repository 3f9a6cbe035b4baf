import type { CacheStatistics } from '@xmc/core'
import { checkMethods, InvalidArgumentError, kindOfError, ReportLimiter } from '@xmc/interface'
import { AddressSpace, MmioRegion, type WindowShare } from '@xmc/memory-region'
import {
  deviceKind,
  EmptyTransport,
  FaultReports,
  MmioTransport,
  type TransportStatistics,
  VIRTIO_MMIO_SIZE,
  VIRTIO_MMIO_STATUS,
} from '@xmc/virtio'
import {
  GUEST_VIRTIO_MMIO_BASE,
  transportAddress,
  transportInterrupt,
  VIRTIO_MMIO_DEV_SIZE,
  VIRTIO_MMIO_SLOTS,
} from './address-map.ts'
import { BoardMemory } from './board-memory.ts'
import {
  type BoardConfiguration,
  type BoardFault,
  type BoardOptions,
  boardConfiguration,
} from './configuration.ts'
import type { DomainEnd, Hypervisor } from './hypervisor.ts'
import { type DispatcherStatistics, IoreqDispatcher } from './ioreq-dispatcher.ts'
import { TransportRegisters } from './transport-registers.ts'

/** Counts of a board since it was opened. */
export interface BoardStatistics {
  /** Cache of the guest's RAM. */
  readonly foreign: CacheStatistics
  /** Cache of grants. */
  readonly grants: CacheStatistics
  /** Accesses of the guest to memory-mapped I/O. */
  readonly ioreq: DispatcherStatistics
  /** One for each device, in the order of the slots. */
  readonly transports: readonly TransportStatistics[]
  /** What each device has, and had at most, of the windows that were mapped into; in the order of the slots. */
  readonly shares: readonly (readonly WindowShare[])[]
  /** Faults, whether told to `onFault` one by one or in a count. */
  readonly faults: number
}

/** Hypervisors with an open board: a second one would answer the same accesses of the guest. */
const served = new WeakSet<Hypervisor>()

/**
 * An Arm board for one guest: its RAM and its grants, virtio devices at virtio-mmio transports, and their
 * interrupts, in the address map of Xen's public Arm headers and of the `xenpvh` machine.
 *
 * The guest's accesses reach it through the ioreq server that it makes, interrupts leave through the
 * port, and memory is mapped through the caches: the same on the simulator and on Xen. When the guest
 * ends, the board releases everything by itself.
 */
export class Board {
  readonly configuration: BoardConfiguration
  readonly hypervisor: Hypervisor
  /** Memory, caches and what devices reach. */
  readonly memory: BoardMemory
  /** What the guest's processors see. */
  readonly space: AddressSpace
  /** The transports with a device, in the order of the slots. */
  readonly transports: readonly MmioTransport[]
  readonly #dispatcher: IoreqDispatcher
  readonly #unsubscribe: () => void
  readonly #faults: ReportLimiter<BoardFault>
  /** Transports that the store that is being made has to wait for. */
  readonly #held: MmioTransport[] = []
  #closing: Promise<void> | undefined

  /**
   * Builds the board and lets the guest's accesses come.
   *
   * @throws TooManyDevicesError `ERR_XMC_TOO_MANY_DEVICES`, RamPlaceError `ERR_XMC_RAM_PLACE`,
   * InvalidArgumentError `ERR_XMC_ARGUMENT` (of a second board on a hypervisor, too), WindowAllocationError `ERR_XMC_WINDOW_ALLOCATION`, and
   * SystemCallError `ERR_XMC_SYSTEM_CALL` of the hypervisor; nothing of the guest is mapped or bound then
   */
  static open(hypervisor: Hypervisor, options: BoardOptions = {}): Board {
    checkMethods('hypervisor', hypervisor, ['createIoreqServer', 'setInterruptLevel', 'onEnd'])
    if (served.has(hypervisor)) {
      const expected = 'a hypervisor that has no board: close the board that it has first'
      throw new InvalidArgumentError('hypervisor', expected, hypervisor)
    }
    const configuration = boardConfiguration(options)
    const memory = BoardMemory.open(configuration, hypervisor)
    try {
      const board = new Board(configuration, hypervisor, memory)
      served.add(hypervisor)
      return board
    } catch (error) {
      memory.close()
      throw error
    }
  }

  private constructor(
    configuration: BoardConfiguration,
    hypervisor: Hypervisor,
    memory: BoardMemory,
  ) {
    this.configuration = configuration
    this.hypervisor = hypervisor
    this.memory = memory
    this.#faults = new ReportLimiter(configuration.onFault ?? warningsOf(configuration))
    this.transports = configuration.devices.map((device, slot) => {
      const line = transportInterrupt(slot)
      return new MmioTransport({
        device,
        memory: memory.dma.registerUser({ name: `virtio-mmio.${slot}` }),
        interrupt: { setLevel: (high) => hypervisor.setInterruptLevel(line, high) },
        accessPlatform: configuration.addressing === 'grants' ? 'required' : 'offered',
        mapping: configuration.mapping,
        turnBudget: configuration.turnBudget,
        onFault: (error) => this.#fault(error, slot),
        // All of them: the board limits what it tells.
        reports: { burst: 2 ** 31 - 1 },
      })
    })
    for (let slot = 0; slot < VIRTIO_MMIO_SLOTS; slot++) {
      memory.system.add(this.#registers(slot), transportAddress(slot))
    }
    this.space = new AddressSpace({ name: 'memory', root: memory.system, bounceBudget: 0 })
    this.#dispatcher = this.#dispatch()
    this.#unsubscribe = hypervisor.onEnd(() => {
      this.close().catch((error: unknown) => this.#fault(error))
    })
  }

  /** How the guest ended; undefined while it runs. */
  get end(): DomainEnd | undefined {
    return this.hypervisor.end
  }

  /** A snapshot of the counts. */
  get statistics(): BoardStatistics {
    return {
      foreign: this.memory.foreign.statistics,
      grants: this.memory.grants.statistics,
      ioreq: this.#dispatcher.statistics,
      transports: this.transports.map((transport) => transport.statistics),
      shares: this.memory.dma.users.map(({ shares }) => shares),
      faults: this.#faults.statistics.reports,
    }
  }

  /**
   * Resets every device, as when the guest is started anew, and forgets what is mapped of its RAM.
   *
   * @returns resolves when no request of before holds memory of the guest
   */
  async reset(): Promise<void> {
    for (const transport of this.transports) transport.write(VIRTIO_MMIO_STATUS, 0, 4)
    await drained(this.transports)
    await this.memory.invalidate()
  }

  /**
   * Stops the devices, gives all memory of the guest back, and closes the ioreq server and its event
   * channels. Disks stay open. Every call returns the same promise.
   *
   * @returns resolves when nothing of the guest is mapped; requests that a disk is busy with are waited for
   * @throws UnmapFailedError `ERR_XMC_UNMAP_FAILED`: something may still be mapped
   */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    this.#unsubscribe()
    // First, so that no access of the guest finds a half-closed board.
    this.#dispatcher.close()
    await Promise.all(this.transports.map((transport) => transport.close()))
    this.#faults.flush()
    this.space.close()
    try {
      if (this.memory.callsUnderWay > 0) await this.memory.closeAsync()
      else this.memory.close()
    } finally {
      served.delete(this.hypervisor)
    }
  }

  #dispatch(): IoreqDispatcher {
    const server = this.hypervisor.createIoreqServer()
    const dispatcher = new IoreqDispatcher(server, {
      space: this.space,
      invalidate: () => this.#invalidate(),
      settle: () => this.#settle(),
      report: (error) => this.#fault(error),
    })
    try {
      const size = BigInt(VIRTIO_MMIO_SLOTS) * VIRTIO_MMIO_DEV_SIZE
      server.mapRange(GUEST_VIRTIO_MMIO_BASE, GUEST_VIRTIO_MMIO_BASE + size - 1n)
      dispatcher.start(this.hypervisor.virtualCpus)
      return dispatcher
    } catch (error) {
      dispatcher.close()
      throw error
    }
  }

  async #invalidate(): Promise<void> {
    try {
      const { unmapFailures } = await this.memory.invalidate()
      for (const failure of unmapFailures) this.#fault(failure)
    } catch (error) {
      this.#fault(error)
    }
  }

  /**
   * A processor must not go on after a reset while requests of before can still reach its memory. Others
   * may: what they do with other devices is not held up by a disk that does not answer.
   */
  #settle(): Promise<void> | undefined {
    return this.#held.length === 0 ? undefined : drained(this.#held.splice(0))
  }

  /** The registers of a slot, with 8-byte accesses made of two of 4. */
  #registers(slot: number): MmioRegion {
    const transport = this.transports[slot]
    const name = registersName(slot)
    return new MmioRegion({
      name: transport === undefined ? `${name} (empty)` : name,
      size: BigInt(VIRTIO_MMIO_SIZE),
      device:
        transport === undefined
          ? new EmptyTransport()
          : new TransportRegisters(transport, (each) => this.#held.push(each)),
      valid: { maximum: 8 },
      implemented: { maximum: 4 },
    })
  }

  #fault(cause: unknown, slot?: number): void {
    const error = cause instanceof Error ? cause : new Error(String(cause))
    this.#faults.report(`${slot ?? 'board'} ${kindOfError(error)}`, { slot, error })
  }
}

async function drained(transports: readonly MmioTransport[]): Promise<void> {
  await Promise.all(transports.map((transport) => transport.drained()))
}

function registersName(slot: number): string {
  return `virtio-mmio.${slot}`
}

/** Tells of faults where nobody listens: by warnings of the process, once for each kind and device. */
function warningsOf({ devices }: BoardConfiguration): (fault: BoardFault) => void {
  const board = new FaultReports('board', undefined)
  const reports = devices.map(
    ({ deviceId }, slot) =>
      new FaultReports(`${registersName(slot)} (${deviceKind(deviceId)})`, undefined),
  )
  return ({ slot, error }) => (reports[slot ?? -1] ?? board).report(error)
}
