import type { GrantTable } from '@xmc/grants'
import type { DomainId, GrantReference, TargetWindow } from '@xmc/interface'
import type { Awaitable, ContractProvider, Unavailable } from '../contract-case.ts'
import type { Protection } from '../protection.ts'

/** How pages are granted. */
export interface GrantOptions {
  /**
   * Whether the grant allows stores.
   *
   * @default true
   */
  readonly writable?: boolean | undefined
  /**
   * Who may map the pages.
   *
   * @default the domain of the caller under test
   */
  readonly to?: DomainId | undefined
}

/** Pages that were granted, from the granter's side. */
export interface GrantedPages {
  /** One reference for each page, in any order of numbers. */
  readonly references: readonly GrantReference[]
  /** `length` bytes of page `index` from `offset` on, as the granter sees them now. */
  read(index: number, offset: number, length: number): Awaitable<Uint8Array>
  /** Stores `bytes` in page `index` from `offset` on. */
  write(index: number, offset: number, bytes: Uint8Array): Awaitable<void>
  /** Ends the grants, as a granter that closes its device does; mappings that exist stay. */
  revoke(): Awaitable<void>
}

/** Grants pages to the caller: another domain, or the caller's own through gntalloc. */
export interface Granter {
  /** Grants `count` fresh pages of zeros, 1 to 512. */
  grant(count: number, options?: GrantOptions): Awaitable<GrantedPages>
}

/** Control over which granted pages are paged out. */
export interface GrantPaging {
  pageOut(pages: GrantedPages, index: number): Awaitable<void>
  pageIn(pages: GrantedPages, index: number): Awaitable<void>
}

/** An event channel whose signals can be seen. */
export interface ObservedEventChannel {
  /** Local port, for `UnmapNotify.eventChannel`. */
  readonly port: number
  /** Signals that arrived since it was bound. */
  signals(): Awaitable<number>
}

/** Controls that not every provider of grants has. */
export interface GrantTableCapabilities {
  /** `grant` can give consecutive references. */
  readonly consecutive: { grant(count: number): Awaitable<GrantedPages> } | Unavailable
  /** Granted pages can be paged out and in. */
  readonly paging: GrantPaging | Unavailable
  /** The protection of a window page can be seen, as by {@link protectionAt}. */
  readonly protection: { of(windowPage: number): Protection } | Unavailable
  /** Live grant mappings of this process can be counted, in any unit that goes up with each. */
  readonly accounting: { liveMappings(): number } | Unavailable
  /** Event channels can be bound and watched. */
  readonly eventChannels: { bind(): Awaitable<ObservedEventChannel> } | Unavailable
  /** The table can be closed and another one opened on the same window, granter and domain. */
  readonly reopening: { reopen(): Awaitable<GrantTable> } | Unavailable
  /** The granting domain can be destroyed while its pages are mapped. */
  readonly death: { destroy(): Awaitable<void> } | Unavailable
}

/** A grant table under test, with somebody who grants pages to it. */
export interface GrantTableProvider extends ContractProvider {
  /** The port under test. */
  readonly table: GrantTable
  /** A fresh window of at least 512 pages, all zeros. */
  readonly window: TargetWindow
  /** Who grants. May be the caller's own domain. */
  readonly domain: DomainId
  /** An id that pages can be granted to, and that is not the caller's. */
  readonly otherDomain: DomainId
  /** An id that no domain has. */
  readonly absentDomain: DomainId
  /** A reference inside the granter's table that grants nothing. */
  readonly unusedReference: GrantReference
  readonly granter: Granter
  readonly capabilities: GrantTableCapabilities
}
