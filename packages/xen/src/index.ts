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
export type { ForeignDevice } from './foreign-device.ts'
export type { GrantDevice } from './grant-device.ts'
export * from './hypervisor.ts'
export type { IoreqServer } from './ioreq-server.ts'
export type { SharedPages, SharePagesOptions } from './shared-pages.ts'
