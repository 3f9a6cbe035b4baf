import type { DomainId } from '@xmc/interface'
import {
  type EventChannelHost,
  EventChannels,
  type EventChannelsOptions,
} from '../event-channels.ts'
import type { FaultSite } from '../faults.ts'
import { type InterruptHost, InterruptLines, type InterruptLinesOptions } from '../interrupts.ts'
import { type IoreqServer, IoreqServers, type IoreqServersOptions } from '../ioreq.ts'

/** Counts a call, and throws where a fault is to be injected. */
export type Guard = (site: FaultSite, call: string) => void

/** Event channels whose calls can be told to fail. */
export class GuardedEventChannels extends EventChannels {
  readonly #guard: Guard

  constructor(host: EventChannelHost, options: EventChannelsOptions, guard: Guard) {
    super(host, options)
    this.#guard = guard
  }

  override allocateUnbound(domain: DomainId, remote: DomainId): number {
    this.#guard('event.bind', 'event channel allocate unbound')
    return super.allocateUnbound(domain, remote)
  }

  override bindInterdomain(domain: DomainId, remote: DomainId, remotePort: number): number {
    this.#guard('event.bind', 'event channel bind interdomain')
    return super.bindInterdomain(domain, remote, remotePort)
  }

  override send(domain: DomainId, port: number): void {
    this.#guard('event.send', 'event channel send')
    super.send(domain, port)
  }
}

/** Interrupt lines whose calls can be told to fail. */
export class GuardedInterruptLines extends InterruptLines {
  readonly #guard: Guard

  constructor(host: InterruptHost, options: InterruptLinesOptions, guard: Guard) {
    super(host, options)
    this.#guard = guard
  }

  override setLevel(domain: DomainId, line: number, level: boolean): void {
    this.#guard('interrupt.set', 'set interrupt level')
    super.setLevel(domain, line, level)
  }
}

/** Ioreq servers whose creation can be told to fail. */
export class GuardedIoreqServers extends IoreqServers {
  readonly #guard: Guard

  constructor(options: IoreqServersOptions, guard: Guard) {
    super(options)
    this.#guard = guard
  }

  override create(emulator: DomainId): IoreqServer {
    this.#guard('ioreq.create', 'create ioreq server')
    return super.create(emulator)
  }
}
