import { constants } from 'node:os'
import { ClosedError, type DomainId, domainId, SystemCallError } from '@xmc/interface'
import { XenCallError } from './errors.ts'
import type { EventChannels } from './event-channels.ts'
import { Device } from './internal/device.ts'
import { DeviceModelOperations } from './internal/dm-op.ts'
import { IoreqServerPage } from './internal/ioreq-page.ts'
import { PRIVCMD_PATH } from './internal/privcmd.ts'
import { Scratch } from './internal/scratch.ts'
import type { SystemCalls } from './internal/system-calls.ts'
import { IoreqServer, ioreqRefusal } from './ioreq-server.ts'

const { EINVAL, ENOENT, EPERM } = constants.errno

/** Servers that Xen lets a domain have (`MAX_NR_IOREQ_SERVERS`). */
const MAXIMUM_SERVERS = 8

/**
 * A device model of one guest: ioreq servers, which get the guest's accesses to memory-mapped I/O, and
 * the levels of its interrupt lines. Made by `Hypervisor.deviceModel`; one open of `/dev/xen/privcmd`.
 *
 * # Limitations
 *
 * Xen keeps an ioreq server when the process that made it is killed, and the guest's accesses then wait for an
 * answer. `adoptIoreqServer` takes it over.
 */
export class DeviceModel {
  /** The guest. */
  readonly domain: DomainId
  readonly #device: Device
  readonly #operations: DeviceModelOperations
  readonly #eventChannels: EventChannels
  readonly #own: DomainId
  readonly #servers = new Set<IoreqServer>()
  readonly #onClose: (model: DeviceModel) => void

  /** @internal */
  constructor(
    calls: SystemCalls,
    eventChannels: EventChannels,
    own: DomainId,
    domain: number,
    onClose: (model: DeviceModel) => void = () => {},
  ) {
    this.domain = domainId(domain)
    this.#own = own
    this.#eventChannels = eventChannels
    this.#onClose = onClose
    this.#device = new Device(calls, PRIVCMD_PATH)
    this.#operations = new DeviceModelOperations(this.#device, new Scratch(calls), this.domain)
  }

  /**
   * Virtual CPUs that the guest was made with (`XEN_DMOP_nr_vcpus`).
   *
   * @throws XenCallError `ERR_XMC_SYSTEM_CALL`: `ENOSYS` for a Xen without device models, `ESRCH` for no such
   * domain, `EPERM` when this domain may not be its device model
   * @throws ClosedError `ERR_XMC_CLOSED`
   */
  get virtualCpus(): number {
    this.#requireOpen()
    const result = this.#operations.virtualCpus()
    if (result < 0) {
      throw this.#refused('virtual CPUs', `of domain ${this.domain}`, -result)
    }
    return result
  }

  /** The servers that were made or adopted here and are not destroyed. */
  get ioreqServers(): readonly IoreqServer[] {
    return [...this.#servers]
  }

  /**
   * Makes a server: not enabled, without ranges (`XEN_DMOP_create_ioreq_server`), its page of slots mapped.
   *
   * @throws XenCallError `ERR_XMC_SYSTEM_CALL`: `ENOSPC` when the guest has as many as Xen allows, 8; `ENOSYS`,
   * `ESRCH`, `EPERM` as `virtualCpus`
   * @throws ClosedError `ERR_XMC_CLOSED`
   */
  createIoreqServer(): IoreqServer {
    this.#requireOpen()
    const id = this.#operations.createIoreqServer()
    if (id < 0) throw this.#refused('ioreq server create', `for domain ${this.domain}`, -id)
    try {
      const page = IoreqServerPage.map(this.#device, this.domain, id)
      if (typeof page === 'number') {
        throw this.#refused('ioreq page map', `of server ${id} of domain ${this.domain}`, -page)
      }
      try {
        this.#publishPorts(id)
        return this.#add(id, page, false)
      } catch (error) {
        page.close()
        throw error
      }
    } catch (error) {
      // It must not stay behind; what it could be refused for matters less than why it failed.
      this.#operations.destroyIoreqServer(id)
      throw error
    }
  }

  /**
   * Takes over a server of this guest that a process of this domain made and did not live to destroy, as
   * after SIGKILL; undefined when there is none. It has the ranges that it had, is enabled if it was, and
   * a virtual CPU may be waiting in it: a request whose slot is in process was taken and never answered.
   * Of several, the others are destroyed.
   *
   * A server counts as abandoned when nobody is bound to the event channel of its first virtual CPU; one
   * that another process is about to bind to would count, too.
   *
   * @throws XenCallError `ERR_XMC_SYSTEM_CALL`: `ENOSYS`, `ESRCH`, `EPERM` as `virtualCpus`
   * @throws ClosedError `ERR_XMC_CLOSED`
   */
  adoptIoreqServer(): IoreqServer | undefined {
    this.#requireOpen()
    let adopted: IoreqServer | undefined
    for (let id = 0; id < MAXIMUM_SERVERS; id++) {
      if ([...this.#servers].some((server) => server.id === id)) continue
      const page = IoreqServerPage.map(this.#device, this.domain, id)
      if (page === -ENOENT || page === -EPERM) continue
      if (typeof page === 'number') {
        throw this.#refused('ioreq page map', `of server ${id} of domain ${this.domain}`, -page)
      }
      if (!this.#isAbandoned(page)) {
        page.close()
      } else if (adopted === undefined) {
        adopted = this.#add(id, page, true)
      } else {
        page.close()
        const result = this.#operations.destroyIoreqServer(id)
        if (result < 0) throw ioreqRefusal('ioreq server destroy', this.domain, id, -result)
      }
    }
    return adopted
  }

  /**
   * Drives a shared peripheral interrupt of the guest, from 32 on (`XEN_DMOP_set_irq_level`).
   *
   * @throws XenCallError `ERR_XMC_SYSTEM_CALL`: `EINVAL` for a line that is none, that the guest does not have, or
   * that is a device's of the machine; `ENOSYS`, `ESRCH`, `EPERM` as `virtualCpus`
   * @throws ClosedError `ERR_XMC_CLOSED`
   */
  setInterruptLevel(line: number, high: boolean): void {
    this.#requireOpen()
    const detail = `line ${line} of domain ${this.domain}`
    if (line >>> 0 !== line) throw this.#refused('interrupt level', detail, EINVAL)
    const result = this.#operations.setIrqLevel(line, high)
    if (result < 0) throw this.#refused('interrupt level', detail, -result)
  }

  /** Destroys its servers and closes its device. A second call does nothing. @throws what a destroy is refused with */
  close(): void {
    if (this.#device.isClosed) return
    this.#onClose(this)
    const errors: unknown[] = []
    for (const server of this.#servers) {
      try {
        server.destroy()
      } catch (error) {
        if (!isGone(error)) errors.push(error)
      }
    }
    this.#device.close()
    if (errors.length > 0) throw errors[0]
  }

  /** The same as {@link DeviceModel.close}. */
  [Symbol.dispose](): void {
    this.close()
  }

  /** Xen writes the ports of the virtual CPUs into the slots when a server is first enabled; without ranges it gets nothing. */
  #publishPorts(id: number): void {
    for (const enabled of [true, false]) {
      const result = this.#operations.setIoreqServerState(id, enabled)
      if (result < 0) throw ioreqRefusal('ioreq server state', this.domain, id, -result)
    }
  }

  #isAbandoned(page: IoreqServerPage): boolean {
    const remotePort = page.port(0)
    // It was killed between making the server and enabling it.
    if (remotePort === 0) return true
    try {
      const port = this.#eventChannels.bindInterdomain(this.#own, this.domain, remotePort)
      this.#eventChannels.close(this.#own, port)
      return true
    } catch (error) {
      if (error instanceof SystemCallError && error.errno === EINVAL) return false
      throw error
    }
  }

  #add(id: number, page: IoreqServerPage, adopted: boolean): IoreqServer {
    if (adopted && page.port(0) === 0) this.#publishPorts(id)
    const server = new IoreqServer(this.#operations, this.domain, id, page, adopted, (gone) => {
      this.#servers.delete(gone)
    })
    this.#servers.add(server)
    return server
  }

  #refused(
    operation: 'virtual CPUs' | 'ioreq server create' | 'ioreq page map' | 'interrupt level',
    detail: string,
    errno: number,
  ): XenCallError {
    return new XenCallError({ operation, domain: this.domain, detail }, errno)
  }

  #requireOpen(): void {
    if (this.#device.isClosed) throw new ClosedError(`the device model of domain ${this.domain}`)
  }
}

/** True for the errors of a server that went with its guest. */
function isGone(error: unknown): boolean {
  return error instanceof SystemCallError && ['ENOENT', 'ESRCH'].includes(error.errnoName)
}
