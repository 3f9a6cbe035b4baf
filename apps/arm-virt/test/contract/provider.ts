import type { Awaitable, ContractProvider, Unavailable } from '@xmc/contract'
import type { DomainEnd, Hypervisor } from '../../src/hypervisor.ts'

/** An access of a virtual CPU to memory-mapped I/O. */
interface GuestAccess {
  readonly address: bigint
  readonly size: 1 | 2 | 4 | 8
  readonly write: boolean
  /** Value to write. Default 0. */
  readonly data?: bigint
  /** Default 0. */
  readonly virtualCpu?: number
}

/** A guest that does as it is told. */
export interface GuestControl {
  /** Resolves with the value read, or 0, when the device model has answered. */
  access(access: GuestAccess): Promise<bigint>
  /** Whether an interrupt line is high, as the guest sees it. */
  interruptLevel(line: number): Awaitable<boolean>
  /** Stores a byte in the guest's RAM. */
  store(address: bigint, value: number): Awaitable<void>
  /** Grants the frame that an address lies in, for reading and writing; returns the reference. */
  grant(address: bigint): Awaitable<number>
}

/** Controls that not every provider has. */
interface HypervisorCapabilities {
  /** The guest does as it is told. */
  readonly guest: GuestControl | Unavailable
  /** The guest gives memory back to the hypervisor. */
  readonly ballooning: { giveUp(address: bigint): Awaitable<void> } | Unavailable
  /** The guest can be ended. */
  readonly ending: { end(how: DomainEnd): Awaitable<void> } | Unavailable
}

/** A hypervisor port under test, with a guest of at least 16 MiB of RAM and two virtual CPUs. */
export interface HypervisorProvider extends ContractProvider {
  readonly hypervisor: Hypervisor
  readonly capabilities: HypervisorCapabilities
}
