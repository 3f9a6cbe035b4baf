export * from './address-map.ts'
export * from './board.ts'
export * from './board-memory.ts'
export * from './configuration.ts'
export * from './copy.ts'
export type { DiskOpener, OpenDisk } from './disk-files.ts'
export * from './errors.ts'
export * from './guest/copy-disk.ts'
export { MISBEHAVIOURS, type Misbehaviour } from './guest/misbehaviour.ts'
export * from './guest/read-disk.ts'
export * from './guest/simulated-guest.ts'
export { DEFAULT_BLOCK_BYTES, DEFAULT_IN_FLIGHT, type TransferOptions } from './guest/transfer.ts'
export * from './hypervisor.ts'
export type { DispatcherStatistics } from './ioreq-dispatcher.ts'
export {
  IOREQ_TYPE_COPY,
  IOREQ_TYPE_INVALIDATE,
  type IoRequest,
  IoreqPage,
} from './ioreq-page.ts'
export type { CacheSummary, JobOptions, MachineSummary } from './job.ts'
export * from './machine.ts'
export * from './providers/sim-hypervisor.ts'
export * from './providers/xen-hypervisor.ts'
export * from './self-test.ts'
export * from './serve-domain.ts'
