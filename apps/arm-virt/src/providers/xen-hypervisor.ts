import type { ForeignMemory } from '@xmc/foreign'
import type { GrantTable } from '@xmc/grants'
import {
  checkOptions,
  type DomainId,
  domainId,
  kindOfError,
  ReportLimiter,
  SystemCallError,
} from '@xmc/interface'
import type { RamBank } from '@xmc/memory-region'
import {
  type DeviceModel,
  type Domains,
  type ForeignDevice,
  type GrantDevice,
  Hypervisor as Xen,
  type IoreqServer as XenServer,
} from '@xmc/xen'
import { DomainUnavailableError } from '../errors.ts'
import type {
  DomainEnd,
  EventChannel,
  Hypervisor,
  HypervisorUsage,
  IoreqServer,
} from '../hypervisor.ts'
import { type CallCounter, CountedForeignMemory, CountedGrantTable } from './counted-memory.ts'
import { endOf } from './xen-domain-end.ts'
import { findRam } from './xen-ram.ts'

/** Milliseconds between two looks at whether the guest still runs, unless said otherwise. */
export const DEFAULT_WATCH_INTERVAL = 250

/** Habits of a {@link XenHypervisor}. */
export interface XenHypervisorOptions {
  /** Milliseconds between two looks at whether the guest still runs, 1 to 60,000; 250 by default. */
  readonly watchIntervalMilliseconds?: number | undefined
  /** Real Xen, which is made by default and closed with this. */
  readonly xen?: Xen | undefined
  /**
   * Is told what goes wrong where no call can say so: the first 5 errors of a kind, and then once in 10 s the last
   * and how many there were (`repeated`, 0 before). Default: a warning of the process.
   */
  readonly onError?: ((error: unknown, repeated: number) => void) | undefined
}

/**
 * The provider of {@link Hypervisor} on real Xen, for one domain that is running or paused, in the control domain.
 *
 * Whether the domain has ended is asked of Xen by a timer: the one event of Xen that says so (`VIRQ_DOM_EXC`) belongs to
 * xenstored where there is one. While somebody listens for the end, the timer keeps the process alive.
 *
 * The ioreq server of a process that was killed while it served the domain is taken over.
 */
export class XenHypervisor implements Hypervisor {
  readonly kind = 'xen'
  readonly domain: DomainId
  readonly ram: readonly RamBank[]
  readonly virtualCpus: number
  readonly foreign: ForeignMemory
  readonly grants: GrantTable
  readonly #xen: Xen
  readonly #domains: Domains
  readonly #model: DeviceModel
  readonly #foreign: ForeignDevice
  readonly #grants: GrantDevice
  readonly #counter: CallCounter
  readonly #servers = new Set<XenIoreqServer>()
  readonly #listeners = new Set<(end: DomainEnd) => void>()
  readonly #reports: ReportLimiter<unknown>
  readonly #timer: NodeJS.Timeout
  #adopted: XenServer | undefined
  #end: DomainEnd | undefined
  #closed = false

  /**
   * Attaches to a domain. It may be running or paused.
   *
   * @throws DomainUnavailableError `ERR_XMC_DOMAIN_UNAVAILABLE`: there is no such domain, it has ended, or has no RAM
   * @throws SystemCallError `ERR_XMC_SYSTEM_CALL`: Xen refuses, as one without ioreq servers does (`ENOSYS`)
   * @throws XenUnavailableError `ERR_XMC_XEN_UNAVAILABLE`: this machine does not run under Xen
   * @throws InvalidArgumentError `ERR_XMC_ARGUMENT`
   */
  static attach(domain: number, options: XenHypervisorOptions = {}): XenHypervisor {
    checkOptions('XenHypervisor.attach', options, {
      watchIntervalMilliseconds: true,
      xen: true,
      onError: true,
    })
    const id = domainId(domain)
    const xen = options.xen ?? new Xen()
    try {
      return new XenHypervisor(id, xen, options)
    } catch (error) {
      xen.close()
      throw error
    }
  }

  private constructor(domain: DomainId, xen: Xen, options: XenHypervisorOptions) {
    this.domain = domain
    this.#xen = xen
    this.#reports = new ReportLimiter(options.onError ?? warn)
    this.#domains = xen.domains()
    const information = this.#domains.information(domain)
    const end = endOf(information)
    if (end !== undefined) {
      throw new DomainUnavailableError(
        domain,
        information === undefined ? 'there is no such domain' : `it has ended (${end})`,
      )
    }
    this.#model = xen.deviceModel(domain)
    this.virtualCpus = this.#model.virtualCpus
    this.#foreign = xen.foreignMemory()
    this.#grants = xen.grantTable()
    const highest = this.#domains.maximumFrame(domain)
    this.ram = findRam(this.#foreign, domain, highest, information?.maximumPages)
    if (this.ram.length === 0) {
      throw new DomainUnavailableError(domain, 'it has no RAM where Xen on Arm puts it')
    }
    this.#counter = { calls: 0 }
    this.foreign = new CountedForeignMemory(this.#foreign, this.#counter)
    this.grants = new CountedGrantTable(this.#grants, this.#counter)
    this.#adopted = this.#model.adoptIoreqServer()
    const { watchIntervalMilliseconds = DEFAULT_WATCH_INTERVAL } = options
    this.#timer = setInterval(() => this.#look(), watchIntervalMilliseconds)
    this.#timer.unref()
  }

  /** Whether the ioreq server of a process that was killed was found, and not yet taken. */
  get adopts(): boolean {
    return this.#adopted !== undefined
  }

  get end(): DomainEnd | undefined {
    this.#look()
    return this.#end
  }

  get usage(): HypervisorUsage {
    const pinnedGrants = this.#grants.mappedPages
    return {
      mappedPages: this.#foreign.mappedPages + pinnedGrants,
      pinnedGrants,
      memoryCalls: this.#counter.calls,
    }
  }

  createIoreqServer(): IoreqServer {
    const made = this.#adopted ?? this.#model.createIoreqServer()
    this.#adopted = undefined
    const server = new XenIoreqServer(this.#xen, made, (gone) => this.#servers.delete(gone))
    this.#servers.add(server)
    return server
  }

  setInterruptLevel(line: number, high: boolean): void {
    if (this.#end !== undefined) return
    try {
      this.#model.setInterruptLevel(line, high)
    } catch (error) {
      // The guest may have gone since Xen was last asked.
      if (!isErrno(error, 'ESRCH')) throw error
      this.#look()
    }
  }

  onEnd(listener: (end: DomainEnd) => void): () => void {
    const end = this.#end
    if (end !== undefined) {
      const turn = setImmediate(() => listener(end))
      return () => clearImmediate(turn)
    }
    this.#listeners.add(listener)
    this.#timer.ref()
    return () => {
      this.#listeners.delete(listener)
      if (this.#listeners.size === 0) this.#timer.unref()
    }
  }

  leftovers(): readonly string[] {
    const { domain } = this
    const of = (count: number, what: string): string[] =>
      count === 0 ? [] : [`${count} ${what} of domain ${domain}`]
    const channels = [...this.#xen.eventChannels.channels()]
    return [
      ...of(this.#foreign.mappedPages, 'frames mapped'),
      ...of(this.#grants.mappedPages, 'grants mapped'),
      ...of(this.#servers.size, 'ioreq servers'),
      ...of(channels.filter(({ remote }) => remote === domain).length, 'event channels'),
    ]
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    clearInterval(this.#timer)
    this.#listeners.clear()
    this.#xen.close()
  }

  /** Asks Xen whether the guest still runs, and tells who wants to know. */
  #look(): void {
    if (this.#end !== undefined || this.#closed) return
    try {
      this.#end = endOf(this.#domains.information(this.domain))
    } catch (error) {
      this.#reports.report(kindOfError(error), error)
      return
    }
    if (this.#end === undefined) return
    clearInterval(this.#timer)
    const end = this.#end
    for (const listener of this.#listeners) setImmediate(() => this.#tell(listener, end))
  }

  #tell(listener: (end: DomainEnd) => void, end: DomainEnd): void {
    // It may have been taken away since.
    if (this.#listeners.delete(listener)) listener(end)
  }
}

/** The device model's side of an ioreq server. */
class XenIoreqServer implements IoreqServer {
  readonly page: DataView
  readonly #xen: Xen
  readonly #server: XenServer
  readonly #onClose: (server: XenIoreqServer) => void
  #closed = false

  constructor(xen: Xen, server: XenServer, onClose: (server: XenIoreqServer) => void) {
    this.page = server.page
    this.#xen = xen
    this.#server = server
    this.#onClose = onClose
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
    const { eventChannels, domain: own } = this.#xen
    const remotePort = this.#server.eventChannel(virtualCpu)
    const port = eventChannels.bindInterdomain(own, this.#server.domain, remotePort)
    eventChannels.setHandler(own, port, listener)
    return {
      notify: () => {
        if (eventChannels.isOpen(own, port)) eventChannels.send(own, port)
      },
      close: () => {
        if (eventChannels.isOpen(own, port)) eventChannels.close(own, port)
      },
    }
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#onClose(this)
    try {
      this.#server.destroy()
    } catch (error) {
      // It went with its guest.
      if (!isErrno(error, 'ENOENT', 'ESRCH')) throw error
    }
  }
}

function isErrno(error: unknown, ...names: readonly string[]): boolean {
  return error instanceof SystemCallError && names.includes(error.errnoName)
}

function warn(error: unknown, repeated: number): void {
  const times = repeated === 0 ? '' : ` (${repeated} times)`
  process.emitWarning(
    `${error instanceof Error ? error.message : String(error)}${times}`,
    'XmcXenWarning',
  )
}
