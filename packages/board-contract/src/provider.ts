import type { DomainEnd, Hypervisor } from '@xmc/arm-virt'
import type { Awaitable, ContractProvider, Unavailable } from '@xmc/contract'

/** An access of a virtual CPU to memory-mapped I/O. */
export interface GuestAccess {
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
  /** Stores a byte in the spare memory of the guest. */
  store(address: bigint, value: number): Awaitable<void>
  /** Grants a page for reading and writing, with `value` at `offset`; returns the reference. */
  grant(offset: number, value: number): Awaitable<number>
}

/** Interrupt lines, as the guest sees them. */
export interface InterruptControl {
  /** Whether a line is high. */
  interruptLevel(line: number): Awaitable<boolean>
}

/** Controls that not every provider has. */
export interface HypervisorCapabilities {
  /** The guest does as it is told. */
  readonly guest: GuestControl | Unavailable
  /** The guest has two virtual CPUs that make accesses at the same time. */
  readonly processors: object | Unavailable
  /** Levels of interrupt lines can be seen in the guest. */
  readonly interrupts: InterruptControl | Unavailable
  /** The guest gives memory back to the hypervisor. */
  readonly ballooning: { giveUp(): Awaitable<void> } | Unavailable
  /** The guest can be ended. */
  readonly ending: { end(how: DomainEnd): Awaitable<void> } | Unavailable
}

/** A hypervisor port under test, with a guest of at least 16 MiB of RAM. */
export interface HypervisorProvider extends ContractProvider {
  readonly hypervisor: Hypervisor
  /** Guest address of 8 pages of RAM that nobody uses. */
  readonly spare: bigint
  readonly capabilities: HypervisorCapabilities
}
