import { closeSync, fstatSync, ftruncateSync, readSync, writeSync } from 'node:fs'
import { ClosedError, checkOptions, InvalidArgumentError, SystemCallError } from '@xmc/interface'
import {
  FALLOC_FL_KEEP_SIZE,
  FALLOC_FL_PUNCH_HOLE,
  MFD_CLOEXEC,
  type SystemCalls,
  systemCalls,
} from './internal/system-calls.ts'

/** What a memory file is made of. */
export interface MemoryFileOptions {
  /** Shown as `memfd:NAME` in `/proc/self/maps`; need not be unique. 1 to 249 bytes of UTF-8 without NUL. */
  readonly name: string
  /** Size in bytes, from 0 to 2^53 − 1. May exceed the memory of the machine: only pages that are written take any. */
  readonly size: number
}

/**
 * Creates a file of zeros that lives in memory and has no path (memfd_create). It stays until it is
 * closed and no window maps it; child processes do not get it.
 *
 * @throws UnsupportedPlatformError `ERR_XMC_UNSUPPORTED_PLATFORM`
 * @throws InvalidArgumentError `ERR_XMC_ARGUMENT`
 * @throws SystemCallError `ERR_XMC_SYSTEM_CALL`: `EMFILE` for too many open files, `EFBIG` for a size beyond the kernel's
 */
export function createMemoryFile(options: MemoryFileOptions): MemoryFile {
  checkOptions('createMemoryFile', options, { name: true, size: true })
  const { name, size } = options
  checkName(name)
  checkSize(size)
  const calls = systemCalls()
  const fd = calls.memfdCreate(name, MFD_CLOEXEC)
  if (fd < 0) throw new SystemCallError('memfd_create', calls.errno(), `memory file ${name}`)
  const file = new MemoryFile(calls, fd, name)
  try {
    file.resize(size)
  } catch (error) {
    file.close()
    throw error
  }
  return file
}

/** A file in memory, to be read, written and mapped; made by {@link createMemoryFile}. */
class MemoryFile {
  /** The name it was created with. */
  readonly name: string
  readonly #calls: SystemCalls
  readonly #fd: number
  #size = 0
  #closed = false

  constructor(calls: SystemCalls, fd: number, name: string) {
    this.#calls = calls
    this.#fd = fd
    this.name = name
  }

  /**
   * The descriptor, to be mapped in a window. It is the file's own: do not close it.
   *
   * @throws ClosedError `ERR_XMC_CLOSED`
   */
  get fd(): number {
    if (this.#closed) throw new ClosedError(`memory file ${this.name}`)
    return this.#fd
  }

  /** Bytes of the file, as last set here. */
  get size(): number {
    return this.#size
  }

  /**
   * Bytes of memory that the file takes, a multiple of 4096.
   *
   * @throws ClosedError `ERR_XMC_CLOSED`
   */
  get allocatedBytes(): number {
    // Linux counts blocks of 512 bytes, whatever the file system's own are.
    return this.#attempt('fstat', () => fstatSync(this.fd).blocks * 512)
  }

  /**
   * Sets the size in bytes, from 0 to 2^53 − 1. New bytes are zeros; bytes beyond the size are gone.
   * The caller guarantees that no window maps pages that go: touching one ends the process (SIGBUS).
   *
   * @throws ClosedError `ERR_XMC_CLOSED`
   * @throws InvalidArgumentError `ERR_XMC_ARGUMENT`
   * @throws SystemCallError `ERR_XMC_SYSTEM_CALL` when the kernel refuses; the size stays
   */
  resize(size: number): void {
    checkSize(size)
    const { fd } = this
    this.#attempt('ftruncate', () => ftruncateSync(fd, size))
    this.#size = size
  }

  /**
   * Fills `target` with the bytes from `offset` on; all of them lie in the file.
   *
   * @throws ClosedError `ERR_XMC_CLOSED`
   * @throws InvalidArgumentError `ERR_XMC_ARGUMENT`
   * @throws SystemCallError `ERR_XMC_SYSTEM_CALL` when the kernel refuses
   */
  read(offset: number, target: Uint8Array): void {
    const { fd } = this
    this.#checkRange(offset, target.length, 0)
    // One call moves at most 2 GiB − 4 KiB.
    for (let done = 0; done < target.length; ) {
      const moved = this.#attempt('pread', () =>
        readSync(fd, target, done, target.length - done, offset + done),
      )
      if (moved === 0) {
        const expected = 'an offset inside the file, which was cut short through its descriptor'
        throw new InvalidArgumentError('offset', expected, offset + done)
      }
      done += moved
    }
  }

  /**
   * Writes `source` at `offset`; all of it lies in the file, which does not grow.
   *
   * @throws ClosedError `ERR_XMC_CLOSED`
   * @throws InvalidArgumentError `ERR_XMC_ARGUMENT`
   * @throws SystemCallError `ERR_XMC_SYSTEM_CALL` when the kernel refuses, as `ENOSPC` without memory
   */
  write(offset: number, source: Uint8Array): void {
    const { fd } = this
    this.#checkRange(offset, source.length, 0)
    for (let done = 0; done < source.length; ) {
      done += this.#attempt('pwrite', () =>
        writeSync(fd, source, done, source.length - done, offset + done),
      )
    }
  }

  /**
   * Turns `length` bytes from `offset` into zeros and gives the memory of the pages that lie wholly
   * among them back, also where a window maps them; the size stays.
   *
   * @param length at least 1, up to the end of the file
   * @throws ClosedError `ERR_XMC_CLOSED`
   * @throws InvalidArgumentError `ERR_XMC_ARGUMENT`
   * @throws SystemCallError `ERR_XMC_SYSTEM_CALL` when the kernel refuses
   */
  punchHole(offset: number, length: number): void {
    const { fd } = this
    this.#checkRange(offset, length, 1)
    const mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE
    if (this.#calls.fallocate(fd, mode, offset, length) !== 0) {
      const detail = `hole of ${length} bytes at ${offset} in memory file ${this.name}`
      throw new SystemCallError('fallocate', this.#calls.errno(), detail)
    }
  }

  /** Closes the descriptor. Pages that a window maps stay until they are replaced there. A second call does nothing. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    closeSync(this.#fd)
  }

  /** The same as {@link MemoryFile.close}. */
  [Symbol.dispose](): void {
    this.close()
  }

  #checkRange(offset: number, length: number, least: number): void {
    if (!Number.isSafeInteger(offset) || offset < 0 || offset > this.#size) {
      throw new InvalidArgumentError('offset', `an integer from 0 to ${this.#size}`, offset)
    }
    const most = this.#size - offset
    if (!Number.isSafeInteger(length) || length < least || length > most) {
      const expected = `an integer from ${least} to ${most}, up to the end of the file`
      throw new InvalidArgumentError('length', expected, length)
    }
  }

  #attempt<Result>(call: string, action: () => Result): Result {
    try {
      return action()
    } catch (error) {
      if (!hasErrno(error)) throw error
      throw new SystemCallError(call, -error.errno, `memory file ${this.name}`, { cause: error })
    }
  }
}

export type { MemoryFile }

function checkName(name: string): void {
  const bytes = typeof name === 'string' && !name.includes('\0') ? Buffer.byteLength(name) : 0
  if (bytes < 1 || bytes > 249) {
    throw new InvalidArgumentError('name', '1 to 249 bytes of UTF-8 without NUL', name)
  }
}

function checkSize(size: number): void {
  if (!Number.isSafeInteger(size) || size < 0) {
    throw new InvalidArgumentError('size', 'an integer from 0 to 2^53 - 1', size)
  }
}

function hasErrno(error: unknown): error is Error & { readonly errno: number } {
  return error instanceof Error && 'errno' in error && typeof error.errno === 'number'
}
