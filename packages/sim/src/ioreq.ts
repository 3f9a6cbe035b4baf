import {
  type DomainId,
  InvalidArgumentError,
  IOREQ_SLOTS_PER_PAGE,
  IOREQ_STATE,
  IOREQ_TYPE,
  type Ioreq,
} from '@xmc/interface'
import type { EventChannels } from './event-channels.ts'
import { refused } from './internal/errno.ts'
import { type IoreqServer, Server } from './internal/ioreq-server.ts'

export { IoreqAbortedError, type IoreqServer } from './internal/ioreq-server.ts'
export type { AddressRange } from './internal/range-set.ts'

/** Servers that one domain can have. */
const MAXIMUM_SERVERS = 8

const ALL_ONES = 2n ** 64n - 1n

/** One access of a guest's virtual CPU to memory-mapped I/O. */
export interface IoAccess {
  /** Guest address, 0 to 2^64 − 1. */
  readonly address: bigint
  /** Bytes. */
  readonly size: 1 | 2 | 4 | 8
  readonly write: boolean
  /** The value to write; bits beyond `size` are dropped. Default 0. */
  readonly data?: bigint
  /** Which virtual CPU. Default 0. */
  readonly vcpu?: number
}

/** An access that waits for a device model, for accounting. */
export interface PendingIoAccess {
  readonly server: number
  readonly vcpu: number
  readonly request: Ioreq
}

/** Settings of the ioreq servers of a domain. */
export interface IoreqServersOptions {
  /** The guest. */
  readonly domain: DomainId
  /** Its virtual CPUs, 1 to 128. Default 1. */
  readonly vcpus?: number
  /** The channels by which a server is told of requests. */
  readonly eventChannels: EventChannels
}

/**
 * The ioreq servers of one guest: where device models answer its memory-mapped I/O, as Xen's
 * device-model operations and its public `hvm/ioreq.h` describe.
 */
export class IoreqServers {
  readonly #domain: DomainId
  readonly #vcpus: number
  readonly #eventChannels: EventChannels
  readonly #servers = new Map<number, Server>()
  /** The last access of each virtual CPU: a CPU does one thing after the other. */
  readonly #queues: Promise<unknown>[]
  #dead = false

  /** @throws InvalidArgumentError `ERR_XMC_ARGUMENT` for a number of virtual CPUs out of range */
  constructor({ domain, vcpus = 1, eventChannels }: IoreqServersOptions) {
    if (!Number.isInteger(vcpus) || vcpus < 1 || vcpus > IOREQ_SLOTS_PER_PAGE) {
      throw new InvalidArgumentError('vcpus', `an integer from 1 to ${IOREQ_SLOTS_PER_PAGE}`, vcpus)
    }
    this.#domain = domain
    this.#vcpus = vcpus
    this.#eventChannels = eventChannels
    this.#queues = Array.from({ length: vcpus }, () => Promise.resolve())
  }

  /**
   * Makes a server for a device model that runs in `emulator` (`XEN_DMOP_create_ioreq_server`), not
   * enabled, without ranges. For each virtual CPU the guest gets an event channel offered to `emulator`,
   * which its slot names: bind to it, then serve the slot whenever it signals.
   *
   * @throws SystemCallError `ERR_XMC_SYSTEM_CALL`: `ENOSPC` when the guest has 8 servers or no port is free,
   * `ESRCH` when a domain does not exist
   */
  create(emulator: DomainId): IoreqServer {
    const call = 'create ioreq server'
    this.#requireAlive(call)
    let id = 0
    while (this.#servers.has(id)) id++
    if (id >= MAXIMUM_SERVERS) {
      throw refused(call, 'ENOSPC', `domain ${this.#domain} has ${MAXIMUM_SERVERS} servers already`)
    }
    const server = new Server({
      id,
      domain: this.#domain,
      emulator,
      vcpus: this.#vcpus,
      eventChannels: this.#eventChannels,
      forget: () => this.#servers.delete(id),
    })
    this.#servers.set(id, server)
    return server
  }

  /** The servers there are, in order of number. */
  servers(): IoreqServer[] {
    return this.#ordered()
  }

  /**
   * An access by a virtual CPU of the guest. Resolves with the value read, or 0 for a write, after the
   * device model has answered; accesses of one virtual CPU happen one after the other.
   *
   * An access that lies in no range of an enabled server reads as all ones and writes nothing, as Xen
   * does on x86; on Arm Xen gives such a guest a data abort instead.
   *
   * @throws InvalidArgumentError `ERR_XMC_ARGUMENT` for an address, size or virtual CPU out of range
   * @throws IoreqAbortedError `ERR_XMC_IOREQ_ABORTED` when no answer will come
   * @throws SystemCallError `ERR_XMC_SYSTEM_CALL`: `ESRCH` when the guest is dead
   */
  async access(access: IoAccess): Promise<bigint> {
    const { address, size, write, data = 0n, vcpu = 0 } = access
    if (![1, 2, 4, 8].includes(size)) {
      throw new InvalidArgumentError('size', '1, 2, 4 or 8', size)
    }
    const last = address + BigInt(size) - 1n
    if (address < 0n || last > ALL_ONES) {
      throw new InvalidArgumentError('address', 'an integer from 0 to 2^64 - 1', address)
    }
    const mask = 2n ** BigInt(size * 8) - 1n
    return await this.#enqueue(vcpu, async () => {
      this.#requireAlive('access')
      const server = this.#ordered().find((candidate) => candidate.claims(address, last))
      if (!server) return write ? 0n : mask
      const answer = await server.request(vcpu, {
        address,
        data: write ? data & mask : 0n,
        count: 1,
        size,
        state: IOREQ_STATE.ready,
        dataIsPointer: false,
        write,
        type: IOREQ_TYPE.copy,
      })
      return write ? 0n : answer & mask
    })
  }

  /**
   * Tells every enabled server to drop what it has mapped of the guest (`IOREQ_TYPE_INVALIDATE`), in
   * the slot of one virtual CPU, and resolves when all have answered.
   *
   * @throws InvalidArgumentError `ERR_XMC_ARGUMENT` when there is no such virtual CPU
   * @throws IoreqAbortedError `ERR_XMC_IOREQ_ABORTED` when an answer will not come
   */
  async broadcastInvalidate(vcpu = 0): Promise<void> {
    await this.#enqueue(vcpu, async () => {
      const request = {
        address: 0n,
        data: ALL_ONES,
        count: 0,
        size: 4,
        state: IOREQ_STATE.ready,
        dataIsPointer: false,
        write: true,
        type: IOREQ_TYPE.invalidate,
      }
      const enabled = this.#ordered().filter((server) => server.enabled)
      await Promise.all(enabled.map((server) => server.request(vcpu, request)))
    })
  }

  /** Every access that waits for an answer. */
  pending(): PendingIoAccess[] {
    return this.#ordered().flatMap((server) => server.pending())
  }

  /** Destroys all servers of a guest that died; there will be no others. */
  removeDomain(): void {
    this.#dead = true
    for (const server of this.#ordered()) server.abort(`domain ${this.#domain} died`)
  }

  #ordered(): Server[] {
    return [...this.#servers.values()].toSorted((a, b) => a.id - b.id)
  }

  #requireAlive(call: string): void {
    if (this.#dead) throw refused(call, 'ESRCH', `domain ${this.#domain} is dead`)
  }

  #enqueue<Result>(vcpu: number, run: () => Promise<Result>): Promise<Result> {
    const before = this.#queues[vcpu]
    if (!before) {
      throw new InvalidArgumentError('vcpu', `an integer from 0 to ${this.#vcpus - 1}`, vcpu)
    }
    // The access before may have failed; its caller knows, and this one goes on.
    const result = before.then(run, run)
    this.#queues[vcpu] = result
    return result
  }
}
