import type { DomainId } from '@xmc/interface'
import type { ContractProvider } from '../contract-case.ts'

/** Event channels as a device model uses them: what simulator and Xen have in common. */
export interface EventChannelsPort {
  /** Opens a port of `domain` that `remote` may bind to. */
  allocateUnbound(domain: DomainId, remote: DomainId): number
  /** Opens a port of `domain` and connects it with one that `remote` offers it. */
  bindInterdomain(domain: DomainId, remote: DomainId, remotePort: number): number
  /** Signals the other end. */
  send(domain: DomainId, port: number): void
  close(domain: DomainId, port: number): void
  mask(domain: DomainId, port: number): void
  unmask(domain: DomainId, port: number): void
  setHandler(domain: DomainId, port: number, handler: (() => void) | undefined): void
  isPending(domain: DomainId, port: number): boolean
  isOpen(domain: DomainId, port: number): boolean
}

/** Event channels under test. */
export interface EventChannelsProvider extends ContractProvider {
  /** The port under test. */
  readonly eventChannels: EventChannelsPort
  /** The domain of the caller. */
  readonly domain: DomainId
  /** An id that no domain has. */
  readonly absentDomain: DomainId
  /** Resolves when every event that was sent has been delivered. */
  settle(): Promise<void>
}
