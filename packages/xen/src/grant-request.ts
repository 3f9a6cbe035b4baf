import type { Pages, TargetWindow, WindowPage } from '@xmc/core'
import type { DomainId, GrantReference } from './identifiers.ts'

/** One request to map references of a domain. */
export interface GrantMapRequest {
  /** Who granted. */
  readonly domain: DomainId
  /** Where to: a window of host memory. */
  readonly window: TargetWindow
  /** First page of the target; the references follow contiguously. */
  readonly windowPage: WindowPage
  /** References, 1 to 65,536, in any order; one may occur twice. */
  readonly references: Pages<GrantReference>
  /** Whether stores through the mapping are allowed. */
  readonly writable: boolean
}

/** What happens to a mapped page when its mapping goes. */
export interface UnmapNotify {
  /** Offset in the page, 0 to 4095, of a byte that is set to zero. */
  readonly clearByte?: number | undefined
  /** Local port of an event channel that is signalled. */
  readonly eventChannel?: number | undefined
}

/** One copy between local memory and a granted page, at most to the end of that page. */
export interface GrantCopySegment {
  /** Who granted. */
  readonly domain: DomainId
  /** The granted page. */
  readonly reference: GrantReference
  /** Offset in the granted page. */
  readonly offset: number
  /** Local bytes: read from, or written to, in full. */
  readonly bytes: Uint8Array
  /** Whether the granted page is the source or the target. */
  readonly direction: 'from-grant' | 'to-grant'
}
