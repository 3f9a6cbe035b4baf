import { randomInt } from 'node:crypto'
import { constants } from 'node:os'
import {
  ClosedError,
  checkOptions,
  type DomainId,
  domainId,
  InvalidArgumentError,
  type OptionNames,
  PAGE_SIZE,
  SystemCallError,
} from '@xmc/interface'
import { Accounting, type EventChannelReport, type IoreqServerReport } from './accounting.ts'
import { Domain } from './domain.ts'
import type { EventChannels } from './event-channels.ts'
import type { FailedPageTouched } from './failed-page.ts'
import { Faults, seed32 } from './faults.ts'
import { ForeignDevice } from './foreign-device.ts'
import { GrantDevice } from './grant-device.ts'
import { GrantTables } from './grant-table.ts'
import { closeDevices } from './internal/close-devices.ts'
import { FailedPages } from './internal/failed-pages.ts'
import {
  GuardedEventChannels,
  GuardedInterruptLines,
  GuardedIoreqServers,
} from './internal/guarded.ts'
import { type HandlerErrorListener, warnOfHandlerError } from './internal/handler.ts'
import type { OpenDevice, Parts } from './internal/parts.ts'
import { injectedError } from './internal/port-call.ts'
import type { InterruptLines } from './interrupts.ts'
import { MachineMemory } from './machine-memory.ts'
import { SharedFrames, SharedPages, type SharePagesOptions } from './shared-pages.ts'

/** First frame of RAM where nothing else is said: guest address 0x40000000, as Xen has it on Arm. */
export const DEFAULT_RAM_BASE = 0x40000

/** Limits and habits of a hypervisor. */
export interface HypervisorOptions {
  /** Shows in `/proc/self/maps` and in errors. Default `xmc-sim`. */
  readonly name?: string | undefined
  /** Start of everything random in it, 32 bits. Default: drawn; read it from `seed` to repeat a run. */
  readonly seed?: number | undefined
  /** Bytes of memory of the control domain, from frame 0x40000 on. Default 16 MiB. */
  readonly controlMemoryBytes?: number | undefined
  /** Frames that a grant table can grow to, 512 references each. Default 64, as Xen. */
  readonly maximumGrantFrames?: number | undefined
  /** Frames of map-track of a mapping domain, 256 mappings each but for one. Default 1,024, as Xen. */
  readonly maximumMaptrackFrames?: number | undefined
  /** Event channel ports of a domain. Default 4,096. */
  readonly maximumEventChannels?: number | undefined
  /**
   * How the asynchronous maps wait for pages that are paged out. Default: 255 retries, the nth after
   * n ms, which is about 32 s, as Linux does it for grants.
   */
  readonly pagingRetry?:
    | {
        readonly intervalMilliseconds?: number | undefined
        readonly attempts?: number | undefined
      }
    | undefined
  /** Whether every mapping keeps the stack of the call that made it. Default false: it is slow. */
  readonly recordStacks?: boolean | undefined
  /** Whether `accounting.log` keeps every call at a port. Default false. */
  readonly recordCalls?: boolean | undefined
  /**
   * What happens when a store to a page that failed to map is found: at the unmap of the page, at a map over
   * it, and at the close of its device. It is recorded in `accounting`, and unless this says `record`,
   * that call throws. Default `throw`.
   */
  readonly onFailedPageTouched?: FailedPageTouched | undefined
  /** Is told what an event or interrupt handler threw. Default: a warning of the process. */
  readonly onHandlerError?: HandlerErrorListener | undefined
}

/** A domain to make. */
export interface DomainOptions {
  /** Default: the lowest that is free, from 1. */
  readonly id?: number | undefined
  /** Default `domain N`. */
  readonly name?: string | undefined
  /** Bytes of memory, rounded up to pages, populated in one piece from `ramBase` on. */
  readonly memoryBytes: number
  /** First frame of its memory. Default 0x40000. */
  readonly ramBase?: number | undefined
  /** Frames that its grant table starts with. Default 1. */
  readonly grantTableFrames?: number | undefined
  /** Virtual CPUs, for its ioreq servers. Default 1. */
  readonly vcpus?: number | undefined
}

/** Name of a device in reports. */
export interface DeviceOptions {
  /** Default `foreign` or `grants`. */
  readonly name?: string | undefined
}

const DOMAIN_OPTIONS: OptionNames<DomainOptions> = {
  id: true,
  name: true,
  memoryBytes: true,
  ramBase: true,
  grantTableFrames: true,
  vcpus: true,
}

const OPTIONS: OptionNames<HypervisorOptions> = {
  name: true,
  seed: true,
  controlMemoryBytes: true,
  maximumGrantFrames: true,
  maximumMaptrackFrames: true,
  maximumEventChannels: true,
  pagingRetry: true,
  recordStacks: true,
  recordCalls: true,
  onFailedPageTouched: true,
  onHandlerError: true,
}

/**
 * An embedded Xen hypervisor: domains with real memory, and the ports by which one maps the memory of
 * another. Everything in it is its own; a process can hold several.
 *
 * Domain 0, the control domain, is there from the start; backends are usually its.
 */
export class Hypervisor {
  readonly name: string
  /** Start of everything random in it. */
  readonly seed: number
  /** Makes call sites fail. */
  readonly faults: Faults
  /** What is live, who made it, and what was called. */
  readonly accounting: Accounting
  /** The grant tables of all domains, at the level of hypercalls. */
  readonly grantTables: GrantTables
  /** The event channels of all domains. */
  readonly eventChannels: EventChannels
  /** The interrupt lines of all domains. */
  readonly interrupts: InterruptLines
  readonly #domains = new Map<number, Domain>()
  readonly #sharedFrames = new WeakMap<Domain, SharedFrames>()
  readonly #machine: MachineMemory
  readonly #parts: Parts
  readonly #onHandlerError: HandlerErrorListener
  #lastAddress = 0
  #closed = false

  /** @throws InvalidArgumentError `ERR_XMC_ARGUMENT` for an option out of range */
  constructor(options: HypervisorOptions = {}) {
    checkOptions('Hypervisor', options, OPTIONS)
    const { name = 'xmc-sim', maximumGrantFrames, maximumMaptrackFrames } = options
    const onHandlerError = options.onHandlerError ?? warnOfHandlerError
    this.#onHandlerError = onHandlerError
    this.name = name
    this.seed = seed32(options.seed ?? randomInt(2 ** 32))
    const pagingRetry = pagingRetryOf(options)
    this.faults = new Faults(this.seed)
    const host = { domainExists: (id: DomainId): boolean => this.#lives(id) }
    this.grantTables = new GrantTables(
      {
        ...host,
        machinePage: (id, frame) => {
          const page = this.#domains.get(id)?.p2m.machineOf(frame) ?? -1
          return page < 0 ? undefined : page
        },
        isPagedOut: (id, frame) => this.#domains.get(id)?.p2m.isPagedOut(frame) ?? false,
        pageBytes: (page) => this.#machine.bytesOf(page),
      },
      {
        ...(maximumGrantFrames !== undefined && { maximumFrames: maximumGrantFrames }),
        ...(maximumMaptrackFrames !== undefined && { maximumMaptrackFrames }),
      },
    )
    const failedPages = new FailedPages(options.onFailedPageTouched ?? 'throw')
    this.accounting = new Accounting(
      {
        grantTables: this.grantTables,
        eventChannels: () => this.#eventChannelReports(),
        ioreqServers: () => this.#ioreqServerReports(),
        touchedPages: () => failedPages.touched(),
      },
      options,
    )
    const ports = options.maximumEventChannels
    this.eventChannels = new GuardedEventChannels(
      host,
      { onHandlerError, ...(ports !== undefined && { maximumPorts: ports }) },
      this.#guard,
    )
    this.interrupts = new GuardedInterruptLines(host, { onHandlerError }, this.#guard)
    this.#machine = new MachineMemory(name)
    this.#parts = {
      machine: this.#machine,
      grantTables: this.grantTables,
      faults: this.faults,
      accounting: this.accounting,
      failedPages,
      pagingRetry,
      devices: new Set<OpenDevice>(),
      domain: (id) => this.#find(id),
      notify: (id, port) => this.#notify(id, port),
      isBound: (id, port) => this.eventChannels.isOpen(id, port),
      nextAddress: () => (this.#lastAddress += PAGE_SIZE),
    }
    try {
      this.#add({
        id: 0,
        name: 'control domain',
        memoryBytes: options.controlMemoryBytes ?? 2 ** 24,
      })
    } catch (error) {
      this.#machine.close()
      throw error
    }
  }

  /** The control domain. */
  get control(): Domain {
    return this.domain(0)
  }

  /** All domains that exist, dying ones included, in the order of their making. */
  get domains(): Domain[] {
    return [...this.#domains.values()]
  }

  /**
   * The domain with this id.
   *
   * @throws SystemCallError `ERR_XMC_SYSTEM_CALL` (`ESRCH`) when there is none
   */
  domain(id: number): Domain {
    const domain = this.#find(id)
    if (domain !== undefined) return domain
    throw new SystemCallError('find domain', constants.errno.ESRCH, `there is no domain ${id}`)
  }

  /**
   * Makes a domain and populates its memory, which costs nothing until it is touched.
   *
   * @throws InvalidArgumentError `ERR_XMC_ARGUMENT` for an option out of range
   * @throws SystemCallError `ERR_XMC_SYSTEM_CALL`: `EEXIST` when the id is taken, `ENOMEM` when the machine has
   * not so much memory
   * @throws ClosedError `ERR_XMC_CLOSED`
   */
  createDomain(options: DomainOptions): Domain {
    checkOptions('createDomain', options, DOMAIN_OPTIONS)
    this.#requireOpen()
    return this.#add(options)
  }

  /**
   * Opens access to the memory of other domains, as opening `/dev/xen/privcmd` does.
   *
   * @param caller the domain that maps; default the control domain
   * @throws SystemCallError `ERR_XMC_SYSTEM_CALL` (`ESRCH`) when the caller does not exist or is dying
   * @throws ClosedError `ERR_XMC_CLOSED`
   */
  foreignMemory(caller = 0, options: DeviceOptions = {}): ForeignDevice {
    checkOptions('foreignMemory', options, { name: true })
    const { name = 'foreign' } = options
    return new ForeignDevice(this.#parts, this.#caller(caller), name)
  }

  /**
   * Opens access to pages that other domains granted, as opening `/dev/xen/gntdev` does.
   *
   * @param caller the domain that maps; default the control domain
   * @throws SystemCallError `ERR_XMC_SYSTEM_CALL` (`ESRCH`) when the caller does not exist or is dying
   * @throws ClosedError `ERR_XMC_CLOSED`
   */
  grantTable(caller = 0, options: DeviceOptions = {}): GrantDevice {
    checkOptions('grantTable', options, { name: true })
    const { name = 'grants' } = options
    return new GrantDevice(this.#parts, this.#caller(caller), name)
  }

  /**
   * Makes pages for a domain and grants them, as `/dev/xen/gntalloc` does for a program.
   *
   * @param caller the domain that grants; default the control domain
   * @throws SystemCallError `ERR_XMC_SYSTEM_CALL`: `ESRCH` when the caller does not exist or is dying, `ENOSPC`
   * when its grant table is full, `ENOMEM` when the machine has no page left
   * @throws InvalidArgumentError `ERR_XMC_ARGUMENT`
   * @throws ClosedError `ERR_XMC_CLOSED`
   */
  sharePages(options: SharePagesOptions, caller = 0): SharedPages {
    checkOptions('sharePages', options, { to: true, pageCount: true, readonly: true })
    const domain = this.domain(this.#caller(caller))
    const frames = this.#sharedFrames.get(domain) ?? new SharedFrames()
    this.#sharedFrames.set(domain, frames)
    return new SharedPages(domain, frames, options)
  }

  /** Pages of the machine that are in use: those of domains, and those that only a mapping keeps. */
  get allocatedPages(): number {
    return this.#machine.allocatedPages
  }

  /** Pages whose domain gave them up, or died, and that live on because somebody maps them. */
  get orphanedPages(): number {
    return this.#machine.orphanedPages
  }

  /**
   * Closes every device, ends every domain and closes the memory file. A second call does nothing.
   *
   * @throws FailedPageTouchedError `ERR_XMC_FAILED_PAGE_TOUCHED` when a device's close does; everything is
   * closed all the same
   */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    try {
      closeDevices([...this.#parts.devices])
    } finally {
      for (const domain of this.domains) {
        domain.ioreq.removeDomain()
        this.#forgetServices(domain.id)
        domain.memory.close()
      }
      this.#machine.close()
    }
  }

  /** The same as {@link Hypervisor.close}. */
  [Symbol.dispose](): void {
    this.close()
  }

  #add(options: DomainOptions): Domain {
    const id = domainId(options.id ?? this.#freeId())
    if (this.#domains.has(id)) {
      const detail = `domain ${id} exists: choose another id, or wait until it is destroyed`
      throw new SystemCallError('create domain', constants.errno.EEXIST, detail)
    }
    const { memoryBytes, ramBase = DEFAULT_RAM_BASE, grantTableFrames, vcpus } = options
    if (!Number.isSafeInteger(memoryBytes) || memoryBytes < 0) {
      throw new InvalidArgumentError('memoryBytes', 'an integer from 0', memoryBytes)
    }
    const { eventChannels } = this
    const servers = { domain: id, eventChannels, ...(vcpus !== undefined && { vcpus }) }
    const ioreq = new GuardedIoreqServers(servers, this.#guard)
    const host = {
      parts: this.#parts,
      report: this.#onHandlerError,
      dismantle: (domain: Domain) => this.#dismantle(domain),
      forget: (domain: Domain) => void this.#domains.delete(domain.id),
    }
    const domain = new Domain(host, id, options.name ?? `domain ${id}`, ioreq)
    this.#domains.set(id, domain)
    try {
      if (memoryBytes > 0) domain.populate(ramBase, Math.ceil(memoryBytes / PAGE_SIZE))
      if (grantTableFrames !== undefined) domain.grants.grow(grantTableFrames)
    } catch (error) {
      this.#domains.delete(id)
      this.grantTables.removeDomain(id)
      for (const run of domain.p2m.remove(0, Number.MAX_SAFE_INTEGER)) {
        this.#machine.free({ first: run.machine, count: run.count })
      }
      throw error
    }
    return domain
  }

  #freeId(): number {
    let id = 1
    while (this.#find(id) !== undefined) id++
    return id
  }

  #find(id: number): Domain | undefined {
    return this.#domains.get(id)
  }

  #lives(id: DomainId): boolean {
    const domain = this.#domains.get(id)
    return domain !== undefined && !domain.isDying
  }

  #caller(id: number): DomainId {
    this.#requireOpen()
    const domain = this.domain(id)
    if (!domain.isDying) return domain.id
    throw new SystemCallError('open device', constants.errno.ESRCH, `domain ${id} is dying`)
  }

  #dismantle(domain: Domain): void {
    try {
      closeDevices([...this.#parts.devices].filter(({ caller }) => caller === domain.id))
    } finally {
      this.#forgetServices(domain.id)
    }
  }

  #forgetServices(id: DomainId): void {
    this.grantTables.removeDomain(id)
    this.eventChannels.removeDomain(id)
    this.interrupts.removeDomain(id)
  }

  #notify(domain: DomainId, port: number): void {
    try {
      this.eventChannels.send(domain, port)
    } catch (error) {
      // The unmap is done, and Linux does not look at what the send returned.
      if (!(error instanceof SystemCallError)) throw error
    }
  }

  *#eventChannelReports(): Generator<EventChannelReport> {
    for (const { domain, port, remote, remotePort } of this.eventChannels.channels()) {
      const end = remotePort === undefined ? 'unbound' : `port ${remotePort}`
      yield { domain, port, description: `to domain ${remote}, ${end}` }
    }
  }

  *#ioreqServerReports(): Generator<IoreqServerReport> {
    for (const domain of this.#domains.values()) {
      for (const { id, enabled, emulator } of domain.ioreq.servers()) {
        const state = enabled ? 'enabled' : 'not enabled'
        yield { domain: domain.id, id, description: `${state}, answered by domain ${emulator}` }
      }
    }
  }

  readonly #guard = (site: Parameters<Faults['next']>[0], call: string): void => {
    this.accounting.count(site, 0)
    const fault = this.faults.next(site)
    if (fault !== undefined) throw injectedError(call, fault)
  }

  #requireOpen(): void {
    if (this.#closed) throw new ClosedError(`hypervisor ${this.name}`)
  }
}

function pagingRetryOf({ pagingRetry = {} }: HypervisorOptions): Parts['pagingRetry'] {
  checkOptions('pagingRetry', pagingRetry, { intervalMilliseconds: true, attempts: true })
  const { intervalMilliseconds = 1, attempts = 255 } = pagingRetry
  if (!(intervalMilliseconds >= 0 && intervalMilliseconds <= 60_000)) {
    const expected = 'a number from 0 to 60000'
    throw new InvalidArgumentError('intervalMilliseconds', expected, intervalMilliseconds)
  }
  if (!Number.isSafeInteger(attempts) || attempts < 0) {
    throw new InvalidArgumentError('attempts', 'an integer from 0', attempts)
  }
  return { intervalMilliseconds, attempts }
}
