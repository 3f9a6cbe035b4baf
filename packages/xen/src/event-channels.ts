import { constants } from 'node:os'
import { isMainThread } from 'node:worker_threads'
import {
  ClosedError,
  type DomainId,
  domainId,
  InvalidArgumentError,
  RefusedError,
} from '@xmc/interface'
import { XenCallError } from './errors.ts'
import { Device } from './internal/device.ts'
import {
  BIND_INTERDOMAIN,
  BIND_UNBOUND_PORT,
  EVTCHN_PATH,
  NOTIFY,
  UNBIND,
  words,
} from './internal/evtchn.ts'
import { O_NONBLOCK, type SystemCalls } from './internal/system-calls.ts'

/** Reaction to an event; it may be asynchronous. */
export type EventHandler = () => void | Promise<void>

/** Is told what a handler threw or rejected with. */
export type HandlerErrorListener = (error: unknown) => void

/** An open channel end. */
export interface OpenEventChannel {
  /** The domain of this program. */
  readonly domain: DomainId
  readonly port: number
  /** The domain at the other end, or the one that may bind to this end. */
  readonly remote: DomainId
  /** Port of the other end; undefined where this end was offered. */
  readonly remotePort: number | undefined
  readonly pending: boolean
  readonly masked: boolean
}

interface Channel {
  readonly port: number
  readonly remote: DomainId
  readonly remotePort: number | undefined
  /** An event was taken from the kernel, which holds further ones back until it is told to go on. */
  pending: boolean
  masked: boolean
  handler: EventHandler | undefined
}

const { EAGAIN, EINVAL } = constants.errno

/** Ports of one read. */
const PORTS_PER_READ = 256

/**
 * The event channels of this program: one open of `/dev/xen/evtchn`, made when it is first needed. The
 * names and habits are those of the simulator's `EventChannels`.
 *
 * An event is one bit: sends that come before the handler ran are one call of it, or two, since the
 * kernel takes the first from Xen at once. The kernel tells of events by a signal (SIGIO), which takes no
 * thread and does not keep the process alive; handlers run from the event loop. The bit is cleared just
 * before the handler runs; a send from inside it brings another call.
 *
 * # Limitations
 *
 * Works in the main thread only, where Node delivers signals. A port that is open is closed with `close`,
 * with the hypervisor, or with the process.
 */
export class EventChannels {
  readonly #calls: () => SystemCalls
  readonly #domain: DomainId
  readonly #onHandlerError: HandlerErrorListener
  readonly #channels = new Map<number, Channel>()
  #device: Device | undefined
  #closed = false

  /** @internal */
  constructor(calls: () => SystemCalls, domain: DomainId, onHandlerError: HandlerErrorListener) {
    this.#calls = calls
    this.#domain = domain
    this.#onHandlerError = onHandlerError
  }

  /**
   * Opens a port of this domain that `remote` may bind to. `remote` may be this domain itself.
   *
   * @param domain the domain of this program
   * @throws XenCallError `ERR_XMC_SYSTEM_CALL`: `ESRCH` for no such domain, `ENOSPC` when no port is free
   * @throws XenUnavailableError `ERR_XMC_XEN_UNAVAILABLE`
   * @throws InvalidArgumentError `ERR_XMC_ARGUMENT` for another domain than this program's, or a number that
   * is none
   * @throws RefusedError `ERR_XMC_REFUSED` in a worker thread
   * @throws ClosedError `ERR_XMC_CLOSED`
   */
  allocateUnbound(domain: DomainId, remote: DomainId): number {
    this.#requireOwn(domain)
    const device = this.#open()
    const port = device.ioctl(BIND_UNBOUND_PORT, words(domainId(remote)))
    if (port < 0) {
      const detail = `a port for domain ${remote} to bind to`
      throw refused('allocate unbound', remote, detail, -port)
    }
    return this.#add(port, remote, undefined)
  }

  /**
   * Opens a port of this domain and connects it with an unbound port that `remote` offers it. The new
   * port is pending at once: events may have been lost while the other end was unbound.
   *
   * @param domain the domain of this program
   * @throws XenCallError `ERR_XMC_SYSTEM_CALL`: `ESRCH` for no such domain; `ENOSPC`; `EINVAL` when the remote
   * port is not open, already bound, or offered to another domain
   * @throws XenUnavailableError, InvalidArgumentError, RefusedError, ClosedError as `allocateUnbound`
   */
  bindInterdomain(domain: DomainId, remote: DomainId, remotePort: number): number {
    this.#requireOwn(domain)
    requirePort(remotePort)
    const device = this.#open()
    const port = device.ioctl(BIND_INTERDOMAIN, words(domainId(remote), remotePort))
    if (port < 0) {
      const detail = `port ${remotePort} of domain ${remote}`
      throw refused('bind interdomain', remote, detail, -port)
    }
    return this.#add(port, remote, remotePort)
  }

  /**
   * Signals the other end. On an unbound port the event is lost without an error.
   *
   * @throws XenCallError `ERR_XMC_SYSTEM_CALL`: `EINVAL` when the port is not open
   */
  send(domain: DomainId, port: number): void {
    const { remote } = this.#require('send', domain, port)
    const result = this.#open().ioctl(NOTIFY, words(port))
    if (result < 0) throw refused('send', remote, `port ${port}`, -result)
  }

  /**
   * Closes a port. A handler call that was due does not come any more.
   *
   * @throws XenCallError `ERR_XMC_SYSTEM_CALL`: `EINVAL` when the port is not open
   */
  close(domain: DomainId, port: number): void {
    const { remote } = this.#require('close', domain, port)
    this.#channels.delete(port)
    const result = this.#open().ioctl(UNBIND, words(port))
    if (result < 0) throw refused('close', remote, `port ${port}`, -result)
  }

  /**
   * Holds events of a port back; they stay pending.
   *
   * @throws XenCallError `ERR_XMC_SYSTEM_CALL`: `EINVAL` when the port is not open
   */
  mask(domain: DomainId, port: number): void {
    this.#require('mask', domain, port).masked = true
  }

  /**
   * Lets events through again; one that is pending is delivered now, in a later turn of the event loop.
   *
   * @throws XenCallError `ERR_XMC_SYSTEM_CALL`: `EINVAL` when the port is not open
   */
  unmask(domain: DomainId, port: number): void {
    const channel = this.#require('unmask', domain, port)
    channel.masked = false
    this.#deliverLater(channel)
  }

  /**
   * Sets what is called when an event arrives at a port, or takes it away. An event that is pending is
   * delivered to a new handler.
   *
   * @throws XenCallError `ERR_XMC_SYSTEM_CALL`: `EINVAL` when the port is not open
   */
  setHandler(domain: DomainId, port: number, handler: EventHandler | undefined): void {
    const channel = this.#require('set handler', domain, port)
    channel.handler = handler
    this.#deliverLater(channel)
  }

  /**
   * True while an event waits at a port for its handler.
   *
   * @throws XenCallError `ERR_XMC_SYSTEM_CALL`: `EINVAL` when the port is not open
   */
  isPending(domain: DomainId, port: number): boolean {
    const channel = this.#require('pending', domain, port)
    this.#takeEvents()
    return channel.pending
  }

  /** True while a port is open, bound or not. */
  isOpen(domain: DomainId, port: number): boolean {
    return domain === this.#domain && this.#channels.has(port)
  }

  /** Every open port. */
  *channels(): IterableIterator<OpenEventChannel> {
    for (const { port, remote, remotePort, pending, masked } of this.#channels.values()) {
      yield { domain: this.#domain, port, remote, remotePort, pending, masked }
    }
  }

  /** Closes every port and the device. A second call does nothing. @internal */
  [Symbol.dispose](): void {
    this.#closed = true
    this.#channels.clear()
    const device = this.#device
    if (device === undefined) return
    this.#device = undefined
    // In this order a signal finds the process with a handler for it: without one it ends the process.
    try {
      device.calls.signalInput(device.descriptor, false)
      device.close()
    } finally {
      process.removeListener('SIGIO', this.#onSignal)
    }
  }

  #open(): Device {
    if (this.#closed) throw new ClosedError('the event channels')
    if (this.#device !== undefined) return this.#device
    if (!isMainThread) {
      throw new RefusedError(
        'event channels work in the main thread only: Node delivers signals there',
      )
    }
    const device = new Device(this.#calls(), EVTCHN_PATH, O_NONBLOCK)
    process.on('SIGIO', this.#onSignal)
    const result = device.calls.signalInput(device.descriptor, true)
    if (result < 0) {
      process.removeListener('SIGIO', this.#onSignal)
      device.close()
      throw refused('open', undefined, 'the device cannot signal its events', -result)
    }
    this.#device = device
    return device
  }

  readonly #onSignal = (): void => {
    try {
      this.#takeEvents()
    } catch (error) {
      // A throw in a signal handler would end the process.
      this.#onHandlerError(error)
    }
    for (const channel of this.#channels.values()) this.#deliver(channel)
  }

  /** Takes all events from the kernel, which signals again only when there were none left. */
  #takeEvents(): void {
    const device = this.#device
    if (device === undefined) return
    const ports = new Uint32Array(PORTS_PER_READ)
    const bytes = new Uint8Array(ports.buffer)
    for (;;) {
      const read = device.calls.read(device.descriptor, bytes)
      if (read === -EAGAIN || read === 0) return
      if (read < 0) throw refused('read', undefined, 'the ports that have events', -read)
      for (const port of ports.subarray(0, read / 4)) {
        const channel = this.#channels.get(port)
        if (channel !== undefined) channel.pending = true
      }
    }
  }

  #deliverLater(channel: Channel): void {
    if (isDeliverable(channel)) setImmediate(() => this.#deliver(channel))
  }

  #deliver(channel: Channel): void {
    const device = this.#device
    if (device === undefined || !isDeliverable(channel)) return
    if (this.#channels.get(channel.port) !== channel) return
    channel.pending = false
    const result = device.calls.write(device.descriptor, words(channel.port))
    if (result < 0) {
      this.#onHandlerError(refused('unmask', channel.remote, `port ${channel.port}`, -result))
      return
    }
    try {
      channel.handler()?.catch(this.#onHandlerError)
    } catch (error) {
      this.#onHandlerError(error)
    }
  }

  #add(port: number, remote: DomainId, remotePort: number | undefined): number {
    this.#channels.set(port, {
      port,
      remote,
      remotePort,
      pending: false,
      masked: false,
      handler: undefined,
    })
    return port
  }

  #requireOwn(domain: DomainId): void {
    if (domain !== this.#domain) {
      const expected = `${this.#domain}, the domain of this program`
      throw new InvalidArgumentError('domain', expected, domain)
    }
  }

  #require(call: string, domain: DomainId, port: number): Channel {
    const channel = domain === this.#domain ? this.#channels.get(port) : undefined
    if (channel !== undefined) return channel
    throw refused(call, undefined, `port ${port} of domain ${domain} is not open`, EINVAL)
  }
}

function isDeliverable(channel: Channel): channel is Channel & { readonly handler: EventHandler } {
  return channel.pending && !channel.masked && channel.handler !== undefined
}

function requirePort(port: number): void {
  if (port >>> 0 !== port) throw new InvalidArgumentError('port', 'an integer from 0', port)
}

function refused(
  call: string,
  domain: DomainId | undefined,
  detail: string,
  errno: number,
): XenCallError {
  return new XenCallError({ operation: `event channel ${call}`, domain, detail }, errno)
}
