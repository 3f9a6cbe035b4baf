export * from './driver/block-configuration.ts'
export * from './driver/block-driver.ts'
export type { BlockPayload } from './driver/block-request.ts'
export {
  type DiscoveredTransport,
  type DiscoveryRange,
  discoverTransports,
} from './driver/discovery.ts'
export * from './driver/entropy-driver.ts'
export * from './driver/errors.ts'
export type { FeatureRequest } from './driver/feature-negotiation.ts'
export * from './driver/frame-allocator.ts'
export * from './driver/grant-dma.ts'
export * from './driver/guest-buffer.ts'
export * from './driver/plain-dma.ts'
export * from './driver/ports.ts'
export * from './driver/queue-ring.ts'
export type { RegisterAccess } from './driver/register-access.ts'
export * from './driver/request-queue.ts'
export * from './driver/ring-writer.ts'
export type { DriverStatistics } from './driver/statistics.ts'
export * from './driver/transport.ts'
export * from './driver/transport-options.ts'
export type { DriverVirtqueue, QueueUser } from './driver/virtqueue.ts'
