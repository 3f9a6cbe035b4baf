import {
  ClosedError,
  checkOptions,
  type DomainId,
  domainId,
  InvalidArgumentError,
  kindOfError,
  messageOf,
  ReportLimiter,
} from '@xmc/interface'
import { DeviceModel } from './device-model.ts'
import { Domains } from './domain-information.ts'
import { EventChannels, type HandlerErrorListener } from './event-channels.ts'
import { ForeignDevice } from './foreign-device.ts'
import { GrantDevice } from './grant-device.ts'
import { Device } from './internal/device.ts'
import { GNTALLOC_PATH } from './internal/gntalloc.ts'
import type { PagingRetry } from './internal/paging-retry.ts'
import { type SystemCalls, systemCalls } from './internal/system-calls.ts'
import { SharedPages, type SharePagesOptions } from './shared-pages.ts'

/** Habits of a program's access to Xen. */
export interface HypervisorOptions {
  /** The domain that this program runs in. Default 0, the control domain. */
  readonly domain?: number | undefined
  /**
   * How the asynchronous foreign maps wait for pages that are paged out. Default: 255 retries, the nth
   * after n ms, which is about 32 s, as Linux does it for grants.
   */
  readonly pagingRetry?:
    | {
        readonly intervalMilliseconds?: number | undefined
        readonly attempts?: number | undefined
      }
    | undefined
  /** Is told what an event handler threw. Default: a warning of the process. */
  readonly onHandlerError?: HandlerErrorListener | undefined
}

/** Name of a device in messages. */
export interface DeviceOptions {
  /** Default `foreign` or `grants`. */
  readonly name?: string | undefined
}

/**
 * The Xen that this machine runs on, by the same names as the simulator's `Hypervisor`: a program goes
 * from one to the other by its constructor. Nothing is opened before it is asked for, so one can be
 * made anywhere; on a machine without Xen the first use throws `ERR_XMC_XEN_UNAVAILABLE`.
 */
export class Hypervisor {
  /** The domain of this program. */
  readonly domain: DomainId
  /** The event channels of this program. */
  readonly eventChannels: EventChannels
  readonly #calls: () => SystemCalls
  readonly #pagingRetry: PagingRetry
  readonly #open = new Set<{ close(): void }>()
  #grantAllocator: Device | undefined
  #closed = false

  /** @throws InvalidArgumentError `ERR_XMC_ARGUMENT` for an option out of range */
  constructor(options?: HypervisorOptions)
  /** @internal */
  constructor(options?: HypervisorOptions, calls?: () => SystemCalls)
  constructor(options: HypervisorOptions = {}, calls: () => SystemCalls = systemCalls) {
    checkOptions('Hypervisor', options, { domain: true, pagingRetry: true, onHandlerError: true })
    this.domain = domainId(options.domain ?? 0)
    this.#calls = calls
    this.#pagingRetry = pagingRetryOf(options)
    const onHandlerError = options.onHandlerError ?? warnOfHandlerError
    this.eventChannels = new EventChannels(calls, this.domain, onHandlerError)
  }

  /**
   * Opens access to the memory of other domains (`/dev/xen/privcmd`).
   *
   * @param caller the domain that maps: this program's, which is the default
   * @throws XenUnavailableError `ERR_XMC_XEN_UNAVAILABLE`
   * @throws InvalidArgumentError `ERR_XMC_ARGUMENT` for another caller than the domain of this program
   * @throws ClosedError `ERR_XMC_CLOSED`
   */
  foreignMemory(caller: number = this.domain, options: DeviceOptions = {}): ForeignDevice {
    checkOptions('foreignMemory', options, { name: true })
    const { name = 'foreign' } = options
    this.#requireOpen(caller)
    const forget = (device: { close(): void }): void => void this.#open.delete(device)
    const device = new ForeignDevice(this.#calls(), name, this.#pagingRetry, forget)
    this.#open.add(device)
    return device
  }

  /**
   * Opens access to pages that other domains granted (`/dev/xen/gntdev`).
   *
   * @param caller the domain that maps: this program's, which is the default
   * @throws XenUnavailableError `ERR_XMC_XEN_UNAVAILABLE`
   * @throws InvalidArgumentError `ERR_XMC_ARGUMENT` for another caller than the domain of this program
   * @throws ClosedError `ERR_XMC_CLOSED`
   */
  grantTable(caller: number = this.domain, options: DeviceOptions = {}): GrantDevice {
    checkOptions('grantTable', options, { name: true })
    const { name = 'grants' } = options
    this.#requireOpen(caller)
    const forget = (device: { close(): void }): void => void this.#open.delete(device)
    const device = new GrantDevice(this.#calls(), name, forget)
    this.#open.add(device)
    return device
  }

  /**
   * Makes pages and grants them to a domain, this program's own included (`/dev/xen/gntalloc`).
   *
   * @throws XenCallError `ERR_XMC_SYSTEM_CALL`: `ENOSPC` over gntalloc's limit of pages
   * @throws XenUnavailableError `ERR_XMC_XEN_UNAVAILABLE`
   * @throws InvalidArgumentError `ERR_XMC_ARGUMENT`
   * @throws ClosedError `ERR_XMC_CLOSED`
   */
  sharePages(options: SharePagesOptions): SharedPages {
    checkOptions('sharePages', options, { to: true, pageCount: true, readonly: true })
    this.#requireOpen(this.domain)
    this.#grantAllocator ??= new Device(this.#calls(), GNTALLOC_PATH)
    const forget = (pages: { close(): void }): void => void this.#open.delete(pages)
    const pages = new SharedPages(this.#grantAllocator, options, forget)
    this.#open.add(pages)
    return pages
  }

  /**
   * Becomes a device model of a guest: ioreq servers for its memory-mapped I/O, and its interrupts.
   *
   * @param domain the guest; whether there is one shows with the first call
   * @throws XenUnavailableError `ERR_XMC_XEN_UNAVAILABLE`
   * @throws InvalidArgumentError `ERR_XMC_ARGUMENT` for a number that is no domain id
   * @throws ClosedError `ERR_XMC_CLOSED`
   */
  deviceModel(domain: number): DeviceModel {
    this.#requireOpen(this.domain)
    const forget = (model: { close(): void }): void => void this.#open.delete(model)
    const { eventChannels, domain: own } = this
    const model = new DeviceModel(this.#calls(), eventChannels, own, domain, forget)
    this.#open.add(model)
    return model
  }

  /**
   * Opens what Xen knows of domains (`/dev/xen/privcmd`, `/dev/xen/hypercall`); the control domain may ask.
   *
   * @throws XenUnavailableError `ERR_XMC_XEN_UNAVAILABLE`
   * @throws ClosedError `ERR_XMC_CLOSED`
   */
  domains(): Domains {
    this.#requireOpen(this.domain)
    const forget = (domains: { close(): void }): void => void this.#open.delete(domains)
    const domains = new Domains(this.#calls(), forget)
    this.#open.add(domains)
    return domains
  }

  /**
   * Closes every device, shared pages and event channel that was opened here. A second call does nothing.
   *
   * @throws the first error of a close; everything else is closed all the same
   */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    const errors: unknown[] = []
    const closing = [...this.#open].map((each) => () => each.close())
    closing.push(() => this.eventChannels[Symbol.dispose]())
    closing.push(() => this.#grantAllocator?.close())
    for (const close of closing) {
      try {
        close()
      } catch (error) {
        errors.push(error)
      }
    }
    if (errors.length > 0) throw errors[0]
  }

  /** The same as {@link Hypervisor.close}. */
  [Symbol.dispose](): void {
    this.close()
  }

  #requireOpen(caller: number): void {
    if (this.#closed) throw new ClosedError('the hypervisor')
    if (caller !== this.domain) {
      const expected = `${this.domain}, the domain of this program`
      throw new InvalidArgumentError('caller', expected, caller)
    }
  }
}

function pagingRetryOf({ pagingRetry = {} }: HypervisorOptions): PagingRetry {
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

/** A guest can make a handler throw as often as it sends an event. */
const warnings = new ReportLimiter<unknown>((error, repeated) => {
  const times = repeated === 0 ? '' : ` (${repeated} times)`
  process.emitWarning(`an event handler threw${times}: ${messageOf(error)}`, 'XmcHandlerError')
})

function warnOfHandlerError(error: unknown): void {
  warnings.report(kindOfError(error), error)
}
