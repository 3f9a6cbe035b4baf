import type { ForeignMemory } from '@xmc/foreign'
import type { GrantTable } from '@xmc/grants'
import type { DomainId } from '@xmc/interface'
import type { RamBank } from '@xmc/memory-region'

/** How a domain stopped running. */
export type DomainEnd = 'shutdown' | 'crashed' | 'destroyed'

/**
 * The board's port to the hypervisor, for one guest: its memory, its memory-mapped I/O, its interrupts
 * and its end. Met by the simulator (`SimulatedHypervisor`); a provider on real Xen stands on
 * libxenforeignmemory, gntdev, libxendevicemodel and libxenevtchn.
 *
 * Calls are refused with SystemCallError `ERR_XMC_SYSTEM_CALL` and the errno of Xen's own call, `ESRCH` where the
 * guest is gone.
 */
export interface Hypervisor {
  /** What it is, as `simulator` or `xen`: for messages. */
  readonly kind: string
  /** The guest. */
  readonly domain: DomainId
  /** Where the guest has RAM. Holes in it (ballooned pages) do not count. */
  readonly ram: readonly RamBank[]
  /** Virtual CPUs of the guest, 1 to 128. */
  readonly virtualCpus: number
  /** The guest's memory by frame. */
  readonly foreign: ForeignMemory
  /** The guest's memory by grant reference. */
  readonly grants: GrantTable

  /**
   * Makes an ioreq server (`XEN_DMOP_create_ioreq_server`): not enabled, without ranges.
   *
   * @throws SystemCallError `ERR_XMC_SYSTEM_CALL`: `ENOSPC` when the guest has as many as Xen allows
   */
  createIoreqServer(): IoreqServer

  /**
   * Drives a shared peripheral interrupt of the guest, 32 to 1,019, high or low
   * (`XEN_DMOP_set_irq_level`). Does nothing once the guest has ended.
   *
   * @throws SystemCallError `ERR_XMC_SYSTEM_CALL`: `EINVAL` for another line
   */
  setInterruptLevel(line: number, high: boolean): void

  /** How the guest stopped; undefined while it runs. */
  readonly end: DomainEnd | undefined

  /**
   * Calls `listener` once, when the guest stops; at the next turn of the event loop when it has already
   * stopped. Returns the function that ends it. The listener does not throw.
   */
  onEnd(listener: (end: DomainEnd) => void): () => void

  /** What is in use of the guest now, as far as the provider can tell, and what was called so far. */
  readonly usage: HypervisorUsage

  /**
   * One line for everything of the guest that is still mapped, pinned, bound or registered; empty when
   * nothing is.
   */
  leftovers(): readonly string[]

  /**
   * Gives up access to the guest: what is still mapped is unmapped, whoever still uses it. Close the board
   * first. The second call does nothing.
   */
  close(): void
}

/** What is in use of a guest. */
export interface HypervisorUsage {
  /** Pages of the guest that are mapped. */
  readonly mappedPages: number
  /** Grant references that are pinned, so that the guest cannot end them. */
  readonly pinnedGrants: number
  /** Calls that mapped, unmapped or copied memory, since the provider was made. */
  readonly memoryCalls: number
}

/**
 * An ioreq server of the guest: ranges of guest addresses that the board answers for, a page of request
 * slots that is shared with the hypervisor, and an event channel for each virtual CPU. Slots are laid out
 * and used as Xen's public `hvm/ioreq.h` says. After `close`, calls are refused with `ENOENT`.
 */
export interface IoreqServer {
  /** The slots: 4,096 bytes, aligned to 4. The slot of virtual CPU n is the 32 bytes from 32 × n on. */
  readonly page: DataView

  /**
   * Gives the server the guest's accesses from `first` to `last`, both included.
   *
   * @throws SystemCallError `ERR_XMC_SYSTEM_CALL`: `EEXIST` when it has a part of them already, `EINVAL`, `ENOENT`
   */
  mapRange(first: bigint, last: bigint): void

  /**
   * Takes a range away again.
   *
   * @throws SystemCallError `ERR_XMC_SYSTEM_CALL`: `ENOENT` when it does not have all of it, `EINVAL`
   */
  unmapRange(first: bigint, last: bigint): void

  /** Lets requests come. */
  enable(): void

  /** Lets no further request come. One that waits can still be answered. */
  disable(): void

  /**
   * Binds the event channel of a virtual CPU, whose slot names the guest's end. `listener`, which does not
   * throw, is called when a request may be in the slot: once at the start, and without one, too.
   *
   * @throws SystemCallError `ERR_XMC_SYSTEM_CALL`: `EINVAL` for a virtual CPU that is not there
   */
  bind(virtualCpu: number, listener: () => void): EventChannel

  /** Destroys the server. Does nothing when it is gone: closed before, or with its guest. */
  close(): void
}

/** A local end of an event channel. */
export interface EventChannel {
  /** Signals the other end; what is sent to an end that is gone is lost. */
  notify(): void
  /** Closes it: the listener is not called any more. Does nothing the second time. */
  close(): void
}
