import { nameOfErrno, SystemCallError, XmcError } from '@xmc/interface'
import { reasonsFor, remedyFor } from './internal/reasons.ts'

/**
 * `ERR_XMC_XEN_UNAVAILABLE`: a device of Xen cannot be opened. On a machine without Xen this is what
 * every use of the package ends with.
 */
export class XenUnavailableError extends XmcError {
  /** The device, as `/dev/xen/gntdev`. */
  readonly device: string
  /** Positive errno of the open. */
  readonly errno: number
  /** The errno by name, as `ENOENT`. */
  readonly errnoName: string

  constructor(device: string, errno: number) {
    const errnoName = nameOfErrno(errno)
    super(
      'ERR_XMC_XEN_UNAVAILABLE',
      `${device} cannot be opened (${errnoName}): ${remedyFor(device, errnoName)}; doctor() tells more`,
    )
    this.device = device
    this.errno = errno
    this.errnoName = errnoName
  }
}

/** What a call to Xen was about. */
export interface XenCall {
  /** What was tried, as `grant map`. */
  readonly operation: XenOperation
  /** The other domain. */
  readonly domain?: number | undefined
  /** First frame or reference. */
  readonly firstPage?: number | undefined
  /** Frames, references, or pages of the window. */
  readonly pageCount?: number | undefined
  /** In one clause, for the message. */
  readonly detail: string
}

/** What the package asks Xen for. */
export type XenOperation =
  | 'foreign map'
  | 'foreign unmap'
  | 'grant map'
  | 'grant unmap'
  | 'grant unmap notify'
  | 'grant copy'
  | 'share pages'
  | 'unshare pages'
  | `event channel ${string}`
  | 'domain information'
  | 'maximum frame'
  | 'virtual CPUs'
  | 'interrupt level'
  | `ioreq ${string}`

/**
 * `ERR_XMC_SYSTEM_CALL`: Xen, or the kernel's driver for it, refused a call. A map or copy that was refused, which a
 * guest can cause as often as it likes, has no stack frames.
 */
export class XenCallError extends SystemCallError {
  /** What was tried. */
  readonly operation: XenOperation
  /** The other domain; undefined where the call names none. */
  readonly domain: number | undefined
  /** First frame or reference of the request; undefined where the call names none. */
  readonly firstPage: number | undefined
  /** Frames, references, or pages of the window. */
  readonly pageCount: number | undefined
  /** What real Xen was seen to give this errno for, most likely first; may be empty. */
  readonly likelyReasons: readonly string[]

  constructor(call: XenCall, errno: number, options?: ErrorOptions) {
    const { operation, domain, firstPage, pageCount, detail } = call
    const likelyReasons = reasonsFor(operation, nameOfErrno(errno))
    const text = (): string =>
      likelyReasons.length === 0 ? detail : `${detail}; likely ${likelyReasons.join(', or ')}`
    super(operation, errno, CAUSED_BY_GUESTS.has(operation) ? text : text(), options)
    this.operation = operation
    this.domain = domain
    this.firstPage = firstPage
    this.pageCount = pageCount
    this.likelyReasons = likelyReasons
  }
}

/** What fails when a guest names memory that is not there, which it can do as often as it likes. */
const CAUSED_BY_GUESTS: ReadonlySet<XenOperation> = new Set([
  'foreign map',
  'grant map',
  'grant copy',
] as const)
