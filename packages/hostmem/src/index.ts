export { PAGE_SHIFT, PAGE_SIZE, type WindowPage, windowPage } from '@xmc/interface'
export * from './address-space-limit.ts'
export {
  MemoryAreaAccount,
  type MemoryAreaOptions,
  type MemoryAreaStatistics,
  memoryAreas,
} from './memory-areas.ts'
export {
  createMemoryFile,
  type MemoryFile,
  type MemoryFileOptions,
} from './memory-file.ts'
export * from './platform.ts'
export * from './punch-hole.ts'
export { type HostMemoryWindow, openWindow } from './window.ts'
export * from './window-mappings.ts'
export {
  WindowAllocationError,
  type WindowOptions,
  type WindowSizeReason,
} from './window-options.ts'
export * from './window-target.ts'
