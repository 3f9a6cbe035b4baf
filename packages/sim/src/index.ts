export type {
  Accounting,
  AccountingOptions,
  CallCount,
  CallReport,
  EventChannelReport,
  IoreqServerReport,
  MappingReport,
  Totals,
} from './accounting.ts'
export type { Domain, DomainEnd, DomainState } from './domain.ts'
export type { DomainGrants, GrantTo } from './domain-grants.ts'
export { type DomainMemory, GuestAddressError } from './domain-memory.ts'
export * from './event-channels.ts'
export {
  type FailedPageReport,
  type FailedPageTouched,
  FailedPageTouchedError,
} from './failed-page.ts'
export {
  type ErrnoName,
  FAULT_SITES,
  type FaultOptions,
  type FaultPages,
  type FaultRule,
  type FaultSite,
  Faults,
  type InjectedFault,
  type RandomFaultOptions,
} from './faults.ts'
export type { ForeignDevice } from './foreign-device.ts'
export type { GrantDevice } from './grant-device.ts'
export * from './grant-dma.ts'
export * from './grant-table.ts'
export * from './hypervisor.ts'
export * from './interrupts.ts'
export * from './ioreq.ts'
export type { FrameRun, FramesChanged, PhysicalToMachine } from './p2m.ts'
export type { SharedPages, SharePagesOptions } from './shared-pages.ts'
