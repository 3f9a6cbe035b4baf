import type { ReportLimiterOptions } from '@xmc/interface'
import type { VirtioDevice } from './device.ts'
import type { GuestMemory } from './guest-memory.ts'
import type { Interrupt } from './interrupt.ts'
import type { TurnBudget } from './turn-budget.ts'

/** How a transport is made. */
export interface MmioTransportOptions {
  /** The device behind it. */
  readonly device: VirtioDevice
  /** The guest's memory, by device address. */
  readonly memory: GuestMemory
  /** The device's interrupt line. */
  readonly interrupt: Interrupt
  /**
   * VIRTIO_F_ACCESS_PLATFORM: offered to the driver (the default), or a condition without which
   * FEATURES_OK is refused. Guests use grants only with this feature.
   */
  readonly accessPlatform?: 'offered' | 'required' | undefined
  /**
   * How memory is mapped: `synchronous` (the default) at once, and asynchronously only what is paged
   * out; `asynchronous` never in the way of the event loop, for providers where a map may block.
   */
  readonly mapping?: 'synchronous' | 'asynchronous' | undefined
  /**
   * Bytes of requests in flight from which on no further one is taken, 1024 for each buffer beside its
   * own; by default 64 MiB.
   */
  readonly bytesInFlight?: number | undefined
  /**
   * Bounds the work of a turn of the event loop, by default one of its own: 1 ms, 4096 descriptors. Transports
   * that share one share its turns.
   */
  readonly turnBudget?: TurnBudget | undefined
  /**
   * Milliseconds that a request waits when the host has no room to map its buffers, nothing of this
   * transport is in flight, and the memory has no `awaitRoom` to say whether it could ever fit; then it fails. 0
   * or more, by default 10,000.
   */
  readonly roomPatience?: number | undefined
  /** What the vendor register reads; by default "XMC". */
  readonly vendorId?: number | undefined
  /** Name of the device in warnings; by default its kind. */
  readonly name?: string | undefined
  /**
   * Called, after the guest's access is done, with faults: see `MmioTransport.fault`. With the first five of a kind,
   * and then, once in 10 s, with the last and how many there were (`repeated`, 0 before). By default a fault is a
   * process warning `WARN_XMC_DEVICE_FAULT`, once for each kind. What it throws becomes a warning.
   */
  readonly onFault?: ((fault: Error, repeated: number) => void) | undefined
  /** How many faults `onFault` is told of. */
  readonly reports?: ReportLimiterOptions | undefined
}

/** Counts since a transport was made. */
export interface TransportStatistics {
  /** Notifications from the driver that reached a queue. */
  readonly notifications: number
  /** Requests that were published as used. */
  readonly used: number
  /** Most requests of a queue that were in flight at a time. */
  readonly mostInFlight: number
  /** Times that work was put off to a later turn of the event loop, since the budget of a turn was spent. */
  readonly postponed: number
  /** Requests, and maps of rings, that had to wait for room on the host. */
  readonly waits: number
  /** Requests, and maps of rings, that wait for room on the host now. */
  readonly waiting: number
  /** Bytes of requests in flight now, as `bytesInFlight` counts them. */
  readonly bytesInFlight: number
  /** Times that the interrupt line was raised. */
  readonly interrupts: number
  /** Resets by the driver. */
  readonly resets: number
  /** Conditions that stopped the device, or that nobody else hears of. */
  readonly faults: number
  /** Accesses that a driver may not make; they had no effect, and reads gave 0. */
  readonly ignored: number
}
