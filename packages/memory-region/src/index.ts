export { joinAddress, type PageAddress, splitAddress } from './address.ts'
export {
  AddressSpace,
  type AddressSpaceOptions,
  DEFAULT_BOUNCE_BUDGET,
  DEFAULT_GUARANTEED_SHARE,
} from './address-space.ts'
export * from './alias-region.ts'
export * from './container-region.ts'
export type { DmaMapping, MappedLength } from './dma-mapping.ts'
export * from './errors.ts'
export type {
  MemoryRegion,
  RegionKind,
  RegionOptions,
  RegionPlacement,
} from './memory-region.ts'
export * from './memory-section.ts'
export * from './mmio-region.ts'
export * from './mtree.ts'
export * from './plain-memory.ts'
export * from './ram-backing.ts'
export * from './ram-region.ts'
export * from './resident-block.ts'
export type { Ring } from './ring.ts'
export type { DmaRange, ScatterList } from './scatter-list.ts'
export type { WriteListener } from './space-access.ts'
export { LONGEST_USER_MAPPING, type SpaceUser, type WindowShare } from './space-user.ts'
export * from './xen-memory.ts'
