import { constants } from 'node:os'
import { getSystemErrorName } from 'node:util'

const { ENOMEM } = constants.errno

/** Every code an xmc error can carry starts so; programs match on `code`, never on text. */
export type XmcErrorCode = `ERR_XMC_${string}`

/**
 * Of an error that says that something of the host is used up: `passing` when what others hold will make
 * room once they release it, so that waiting helps; `lasting` when the request could never fit.
 */
export type Shortage = 'passing' | 'lasting'

/** What an error is made with beside code and message. */
export interface XmcErrorOptions extends ErrorOptions {
  /** See `XmcError.shortage`. */
  readonly shortage?: Shortage | undefined
}

const brand: unique symbol = Symbol.for('xmc.error')

/**
 * The text of an error, or what makes it. A function is for errors that a guest can cause as often as it likes: it
 * is called when somebody asks for the message, and the error has no stack frames, which cost more than
 * everything else of it.
 */
export type ErrorText = string | (() => string)

/**
 * The base of every error that an xmc package throws on purpose.
 *
 * `instanceof XmcError` holds across two installed copies of the package.
 * Match on `code`, which is stable; messages are for people and may change. An error of a guest's making has no
 * stack: `stack` is its name and message then.
 */
export class XmcError extends Error {
  /** Stable name of the condition. */
  readonly code: XmcErrorCode
  /** Whether waiting helps, where something of the host is used up; undefined for every other error. */
  readonly shortage: Shortage | undefined
  /** @internal */
  readonly [brand] = true
  #text: ErrorText

  static {
    // An own property, of an error that was made with its message, goes first.
    Object.defineProperty(XmcError.prototype, 'message', {
      configurable: true,
      get(): string {
        return XmcError.textOf(this)
      },
      set(this: object, value: string) {
        const property = { configurable: true, enumerable: false, writable: true, value }
        Object.defineProperty(this, 'message', property)
      },
    })
  }

  constructor(code: XmcErrorCode, text: ErrorText, options?: XmcErrorOptions) {
    const isLazy = typeof text === 'function'
    const frames = isLazy ? withoutFrames() : undefined
    super(isLazy ? undefined : text, options)
    if (frames !== undefined) Error.stackTraceLimit = frames
    this.#text = text
    this.code = code
    this.shortage = options?.shortage
    this.name = new.target.name
  }

  static override [Symbol.hasInstance](value: unknown): boolean {
    if (this !== XmcError) return Function.prototype[Symbol.hasInstance].call(this, value)
    return typeof value === 'object' && value !== null && brand in value
  }

  /** @internal The message of an error, made when it is asked for first. */
  static textOf(error: unknown): string {
    if (typeof error !== 'object' || error === null || !(#text in error)) return ''
    if (typeof error.#text === 'function') error.#text = error.#text()
    return error.#text
  }
}

/** `ERR_XMC_ARGUMENT`: an argument is outside what the call accepts; nothing was done. */
export class InvalidArgumentError extends XmcError {
  /** Name of the argument or option. */
  readonly field: string
  /** The value that was given. */
  readonly received: unknown

  constructor(field: string, expected: string, received: unknown) {
    super('ERR_XMC_ARGUMENT', `${field}: expected ${expected}, got ${describe(received)}`)
    this.field = field
    this.received = received
  }
}

/**
 * `ERR_XMC_SYSTEM_CALL`: the kernel or a hypervisor library refused a call. A detail that is a function is for
 * refusals that a guest can cause: see {@link ErrorText}.
 */
export class SystemCallError extends XmcError {
  /** The call that failed, as `mmap` or `gntdev map`. */
  readonly call: string
  /** Positive errno. */
  readonly errno: number
  /** The errno by name, as `EINVAL`. */
  readonly errnoName: string

  constructor(call: string, errno: number, detail: ErrorText, options?: ErrorOptions) {
    const errnoName = nameOfErrno(errno)
    const text = (why: string): string => `${call} failed with ${errnoName}: ${why}`
    super(
      'ERR_XMC_SYSTEM_CALL',
      typeof detail === 'string' ? text(detail) : () => text(detail()),
      options,
    )
    this.call = call
    this.errno = errno
    this.errnoName = errnoName
  }
}

/**
 * `ERR_XMC_PAGES_MISSING`: a requested page of the guest could not be mapped. A `passing` shortage with the errno
 * `ENOMEM`: the guest has the page, and the host no memory for mapping it.
 */
export class PagesMissingError extends XmcError {
  /** Name of the cache. */
  readonly cache: string
  /** First page of the request that is missing. */
  readonly page: number
  /** Positive errno for that page. */
  readonly errno: number
  /** The errno by name. */
  readonly errnoName: string

  constructor(cache: string, page: number, errno: number) {
    const errnoName = nameOfErrno(errno)
    super(
      'ERR_XMC_PAGES_MISSING',
      () =>
        `${cache}: page ${hex(page)} cannot be mapped (${errnoName}): ` +
        (errno === ENOMEM
          ? 'the host has no memory for it: wait until other mappings are released'
          : `the guest has no memory there, or is gone${addressHint(page)}`),
      { shortage: errno === ENOMEM ? 'passing' : undefined },
    )
    this.cache = cache
    this.page = page
    this.errno = errno
    this.errnoName = errnoName
  }
}

/** `ERR_XMC_PAGED_OUT`: a requested page is paged out, and stayed so as long as the call waits. */
export class PagedOutError extends XmcError {
  /** Name of the cache. */
  readonly cache: string
  /** First page of the request that is paged out. */
  readonly page: number

  constructor(cache: string, page: number) {
    super(
      'ERR_XMC_PAGED_OUT',
      () =>
        `${cache}: page ${hex(page)} is paged out: use the asynchronous form, which waits for it, or try again later`,
    )
    this.cache = cache
    this.page = page
  }
}

/** `ERR_XMC_READ_ONLY`: a store or a writable view was asked of a read-only mapping. */
export class ReadOnlyError extends XmcError {
  constructor(what: string, remedy: string = 'map it with { write: true }') {
    super('ERR_XMC_READ_ONLY', `${what} is read-only: ${remedy}`)
  }
}

/** `ERR_XMC_RELEASED`: a handle was used, or released again, after its release. */
export class ReleasedError extends XmcError {
  constructor(what: string) {
    super('ERR_XMC_RELEASED', `${what} was released: map it again`)
  }
}

/** `ERR_XMC_NOT_LOCKED`: no lock is outstanding at a pointer that was to be released or looked up. */
export class NotLockedError extends XmcError {
  /** Window page of the pointer. */
  readonly windowPage: number
  /** Byte offset in that page. */
  readonly offset: number

  constructor(cache: string, windowPage: number, offset: number) {
    super(
      'ERR_XMC_NOT_LOCKED',
      `${cache}: no lock is outstanding at window page ${windowPage}, offset ${offset}: it was released before, or never handed out`,
    )
    this.windowPage = windowPage
    this.offset = offset
  }
}

/** `ERR_XMC_WRONG_CACHE`: a handle or view belongs to another cache. */
export class WrongCacheError extends XmcError {
  constructor(cache: string, what: string) {
    super('ERR_XMC_WRONG_CACHE', `${cache}: ${what} belongs to another cache: give it to that one`)
  }
}

/** `ERR_XMC_LOCK_LIMIT`: one pointer has as many locks as a lock record can count. */
export class LockLimitError extends XmcError {
  /** The largest number of locks on one pointer. */
  readonly limit: number

  constructor(cache: string, page: number, limit: number) {
    super(
      'ERR_XMC_LOCK_LIMIT',
      () =>
        `${cache}: page ${hex(page)} already has ${countOf(limit, 'lock')} at one offset, the limit: release some`,
    )
    this.limit = limit
  }
}

/** What takes the room of a window that is full. */
export interface WindowUsage {
  /** Pages of mappings that are locked, or that a call under way needs. */
  readonly lockedPages: number
  /** Pages whose unmap failed, and which are tried again. */
  readonly lostPages: number
  /** `lasting` for more than the whole window. */
  readonly shortage: Shortage
}

/**
 * `ERR_XMC_WINDOW_FULL`: too few contiguous pages of the window are neither locked nor lost. Its `shortage` is
 * `passing` where releases, or unmaps that succeed at last, make room, and `lasting` where the request is
 * larger than the window.
 */
export class WindowFullError extends XmcError {
  /** Pages the request needs in one piece. */
  readonly requestedPages: number
  /** Pages of the whole window. */
  readonly windowPages: number
  /** Pages of mappings that are locked, or that a call under way needs. */
  readonly lockedPages: number
  /** Pages whose unmap failed, and which are tried again. */
  readonly lostPages: number

  constructor(cache: string, requestedPages: number, windowPages: number, usage: WindowUsage) {
    const { lockedPages, lostPages, shortage } = usage
    super(
      'ERR_XMC_WINDOW_FULL',
      () =>
        shortage === 'lasting'
          ? `${cache}: ${requestedPages} contiguous pages do not fit a window of ${windowPages}: ask for less, or make the window larger`
          : `${cache}: no ${requestedPages} contiguous pages are free in a window of ${windowPages}: ${lockedPages} are locked, ${lostPages} could not be unmapped: release mappings${lostPages > 0 ? ', see why unmaps fail,' : ''} or make the window larger`,
      { shortage },
    )
    this.requestedPages = requestedPages
    this.windowPages = windowPages
    this.lockedPages = lockedPages
    this.lostPages = lostPages
  }
}

/** What a {@link MemoryAreasError} says. */
export interface MemoryAreasShortage {
  /** Who wanted them: a window or a cache, for the message. */
  readonly who: string
  /** Areas that the call needs, as far as is known. */
  readonly needed: number
  /** Areas that are in use. */
  readonly used: number
  /** Areas that may be in use. */
  readonly limit: number
  /** What raises the limit. */
  readonly option: string
  readonly shortage: Shortage
}

/** `ERR_XMC_MEMORY_AREAS`: a mapping would take more of the process's memory areas than it may have. */
export class MemoryAreasError extends XmcError {
  /** Areas that the call needs, as far as is known. */
  readonly needed: number
  /** Areas that are in use. */
  readonly used: number
  /** Areas that may be in use. */
  readonly limit: number
  /** What raises the limit. */
  readonly option: string

  constructor({ who, needed, used, limit, option, shortage }: MemoryAreasShortage) {
    const remedy = shortage === 'passing' ? 'release mappings, or raise' : 'raise'
    super(
      'ERR_XMC_MEMORY_AREAS',
      () =>
        `${who}: ${needed} memory areas are needed, and ${used} of ${limit} are in use: ${remedy} ${option}`,
      { shortage },
    )
    this.needed = needed
    this.used = used
    this.limit = limit
    this.option = option
  }
}

/**
 * `ERR_XMC_UNMAP_FAILED`: a mapping could not be removed; its place in the window is not used until that has
 * succeeded. It is tried again every now and then, before the window counts as full, by `flush` and by `close`.
 */
export class UnmapFailedError extends XmcError {
  /** First window page of the mapping. */
  readonly windowPage: number
  /** Pages of the mapping. */
  readonly pageCount: number

  constructor(cache: string, windowPage: number, pageCount: number, cause: unknown) {
    super(
      'ERR_XMC_UNMAP_FAILED',
      `${cache}: ${countOf(pageCount, 'page')} at window page ${windowPage} could not be unmapped: the place is out of use until they are; flush() and close() try again`,
      { cause },
    )
    this.windowPage = windowPage
    this.pageCount = pageCount
  }
}

/** `ERR_XMC_NOT_MAPPED`: there is no mapping to replace at that address and size. */
export class NotMappedError extends XmcError {
  constructor(cache: string, page: number, pageCount: number) {
    super(
      'ERR_XMC_NOT_MAPPED',
      `${cache}: nothing is mapped at page ${hex(page)} with ${countOf(pageCount, 'page')}: give the address and length of the mapping to replace`,
    )
  }
}

/** `ERR_XMC_REFUSED`: the operation does not exist for this kind of mapping. */
export class RefusedError extends XmcError {
  constructor(message: string) {
    super('ERR_XMC_REFUSED', message)
  }
}

/** `ERR_XMC_CLOSED`: the cache, window or device was closed. */
export class ClosedError extends XmcError {
  constructor(what: string) {
    super('ERR_XMC_CLOSED', `${what} is closed: open a new one`)
  }
}

/** `ERR_XMC_BUSY`: something that is to be closed is in use: by locks, or by calls under way. */
export class BusyError extends XmcError {
  /** Locks that are outstanding. */
  readonly locks: number
  /** Calls under way. */
  readonly calls: number

  constructor(what: string, locks: number, calls: number = 0) {
    super(
      'ERR_XMC_BUSY',
      calls === 0
        ? `${what} has ${countOf(locks, 'lock')} outstanding: release them first`
        : `${what} has ${calls} calls under way: wait until they have settled, as closeAsync() of a cache does`,
    )
    this.locks = locks
    this.calls = calls
  }
}

/** The name of a positive errno, as `EINVAL`; `errno N` for a number the system does not know. */
export function nameOfErrno(errno: number): string {
  if (!Number.isSafeInteger(errno) || errno <= 0) return `errno ${errno}`
  const name = getSystemErrorName(-errno)
  return name.startsWith('Unknown') ? `errno ${errno}` : name
}

/**
 * The positive errno that an error carries, whichever sign its thrower gave it; undefined when it
 * carries none.
 */
export function errnoOf(error: unknown): number | undefined {
  if (typeof error !== 'object' || error === null || !('errno' in error)) return undefined
  const errno = error.errno
  return typeof errno === 'number' && Number.isInteger(errno) && errno !== 0
    ? Math.abs(errno)
    : undefined
}

/** The message of whatever was thrown: an error's own, or its text. */
export function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown)
}

/** How many of something, for messages: `1 page` or `2 pages`. */
export function countOf(count: number, one: string, several: string = `${one}s`): string {
  return `${count} ${count === 1 ? one : several}`
}

/**
 * What to add to a message about a page that is not there, where its number looks like an address: pages from 1 TiB on
 * are rare, and addresses from 256 MiB on are not.
 */
export function addressHint(page: number): string {
  if (page < 2 ** 28 || page >= 2 ** 48) return ''
  return ` (if ${hex(page)} is an address, its page is ${hex(Math.floor(page / 4096))})`
}

/**
 * Makes the next errors without stack frames. Gives the number of frames that they had, to be put back at once;
 * undefined where nothing was changed: errors have no frames, or the limit must not be set, as of frozen built-ins.
 */
function withoutFrames(): number | undefined {
  const frames = Error.stackTraceLimit
  if (typeof frames !== 'number' || frames === 0) return undefined
  return Reflect.set(Error, 'stackTraceLimit', 0) ? frames : undefined
}

function describe(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value)
  if (typeof value === 'bigint') return `${value}n`
  if (typeof value === 'object' && value !== null) return value.constructor?.name ?? 'an object'
  return String(value)
}

function hex(value: number): string {
  return `0x${value.toString(16)}`
}
