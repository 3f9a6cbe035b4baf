import {
  countOf,
  countPages,
  type DomainId,
  errnoOf,
  type GrantReference,
  grantStatusMeaning,
  grantStatusName,
  messageOf,
  nameOfErrno,
  type Pages,
  type Shortage,
  type WindowPage,
  XmcError,
  type XmcErrorOptions,
} from '@xmc/interface'
import { referencesOf } from './internal/references.ts'

/** What is known of a refused map, for a {@link GrantMapError}. */
export interface GrantMapFailure {
  readonly domain: DomainId
  readonly references: Pages<GrantReference>
  readonly writable: boolean
  /** The reference that was refused, where it was found. */
  readonly failedReference?: GrantReference | undefined
  /** The GNTST status that the probe of that reference got. */
  readonly status?: number | undefined
  /** Why, as far as it is known: a clause without a full stop. */
  readonly reason: string
  /** What the probe itself failed with, when it could not be made. */
  readonly probeError?: unknown
  /** Set when it is for want of room on the host. */
  readonly shortage?: Shortage | undefined
  /** What the provider threw. */
  readonly cause: unknown
}

/**
 * `ERR_XMC_GRANT_MAP`: references of a domain could not be mapped; none of them is.
 *
 * gntdev answers `EINVAL` for every refusal, so the reference and the status come from a probe by
 * grant copy after the failure. Both are undefined when every reference could be read.
 *
 * A `passing` shortage where every reference is good and there is no room: in Xen's map-track table,
 * in the kernel's memory, or among the 128 mappings of a reference, of which others have some.
 */
export class GrantMapError extends XmcError {
  /** Who granted. */
  readonly domain: DomainId
  /** The first references of the request, at most 8. */
  readonly references: readonly GrantReference[]
  /** References of the whole request. */
  readonly referenceCount: number
  /** Whether the mapping was to be writable. */
  readonly writable: boolean
  /** The reference that was refused, where it was found. */
  readonly failedReference: GrantReference | undefined
  /** The GNTST status for that reference: negative. */
  readonly status: number | undefined
  /** The status by name, as `GNTST_bad_gntref`. */
  readonly statusName: string | undefined
  /** Positive errno of the map; undefined when the provider gave none. */
  readonly errno: number | undefined
  /** The errno by name, as `EINVAL`. */
  readonly errnoName: string | undefined
  /** Why the map was refused, or the likely causes where Xen does not tell. */
  readonly reason: string
  /** What the probe by grant copy failed with, when it could not be made. */
  readonly probeError: unknown

  constructor(failure: GrantMapFailure) {
    const { domain, writable, failedReference, status, reason, shortage, cause } = failure
    const errno = errnoOf(cause)
    const errnoName = errno === undefined ? undefined : nameOfErrno(errno)
    const references = firstReferences(failure.references)
    const referenceCount = countPages(failure.references)
    const statusName = status === undefined ? undefined : grantStatusName(status)
    super(
      'ERR_XMC_GRANT_MAP',
      () =>
        `domain ${domain}: ${named(references, referenceCount)} could not be mapped for ` +
        `${writable ? 'writing' : 'reading'} (${errnoName ?? messageOf(cause)}): ` +
        (failedReference === undefined ? '' : `reference ${failedReference}: `) +
        (statusName === undefined ? '' : `${statusName}, `) +
        reason +
        (shortage === undefined ? '' : `: ${REMEDY}`),
      { cause, shortage },
    )
    this.domain = domain
    this.references = references
    this.referenceCount = referenceCount
    this.writable = writable
    this.failedReference = failedReference
    this.status = status
    this.statusName = statusName
    this.errno = errno
    this.errnoName = errnoName
    this.reason = reason
    this.probeError = failure.probeError
  }
}

/** The limits that a {@link GrantLimitError} can name. */
export type GrantLimitName = 'references-per-map' | 'mappings-per-reference'

/**
 * `ERR_XMC_GRANT_LIMIT`: a map goes over a limit that is counted on this side; nothing was mapped. A shortage:
 * `passing` where a reference has too many mappings that others hold, `lasting` where the map alone is over the limit.
 */
export class GrantLimitError extends XmcError {
  /** Who granted. */
  readonly domain: DomainId
  /** Which limit. */
  readonly limitName: GrantLimitName
  /** The largest value that is allowed: 65,536 references per map, 128 mappings per reference and kind. */
  readonly limit: number
  /** The value that the map would have led to. */
  readonly value: number
  /** The reference that has too many mappings; undefined for a limit of the whole map. */
  readonly reference: GrantReference | undefined

  constructor(
    domain: DomainId,
    limitName: GrantLimitName,
    limit: number,
    value: number,
    reference?: GrantReference,
    options?: XmcErrorOptions,
  ) {
    super(
      'ERR_XMC_GRANT_LIMIT',
      () =>
        limitName === 'references-per-map'
          ? `domain ${domain}: a map of ${countOf(value, 'reference')} is over the limit of ${limit}: map fewer at a time`
          : `domain ${domain}: reference ${reference} would have ${value} mappings of one kind, over the limit of ${limit}: release some`,
      options,
    )
    this.domain = domain
    this.limitName = limitName
    this.limit = limit
    this.value = value
    this.reference = reference
  }
}

/** `ERR_XMC_GRANT_COPY`: a granted page could not be read or written by grant copy; no byte moved. */
export class GrantCopyError extends XmcError {
  /** Who granted. */
  readonly domain: DomainId
  /** The granted page. */
  readonly reference: GrantReference
  /** Whether the granted page was the source or the target. */
  readonly direction: 'from-grant' | 'to-grant'
  /** The GNTST status: negative; undefined when the call as a whole was refused, see `cause`. */
  readonly status: number | undefined
  /** The status by name, as `GNTST_bad_gntref`. */
  readonly statusName: string | undefined

  constructor(
    domain: DomainId,
    reference: GrantReference,
    direction: 'from-grant' | 'to-grant',
    status: number | undefined,
    cause: unknown,
  ) {
    const statusName = status === undefined ? undefined : grantStatusName(status)
    super(
      'ERR_XMC_GRANT_COPY',
      () =>
        `domain ${domain}: the page of reference ${reference} could not be ` +
        `${direction === 'from-grant' ? 'read' : 'written'} by grant copy: ` +
        (status === undefined
          ? messageOf(cause)
          : `${grantStatusName(status)}, ${grantStatusMeaning(status)}`),
      { cause },
    )
    this.domain = domain
    this.reference = reference
    this.direction = direction
    this.status = status
    this.statusName = statusName
  }
}

/**
 * `ERR_XMC_GRANT_UNMAP`: a mapping could not be removed. The guest's pages stay pinned until the
 * table is closed, and a Linux guest that ends such a grant marks its device broken.
 */
export class GrantUnmapError extends XmcError {
  /** Tells a cache to try again: by @xmc/core, of an error of a map. */
  readonly mayBeMapped = true
  /** Who granted. */
  readonly domain: DomainId
  /** First page of the mapping in the window. */
  readonly windowPage: WindowPage
  /** Pages that were to be unmapped. */
  readonly pageCount: number
  /** The first references that are mapped there, at most 8; empty when none is known to be. */
  readonly references: readonly GrantReference[]
  /** Positive errno of the refusal; undefined when the provider gave none. */
  readonly errno: number | undefined
  /** The errno by name, as `EINVAL`. */
  readonly errnoName: string | undefined

  constructor(
    domain: DomainId,
    windowPage: WindowPage,
    pageCount: number,
    mapped: Pages<GrantReference> | undefined,
    cause: unknown,
  ) {
    const errno = errnoOf(cause)
    const errnoName = errno === undefined ? undefined : nameOfErrno(errno)
    const references = mapped === undefined ? [] : firstReferences(mapped)
    super(
      'ERR_XMC_GRANT_UNMAP',
      `domain ${domain}: ${countOf(pageCount, 'page')} at window page ${windowPage} could not be unmapped ` +
        `(${errnoName ?? messageOf(cause)}): ` +
        (mapped === undefined
          ? 'no mapping is known there'
          : `${named(references, countPages(mapped))} may still be mapped: do not use that part of the window again`),
      { cause },
    )
    this.domain = domain
    this.windowPage = windowPage
    this.pageCount = pageCount
    this.references = references
    this.errno = errno
    this.errnoName = errnoName
  }
}

/** What to do where there is no room for a mapping. */
const REMEDY =
  "wait until other mappings are released, map less at a time, or start Xen with more of 'gnttab_max_maptrack_frames'"

/** So many references are named in an error; a map can hold 65,536. */
const NAMED = 8

function firstReferences(pages: Pages<GrantReference>): readonly GrantReference[] {
  return [...referencesOf(pages, NAMED)]
}

function named(references: readonly GrantReference[], count: number): string {
  const rest = count - references.length
  const list = references.join(', ') + (rest > 0 ? ` and ${rest} more` : '')
  return count === 1 ? `reference ${list}` : `${count} references (${list})`
}
