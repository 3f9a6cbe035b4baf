import type { DomainId } from '@xmc/interface'
import { refused } from './internal/errno.ts'
import {
  callHandler,
  type Handler,
  type HandlerErrorListener,
  warnOfHandlerError,
} from './internal/handler.ts'

/** What the event channels ask of the hypervisor around them. */
export interface EventChannelHost {
  /** True while the domain lives. */
  domainExists(domain: DomainId): boolean
}

/** Limits of the event channels. */
export interface EventChannelsOptions {
  /** Ports of one domain, port 0 included, which is never given out. Default 4,096. */
  readonly maximumPorts?: number
  /** Is told what a handler threw; by default a warning of the process is emitted. */
  readonly onHandlerError?: HandlerErrorListener
}

/** An open channel end, for accounting. */
export interface OpenEventChannel {
  readonly domain: DomainId
  readonly port: number
  /** The domain at the other end, or the one that may bind to this end. */
  readonly remote: DomainId
  /** Port of the other end; undefined while unbound. */
  readonly remotePort: number | undefined
  readonly pending: boolean
  readonly masked: boolean
}

interface Channel {
  readonly domain: DomainId
  readonly port: number
  remote: DomainId
  peer: Channel | undefined
  pending: boolean
  masked: boolean
  scheduled: boolean
  handler: Handler | undefined
}

/**
 * The event channels of one hypervisor.
 *
 * An event is one bit: sends that come before the handler ran are one call of it. Handlers run from
 * `setImmediate`, never inside `send`, so that a sender goes on first, as with a real interrupt, and
 * two ends that answer each other do not keep the event loop from timers and files. The bit is cleared
 * just before the handler runs; a send from inside it brings another call.
 *
 * Refusals are Xen's: `SystemCallError` (`ERR_XMC_SYSTEM_CALL`) with `errnoName` `ESRCH` for a domain that
 * does not exist, `EINVAL` for a port that is not open or not fit, `ENOSPC` when no port is free.
 */
export class EventChannels {
  readonly #host: EventChannelHost
  readonly #maximumPorts: number
  readonly #onHandlerError: HandlerErrorListener
  readonly #domains = new Map<DomainId, Map<number, Channel>>()

  constructor(host: EventChannelHost, options: EventChannelsOptions = {}) {
    this.#host = host
    this.#maximumPorts = options.maximumPorts ?? 4096
    this.#onHandlerError = options.onHandlerError ?? warnOfHandlerError
  }

  /**
   * Opens a port of `domain` that `remote` may bind to (`EVTCHNOP_alloc_unbound`). Returns the lowest
   * free port, from 1. `remote` may be `domain` itself.
   *
   * @throws SystemCallError `ESRCH`, `ENOSPC`
   */
  allocateUnbound(domain: DomainId, remote: DomainId): number {
    const call = 'event channel allocate unbound'
    this.#requireDomain(call, domain)
    this.#requireDomain(call, remote)
    return this.#open(call, domain, remote).port
  }

  /**
   * Opens a port of `domain` and connects it with an unbound port that `remote` offers it
   * (`EVTCHNOP_bind_interdomain`). The new port is pending at once: events may have been lost while the
   * other end was unbound.
   *
   * @throws SystemCallError `ESRCH`; `ENOSPC`; `EINVAL` when the remote port is not open, already
   * bound, or offered to another domain
   */
  bindInterdomain(domain: DomainId, remote: DomainId, remotePort: number): number {
    const call = 'event channel bind interdomain'
    this.#requireDomain(call, domain)
    this.#requireDomain(call, remote)
    const offered = this.#domains.get(remote)?.get(remotePort)
    if (!offered || offered.peer || offered.remote !== domain) {
      throw refused(
        call,
        'EINVAL',
        `port ${remotePort} of domain ${remote} is not unbound and offered to domain ${domain}`,
      )
    }
    const channel = this.#open(call, domain, remote)
    channel.peer = offered
    offered.peer = channel
    this.#setPending(channel)
    return channel.port
  }

  /**
   * Signals the other end (`EVTCHNOP_send`). On an unbound port the event is lost without an error.
   *
   * @throws SystemCallError `EINVAL` when the port is not open
   */
  send(domain: DomainId, port: number): void {
    const { peer } = this.#require('event channel send', domain, port)
    if (peer) this.#setPending(peer)
  }

  /**
   * Closes a port (`EVTCHNOP_close`). The other end becomes unbound, offered to `domain` again. A
   * handler call that was due does not come any more.
   *
   * @throws SystemCallError `EINVAL` when the port is not open
   */
  close(domain: DomainId, port: number): void {
    const channel = this.#require('event channel close', domain, port)
    this.#domains.get(domain)?.delete(port)
    this.#shut(channel)
  }

  /**
   * Holds events of a port back; they stay pending.
   *
   * @throws SystemCallError `EINVAL` when the port is not open
   */
  mask(domain: DomainId, port: number): void {
    this.#require('event channel mask', domain, port).masked = true
  }

  /**
   * Lets events through again (`EVTCHNOP_unmask`); one that is pending is delivered now.
   *
   * @throws SystemCallError `EINVAL` when the port is not open
   */
  unmask(domain: DomainId, port: number): void {
    const channel = this.#require('event channel unmask', domain, port)
    channel.masked = false
    this.#schedule(channel)
  }

  /**
   * Sets what is called when an event arrives at a port, or takes it away. An event that is pending is
   * delivered to a new handler.
   *
   * @throws SystemCallError `EINVAL` when the port is not open
   */
  setHandler(domain: DomainId, port: number, handler: Handler | undefined): void {
    const channel = this.#require('event channel set handler', domain, port)
    channel.handler = handler
    this.#schedule(channel)
  }

  /**
   * True while an event waits at a port for its handler.
   *
   * @throws SystemCallError `EINVAL` when the port is not open
   */
  isPending(domain: DomainId, port: number): boolean {
    return this.#require('event channel pending', domain, port).pending
  }

  /** True while a port is open, bound or not. */
  isOpen(domain: DomainId, port: number): boolean {
    return this.#domains.get(domain)?.has(port) ?? false
  }

  /** Closes every port of a domain that died. */
  removeDomain(domain: DomainId): void {
    const channels = this.#domains.get(domain)
    this.#domains.delete(domain)
    for (const channel of channels?.values() ?? []) this.#shut(channel)
  }

  /** Every open port. */
  *channels(): IterableIterator<OpenEventChannel> {
    for (const channels of this.#domains.values()) {
      for (const { domain, port, remote, peer, pending, masked } of channels.values()) {
        yield { domain, port, remote, remotePort: peer?.port, pending, masked }
      }
    }
  }

  #open(call: string, domain: DomainId, remote: DomainId): Channel {
    let channels = this.#domains.get(domain)
    if (!channels) {
      channels = new Map()
      this.#domains.set(domain, channels)
    }
    let port = 1
    while (channels.has(port)) port++
    if (port >= this.#maximumPorts) {
      throw refused(
        call,
        'ENOSPC',
        `all ${this.#maximumPorts - 1} ports of domain ${domain} are open: close some`,
      )
    }
    const channel: Channel = {
      domain,
      port,
      remote,
      peer: undefined,
      pending: false,
      masked: false,
      scheduled: false,
      handler: undefined,
    }
    channels.set(port, channel)
    return channel
  }

  #shut(channel: Channel): void {
    const { peer } = channel
    channel.peer = undefined
    channel.pending = false
    channel.handler = undefined
    if (peer) {
      peer.peer = undefined
      peer.remote = channel.domain
    }
  }

  #setPending(channel: Channel): void {
    channel.pending = true
    this.#schedule(channel)
  }

  #schedule(channel: Channel): void {
    if (channel.scheduled || !isDeliverable(channel)) return
    channel.scheduled = true
    setImmediate(() => {
      channel.scheduled = false
      if (!isDeliverable(channel)) return
      channel.pending = false
      callHandler(channel.handler, this.#onHandlerError)
    })
  }

  #requireDomain(call: string, domain: DomainId): void {
    if (!this.#host.domainExists(domain)) {
      throw refused(call, 'ESRCH', `domain ${domain} does not exist`)
    }
  }

  #require(call: string, domain: DomainId, port: number): Channel {
    const channel = this.#domains.get(domain)?.get(port)
    if (!channel) throw refused(call, 'EINVAL', `port ${port} of domain ${domain} is not open`)
    return channel
  }
}

function isDeliverable(channel: Channel): channel is Channel & { readonly handler: Handler } {
  return channel.pending && !channel.masked && channel.handler !== undefined
}
