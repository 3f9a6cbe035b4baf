import type { ForeignMemory } from '@xmc/foreign'
import type { DomainId, GuestFrame, PageRun, TargetWindow } from '@xmc/interface'
import type { Awaitable, ContractProvider, Unavailable } from '../contract-case.ts'
import type { Protection } from '../protection.ts'

/** The guest's side of its memory: anything but the port under test. */
export interface GuestSide {
  /** `length` bytes of `frame` from `offset` on, as the guest sees them now. */
  read(frame: GuestFrame, offset: number, length: number): Awaitable<Uint8Array>
  /** Stores `bytes` in `frame` from `offset` on. */
  write(frame: GuestFrame, offset: number, bytes: Uint8Array): Awaitable<void>
}

/** Control over which frames are paged out. */
export interface FramePaging {
  pageOut(frame: GuestFrame): Awaitable<void>
  pageIn(frame: GuestFrame): Awaitable<void>
}

/** Controls that not every provider of foreign memory has. */
export interface ForeignMemoryCapabilities {
  /** Frames can be paged out and in. */
  readonly paging: FramePaging | Unavailable
  /** The protection of a window page can be seen, as by {@link protectionAt}. */
  readonly protection: { of(windowPage: number): Protection } | Unavailable
  /** Live foreign mappings of this process can be counted, in any unit that is 0 when there are none. */
  readonly accounting: { liveMappings(): number } | Unavailable
  /** The domain can be destroyed while its memory is mapped. */
  readonly death: { destroy(): Awaitable<void> } | Unavailable
}

/** Foreign memory under test, with a guest whose memory it is. */
export interface ForeignMemoryProvider extends ContractProvider {
  /** The port under test. */
  readonly memory: ForeignMemory
  /** A fresh window of at least 64 pages, all zeros. */
  readonly window: TargetWindow
  /** The guest; not the caller's own domain. */
  readonly domain: DomainId
  /** The caller's own domain. */
  readonly ownDomain: DomainId
  /** An id that no domain has. */
  readonly absentDomain: DomainId
  /** At least 16 consecutive frames with memory that the guest does not use. */
  readonly frames: PageRun<GuestFrame>
  /** A frame without memory. */
  readonly hole: GuestFrame
  /** A frame with memory, unused by the guest, whose successor has none. */
  readonly border: GuestFrame
  readonly guest: GuestSide
  readonly capabilities: ForeignMemoryCapabilities
}
