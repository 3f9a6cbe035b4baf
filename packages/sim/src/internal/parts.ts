import type { DomainId } from '@xmc/interface'
import type { Accounting } from '../accounting.ts'
import type { Faults } from '../faults.ts'
import type { GrantTables } from '../grant-table.ts'
import type { Hold, MachineMemory } from '../machine-memory.ts'
import type { PhysicalToMachine } from '../p2m.ts'
import type { FailedPages } from './failed-pages.ts'
import type { Range } from './ranges.ts'

/** How the asynchronous maps wait for pages that are paged out. */
export interface PagingRetry {
  /** Milliseconds before the first retry; before the nth it is n times that. */
  readonly intervalMilliseconds: number
  /** Retries before the page counts as bad. */
  readonly attempts: number
}

/** What a device needs of the domain whose memory it maps. */
export interface MappedDomain {
  readonly id: DomainId
  readonly p2m: PhysicalToMachine
  /** True from the start of its destruction. */
  readonly isDying: boolean
  /** Claims machine pages of the domain. */
  hold(ranges: readonly Range[]): Hold
  /** Gives the claim up. */
  release(hold: Hold): void
}

/** A device that is open. */
export interface OpenDevice {
  /** The domain that has it open. */
  readonly caller: DomainId
  /** Releases everything that was mapped through it. */
  close(): void
}

/** What a device needs of its hypervisor. */
export interface Parts {
  readonly machine: MachineMemory
  readonly grantTables: GrantTables
  readonly faults: Faults
  readonly accounting: Accounting
  readonly failedPages: FailedPages
  readonly pagingRetry: PagingRetry
  /** Every open device, so that the death of its domain closes it. */
  readonly devices: Set<OpenDevice>
  /** The domain with this id, dying ones included; undefined when there is none. */
  domain(id: number): MappedDomain | undefined
  /** Signals the event channel behind a local port. */
  notify(domain: DomainId, port: number): void
  /** Whether a local port is bound, so that it can be signalled. */
  isBound(domain: DomainId, port: number): boolean
  /** A number that no other grant mapping has. */
  nextAddress(): number
}
