export type { DeviceModel } from './device-model.ts'
export * from './doctor.ts'
export type { DomainInformation, Domains } from './domain-information.ts'
export * from './errors.ts'
export type {
  EventChannels,
  EventHandler,
  HandlerErrorListener,
  OpenEventChannel,
} from './event-channels.ts'
export type { ForeignDevice, ForeignMapRequest } from './foreign-device.ts'
export type { GrantDevice } from './grant-device.ts'
export type * from './grant-request.ts'
export * from './hypervisor.ts'
export * from './identifiers.ts'
export type { IoreqServer } from './ioreq-server.ts'
export type { SharedPages, SharePagesOptions } from './shared-pages.ts'
