import {
  type DomainId,
  IOREQ_STATE,
  type Ioreq,
  readIoreq,
  setIoreqEventChannel,
  setIoreqState,
  writeIoreq,
  XmcError,
} from '@xmc/interface'
import type { EventChannels } from '../event-channels.ts'
import { refused } from './errno.ts'
import { type AddressRange, RangeSet } from './range-set.ts'

/** Ranges that one server can have. */
const MAXIMUM_RANGES = 256

const MAXIMUM_ADDRESS = 2n ** 64n - 1n

/**
 * `ERR_XMC_IOREQ_ABORTED`: an access will not be answered: its server was destroyed, its domain died, or
 * the slot came into a state that it cannot come into, for which Xen crashes the guest.
 */
export class IoreqAbortedError extends XmcError {
  readonly domain: DomainId
  /** Number of the server in its domain. */
  readonly server: number
  readonly vcpu: number

  constructor(domain: DomainId, server: number, vcpu: number, reason: string) {
    super(
      'ERR_XMC_IOREQ_ABORTED',
      `access of virtual CPU ${vcpu} of domain ${domain} to ioreq server ${server} was not answered: ${reason}`,
    )
    this.domain = domain
    this.server = server
    this.vcpu = vcpu
  }
}

/**
 * One ioreq server: a page of request slots, the ranges it serves, and an event channel for each
 * virtual CPU. After {@link IoreqServer.destroy}, or the guest's death, its calls are refused with `ENOENT`.
 */
export interface IoreqServer {
  /** Number of the server in its guest, 0 to 7. */
  readonly id: number
  /** The guest whose accesses it serves. */
  readonly domain: DomainId
  /** The domain of the device model. */
  readonly emulator: DomainId
  /** The slots: 4,096 bytes that Xen and the device model share and the guest cannot reach. */
  readonly page: DataView
  /** Whether accesses are given to it. */
  readonly enabled: boolean
  /** What it serves, in order; ranges that touch are shown as one. */
  readonly ranges: readonly AddressRange[]
  /**
   * The guest's port for a virtual CPU, which the slot names too: the device model binds to it, is
   * signalled when a request is ready, and signals when it has answered.
   *
   * @throws SystemCallError `ERR_XMC_SYSTEM_CALL`: `ENOENT`, `EINVAL` when there is no such virtual CPU
   */
  eventChannel(vcpu: number): number
  /**
   * Serves guest addresses from `start` to `end`, both included, 0 to 2^64 − 1.
   *
   * @throws SystemCallError `ERR_XMC_SYSTEM_CALL`: `EINVAL` for a range that is none, `EEXIST` when the server
   * serves a part of it already, `ENOMEM` beyond 256 ranges, `ENOENT`
   */
  mapIoRange(start: bigint, end: bigint): void
  /**
   * Serves `start` to `end` no more.
   *
   * @throws SystemCallError `ERR_XMC_SYSTEM_CALL`: `EINVAL` for a range that is none, `ENOENT` when the server
   * does not serve all of it
   */
  unmapIoRange(start: bigint, end: bigint): void
  /**
   * Lets accesses come.
   *
   * @throws SystemCallError `ERR_XMC_SYSTEM_CALL`: `ENOENT`
   */
  enable(): void
  /**
   * Lets no further access come; one that waits can still be answered.
   *
   * @throws SystemCallError `ERR_XMC_SYSTEM_CALL`: `ENOENT`
   */
  disable(): void
  /**
   * Closes the event channels and rejects accesses that wait with {@link IoreqAbortedError}.
   *
   * @throws SystemCallError `ERR_XMC_SYSTEM_CALL`: `ENOENT`
   */
  destroy(): void
}

interface ServerSettings {
  readonly id: number
  readonly domain: DomainId
  readonly emulator: DomainId
  readonly vcpus: number
  readonly eventChannels: EventChannels
  /** Called once, when the server is gone. */
  readonly forget: () => void
}

interface Waiter {
  readonly resolve: (data: bigint) => void
  readonly reject: (error: IoreqAbortedError) => void
}

/** Xen's side of an {@link IoreqServer}. */
export class Server implements IoreqServer {
  readonly id: number
  readonly domain: DomainId
  readonly emulator: DomainId
  readonly page: DataView = new DataView(new ArrayBuffer(4096))
  readonly #eventChannels: EventChannels
  readonly #forget: () => void
  /** Port of each virtual CPU. What the slots name is for the device model, which can overwrite it. */
  readonly #ports: number[] = []
  readonly #ranges = new RangeSet()
  readonly #waiters = new Map<number, Waiter>()
  #enabled = false
  #destroyed = false

  constructor({ id, domain, emulator, vcpus, eventChannels, forget }: ServerSettings) {
    this.id = id
    this.domain = domain
    this.emulator = emulator
    this.#eventChannels = eventChannels
    this.#forget = forget
    try {
      for (let vcpu = 0; vcpu < vcpus; vcpu++) this.#openPort(vcpu)
    } catch (error) {
      this.#closePorts()
      throw error
    }
  }

  get enabled(): boolean {
    return this.#enabled
  }

  get ranges(): readonly AddressRange[] {
    return this.#ranges.ranges
  }

  eventChannel(vcpu: number): number {
    const call = 'ioreq server event channel'
    this.#requireAlive(call)
    const port = this.#ports[vcpu]
    if (port === undefined) {
      throw refused(call, 'EINVAL', `domain ${this.domain} has no virtual CPU ${vcpu}`)
    }
    return port
  }

  mapIoRange(start: bigint, end: bigint): void {
    const call = 'map I/O range'
    this.#requireAlive(call)
    requireRange(call, start, end)
    if (this.#ranges.overlaps(start, end)) {
      throw refused(
        call,
        'EEXIST',
        `server ${this.id} serves a part of ${describe(start, end)}: unmap that first`,
      )
    }
    if (this.#ranges.ranges.length >= MAXIMUM_RANGES) {
      throw refused(call, 'ENOMEM', `server ${this.id} has ${MAXIMUM_RANGES} ranges, the limit`)
    }
    this.#ranges.add(start, end)
  }

  unmapIoRange(start: bigint, end: bigint): void {
    const call = 'unmap I/O range'
    this.#requireAlive(call)
    requireRange(call, start, end)
    if (!this.#ranges.contains(start, end)) {
      throw refused(
        call,
        'ENOENT',
        `server ${this.id} does not serve all of ${describe(start, end)}`,
      )
    }
    this.#ranges.remove(start, end)
  }

  enable(): void {
    this.#requireAlive('enable ioreq server')
    this.#enabled = true
  }

  disable(): void {
    this.#requireAlive('disable ioreq server')
    this.#enabled = false
  }

  destroy(): void {
    this.#requireAlive('destroy ioreq server')
    this.abort('the server was destroyed')
  }

  /** Destroys the server, and says why to those who wait. */
  abort(reason: string): void {
    this.#destroyed = true
    this.#enabled = false
    this.#closePorts()
    for (const [vcpu, { reject }] of this.#waiters) {
      reject(new IoreqAbortedError(this.domain, this.id, vcpu, reason))
    }
    this.#waiters.clear()
    this.#forget()
  }

  /** True when an access to `first` to `last` goes to this server. */
  claims(first: bigint, last: bigint): boolean {
    return this.#enabled && this.#ranges.contains(first, last)
  }

  /** The requests that wait for an answer. */
  pending(): { server: number; vcpu: number; request: Ioreq }[] {
    return [...this.#waiters.keys()].map((vcpu) => ({
      server: this.id,
      vcpu,
      request: readIoreq(this.page, vcpu),
    }))
  }

  /** Puts a request into a virtual CPU's slot and resolves with the slot's data once it is answered. */
  async request(vcpu: number, ioreq: Omit<Ioreq, 'eventChannel'>): Promise<bigint> {
    const port = this.eventChannel(vcpu)
    const { state } = readIoreq(this.page, vcpu)
    if (state !== IOREQ_STATE.none) throw this.#unexpected(vcpu, state)
    writeIoreq(this.page, vcpu, ioreq)
    try {
      this.#eventChannels.send(this.domain, port)
    } catch (error) {
      setIoreqState(this.page, vcpu, IOREQ_STATE.none)
      throw error
    }
    return await new Promise<bigint>((resolve, reject) => {
      this.#waiters.set(vcpu, { resolve, reject })
    })
  }

  /** The device model has signalled. Its slot is read once. */
  #signalled(vcpu: number): void {
    const waiter = this.#waiters.get(vcpu)
    if (!waiter) return
    const { state, data } = readIoreq(this.page, vcpu)
    if (state === IOREQ_STATE.ready || state === IOREQ_STATE.in_process) return
    this.#waiters.delete(vcpu)
    setIoreqState(this.page, vcpu, IOREQ_STATE.none)
    if (state === IOREQ_STATE.response_ready) waiter.resolve(data)
    // A device model that goes away may clear its slot: Xen then completes the access with ones.
    else if (state === IOREQ_STATE.none) waiter.resolve(MAXIMUM_ADDRESS)
    else waiter.reject(this.#unexpected(vcpu, state))
  }

  #openPort(vcpu: number): void {
    const port = this.#eventChannels.allocateUnbound(this.domain, this.emulator)
    this.#ports.push(port)
    setIoreqEventChannel(this.page, vcpu, port)
    this.#eventChannels.setHandler(this.domain, port, () => this.#signalled(vcpu))
  }

  #closePorts(): void {
    for (const port of this.#ports) {
      if (this.#eventChannels.isOpen(this.domain, port))
        this.#eventChannels.close(this.domain, port)
    }
  }

  #unexpected(vcpu: number, state: number): IoreqAbortedError {
    const reason = `its slot is in state ${state}, which no device model may leave there`
    return new IoreqAbortedError(this.domain, this.id, vcpu, reason)
  }

  #requireAlive(call: string): void {
    if (this.#destroyed) throw refused(call, 'ENOENT', `server ${this.id} was destroyed`)
  }
}

function requireRange(call: string, start: bigint, end: bigint): void {
  if (start < 0n || end < start || end > MAXIMUM_ADDRESS) {
    throw refused(call, 'EINVAL', `${describe(start, end)} is not a range of 64-bit addresses`)
  }
}

function describe(start: bigint, end: bigint): string {
  return `0x${start.toString(16)} to 0x${end.toString(16)}`
}
