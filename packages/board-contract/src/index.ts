export { hypervisorContract } from './hypervisor-contract.ts'
export * from './provider.ts'
export type { HypervisorCase } from './steps.ts'
