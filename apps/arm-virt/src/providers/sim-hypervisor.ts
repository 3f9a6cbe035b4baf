import type { ForeignMemory } from '@xmc/foreign'
import type { GrantTable } from '@xmc/grants'
import { checkOptions, type DomainId, domainId, SystemCallError } from '@xmc/interface'
import type { RamBank } from '@xmc/memory-region'
import { type Domain, type IoreqServer as SimulatedServer, Hypervisor as Simulator } from '@xmc/sim'
import { ramBanks } from '../address-map.ts'
import { type MachineOptions, machineConfiguration } from '../configuration.ts'
import type {
  DomainEnd,
  EventChannel,
  Hypervisor,
  HypervisorUsage,
  IoreqServer,
} from '../hypervisor.ts'

/** The domain that device models run in. */
const CONTROL_DOMAIN = domainId(0)

/** A guest of an embedded hypervisor that is there already. */
export interface AttachOptions {
  /** Where the guest has RAM. */
  readonly ram: readonly RamBank[]
  /** Virtual CPUs that the guest was made with; 1 by default. */
  readonly virtualCpus?: number | undefined
}

/** The provider of {@link Hypervisor} on the embedded hypervisor `@xmc/sim`. */
export class SimulatedHypervisor implements Hypervisor {
  readonly kind = 'simulator'
  readonly domain: DomainId
  readonly ram: readonly RamBank[]
  readonly virtualCpus: number
  readonly foreign: ForeignMemory
  readonly grants: GrantTable
  /** The embedded hypervisor, with its faults and its accounting. */
  readonly simulator: Simulator
  /** The guest, seen from the inside. */
  readonly guest: Domain
  readonly #devices: readonly { close(): void }[]
  readonly #owned: boolean
  #end: DomainEnd | undefined
  #closed = false

  /**
   * Makes an embedded hypervisor with one guest, of the memory, virtual CPUs and grant table that a machine
   * has. Memory costs nothing until it is touched.
   *
   * @throws RamSizeError `ERR_XMC_RAM_SIZE`, InvalidArgumentError `ERR_XMC_ARGUMENT`
   * @throws SystemCallError `ERR_XMC_SYSTEM_CALL`: `ENOMEM` when the machine has not so much memory
   */
  static create(options: MachineOptions = {}): SimulatedHypervisor {
    const { memoryBytes, virtualCpus, grantFrames } = machineConfiguration(options)
    const ram = ramBanks(memoryBytes)
    const [low, ...others] = ram
    const simulator = new Simulator({ maximumGrantFrames: grantFrames })
    try {
      const guest = simulator.createDomain({
        memoryBytes: Number(low?.size ?? 0n),
        ramBase: Number((low?.address ?? 0n) >> 12n),
        vcpus: virtualCpus,
      })
      for (const { address, size } of others) {
        guest.populate(Number(address >> 12n), Number(size >> 12n))
      }
      return new SimulatedHypervisor(simulator, guest, { ram, virtualCpus }, true)
    } catch (error) {
      simulator.close()
      throw error
    }
  }

  /** Takes a guest of an embedded hypervisor that the caller made, and closes itself. */
  static attach(simulator: Simulator, guest: Domain, options: AttachOptions): SimulatedHypervisor {
    checkOptions('SimulatedHypervisor.attach', options, { ram: true, virtualCpus: true })
    return new SimulatedHypervisor(simulator, guest, options, false)
  }

  private constructor(simulator: Simulator, guest: Domain, options: AttachOptions, owned: boolean) {
    this.simulator = simulator
    this.guest = guest
    this.domain = domainId(guest.id)
    this.ram = [...options.ram]
    this.virtualCpus = options.virtualCpus ?? 1
    const foreign = simulator.foreignMemory()
    const grants = simulator.grantTable()
    this.foreign = foreign
    this.grants = grants
    this.#devices = [foreign, grants]
    this.#owned = owned
    this.#end = endOf(guest)
    guest.onDeath((end) => {
      this.#end = end
    })
  }

  get end(): DomainEnd | undefined {
    return this.#end
  }

  get usage(): HypervisorUsage {
    const { mappedPages, pinnedGrants, calls } = this.simulator.accounting.totals()
    let memoryCalls = 0
    for (const [site, count] of Object.entries(calls)) {
      if (MEMORY_SITES.has(site)) memoryCalls += count.calls
    }
    return { mappedPages, pinnedGrants, memoryCalls }
  }

  createIoreqServer(): IoreqServer {
    return new SimulatedIoreqServer(this.simulator, this.guest.ioreq.create(CONTROL_DOMAIN))
  }

  setInterruptLevel(line: number, high: boolean): void {
    if (this.guest.isDying) return
    this.simulator.interrupts.setLevel(this.domain, line, high)
  }

  onEnd(listener: (end: DomainEnd) => void): () => void {
    const end = this.#end
    if (end === undefined) return this.guest.onDeath(listener)
    const turn = setImmediate(() => listener(end))
    return () => clearImmediate(turn)
  }

  leftovers(): readonly string[] {
    return this.simulator.accounting.leftovers()
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    for (const device of this.#devices) device.close()
    if (this.#owned) this.simulator.close()
  }
}

const MEMORY_SITES: ReadonlySet<string> = new Set([
  'foreign.map',
  'foreign.unmap',
  'grant.map',
  'grant.unmap',
  'grant.copy',
])

/** The device model's side of an ioreq server, in the control domain. */
class SimulatedIoreqServer implements IoreqServer {
  readonly page: DataView
  readonly #simulator: Simulator
  readonly #server: SimulatedServer

  constructor(simulator: Simulator, server: SimulatedServer) {
    this.page = server.page
    this.#simulator = simulator
    this.#server = server
  }

  mapRange(first: bigint, last: bigint): void {
    this.#server.mapIoRange(first, last)
  }

  unmapRange(first: bigint, last: bigint): void {
    this.#server.unmapIoRange(first, last)
  }

  enable(): void {
    this.#server.enable()
  }

  disable(): void {
    this.#server.disable()
  }

  bind(virtualCpu: number, listener: () => void): EventChannel {
    const { eventChannels } = this.#simulator
    const guest = this.#server.domain
    const remote = this.#server.eventChannel(virtualCpu)
    const port = eventChannels.bindInterdomain(CONTROL_DOMAIN, guest, remote)
    eventChannels.setHandler(CONTROL_DOMAIN, port, listener)
    let open = true
    return {
      notify: () => {
        if (open) eventChannels.send(CONTROL_DOMAIN, port)
      },
      close: () => {
        if (!open) return
        open = false
        eventChannels.close(CONTROL_DOMAIN, port)
      },
    }
  }

  close(): void {
    try {
      this.#server.destroy()
    } catch (error) {
      // It went with its guest, or was closed before.
      if (!(error instanceof SystemCallError && error.errnoName === 'ENOENT')) throw error
    }
  }
}

function endOf(guest: Domain): DomainEnd | undefined {
  if (guest.isDying) return 'destroyed'
  const { state } = guest
  return state === 'shutdown' || state === 'crashed' ? state : undefined
}
