import type { DomainId, GrantReference } from './identifiers.ts'
import type { Pages, WindowPage } from './page.ts'
import type { TargetWindow } from './window.ts'

/** The most references that one map request can hold (gntdev's limit per map). */
export const MAX_REFERENCES_PER_MAP = 65_536

/** The most mappings of one kind, reading or writing, that Xen allows of one reference at once. */
export const MAX_MAPPINGS_PER_REFERENCE = 128

/** One request to map references of a domain. */
export interface GrantMapRequest {
  /** Who granted. */
  readonly domain: DomainId
  /** Where to: a window of host memory. */
  readonly window: TargetWindow
  /** First page of the target; the references follow contiguously. */
  readonly windowPage: WindowPage
  /** References, 1 to {@link MAX_REFERENCES_PER_MAP}, in any order; one may occur twice. */
  readonly references: Pages<GrantReference>
  /** Whether stores through the mapping are allowed. */
  readonly writable: boolean
}

/** What happens to a mapped page when its mapping goes, even if the mapper is killed. */
export interface UnmapNotify {
  /** Offset in the page, 0 to 4095, of a byte that is set to zero. The page must be writable. */
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
  /** Offset in the granted page, 0 to 4095. */
  readonly offset: number
  /** Local bytes: read from, or written to, in full. `offset + bytes.length` is at most 4096. */
  readonly bytes: Uint8Array
  /** Whether the granted page is the source or the target. */
  readonly direction: 'from-grant' | 'to-grant'
}
