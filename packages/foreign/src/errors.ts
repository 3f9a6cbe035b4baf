import { constants } from 'node:os'
import {
  addressHint,
  countPages,
  type DomainId,
  errnoOf,
  type GuestFrame,
  isPageList,
  messageOf,
  nameOfErrno,
  type Pages,
  type WindowPage,
  XmcError,
} from '@xmc/interface'

/**
 * `ERR_XMC_FOREIGN_MAP`: frames of a domain could not be mapped at all. A frame that fails among
 * others is not this error, but an errno of its own. A `passing` shortage where the kernel has no memory for it.
 */
export class ForeignMapError extends XmcError {
  /** Whose memory. */
  readonly domain: DomainId
  /** First frame of the request. */
  readonly firstFrame: GuestFrame | undefined
  /** Frames of the request. */
  readonly frameCount: number
  /** Whether the mapping was to be writable. */
  readonly writable: boolean
  /** Positive errno of the refusal; undefined when the provider gave none. */
  readonly errno: number | undefined
  /** The errno by name, as `ESRCH`. */
  readonly errnoName: string | undefined
  /** What real Xen was seen to give this errno for, most likely first; may be empty. */
  readonly likelyReasons: readonly string[]

  constructor(domain: DomainId, frames: Pages<GuestFrame>, writable: boolean, cause: unknown) {
    const errno = errnoOf(cause)
    const errnoName = errno === undefined ? undefined : nameOfErrno(errno)
    const firstFrame = isPageList(frames) ? frames[0] : frames.first
    const frameCount = countPages(frames)
    const likelyReasons = (errno === undefined ? undefined : REASONS.get(errno)) ?? []
    const text = (): string => {
      const hint = firstFrame === undefined ? '' : addressHint(firstFrame)
      const from = firstFrame === undefined ? 'none' : `0x${firstFrame.toString(16)}`
      return (
        `domain ${domain}: ${frameCount} frames from frame ${from}${hint} could not be mapped ` +
        `(${errnoName ?? messageOf(cause)}): ` +
        (likelyReasons.length > 0
          ? `likely ${likelyReasons.join(', or ')}`
          : 'the cause says what the provider refused')
      )
    }
    super('ERR_XMC_FOREIGN_MAP', text, {
      cause,
      shortage: SHORTAGES.has(errno ?? 0) ? 'passing' : undefined,
    })
    this.domain = domain
    this.firstFrame = firstFrame
    this.frameCount = frameCount
    this.writable = writable
    this.errno = errno
    this.errnoName = errnoName
    this.likelyReasons = likelyReasons
  }
}

/** `ERR_XMC_FOREIGN_UNMAP`: foreign mappings could not be removed, and may still be in place. */
export class ForeignUnmapError extends XmcError {
  /** Whose memory. */
  readonly domain: DomainId
  /** First page of the range in the window. */
  readonly windowPage: WindowPage
  /** Pages of the range. */
  readonly pageCount: number
  /** Positive errno of the refusal; undefined when the provider gave none. */
  readonly errno: number | undefined
  /** The errno by name. */
  readonly errnoName: string | undefined

  constructor(domain: DomainId, windowPage: WindowPage, pageCount: number, cause: unknown) {
    const errno = errnoOf(cause)
    const errnoName = errno === undefined ? undefined : nameOfErrno(errno)
    super(
      'ERR_XMC_FOREIGN_UNMAP',
      `domain ${domain}: ${pageCount} pages at window page ${windowPage} could not be unmapped ` +
        `(${errnoName ?? messageOf(cause)}): do not use that part of the window again`,
      { cause },
    )
    this.domain = domain
    this.windowPage = windowPage
    this.pageCount = pageCount
    this.errno = errno
    this.errnoName = errnoName
  }
}

/** What a map fails with while the kernel or Xen has no memory, or no room in a table, for it. */
const SHORTAGES: ReadonlySet<number> = new Set([constants.errno.ENOMEM, constants.errno.ENOSPC])

const REASONS: ReadonlyMap<number, readonly string[]> = new Map([
  [
    constants.errno.ESRCH,
    ['no domain has this id, or it is gone', "the domain is the caller's own: map another's"],
  ],
  [
    constants.errno.EINVAL,
    [
      'the domain is dying: close its mappings',
      'the target would split a mapping of several pages: unmap that one whole first',
    ],
  ],
  [
    constants.errno.ENOMEM,
    [
      'the kernel or Xen has no memory for the mapping: wait until others are released, or map less',
    ],
  ],
  [constants.errno.ENOENT, ['a frame is paged out: use the asynchronous form, which waits for it']],
])
