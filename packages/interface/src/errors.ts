import { getSystemErrorName } from 'node:util'

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
