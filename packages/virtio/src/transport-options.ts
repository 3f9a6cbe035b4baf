import type { VirtioDevice } from './device.ts'
import type { GuestMemory } from './guest-memory.ts'
import type { Interrupt } from './interrupt.ts'

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
  /** Bytes of requests in flight from which on no further one is taken; by default 64 MiB. */
  readonly bytesInFlight?: number | undefined
  /** What the vendor register reads; by default "XMC". */
  readonly vendorId?: number | undefined
  /** Called, after the guest's access is done, with each fault: see `MmioTransport.fault`. */
  readonly onFault?: ((fault: Error) => void) | undefined
}

/** Counts since a transport was made. */
export interface TransportStatistics {
  /** Notifications from the driver that reached a queue. */
  readonly notifications: number
  /** Requests that were published as used. */
  readonly used: number
  /** Most requests of a queue that were in flight at a time. */
  readonly mostInFlight: number
  /** Times that the interrupt line was raised. */
  readonly interrupts: number
  /** Resets by the driver. */
  readonly resets: number
  /** Conditions that stopped the device, or that nobody else hears of. */
  readonly faults: number
  /** Accesses that a driver may not make; they had no effect, and reads gave 0. */
  readonly ignored: number
}
