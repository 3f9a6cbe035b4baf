import fs from 'node:fs'
import { basename } from 'node:path'
import { VIRTIO_BLK_ID_SIZE, VIRTIO_BLK_SECTOR_SIZE } from './block-protocol.ts'
import { type Disk, DiskError, type DiskReason } from './disk.ts'
import { codeOf, messageOf } from './internal/error-parts.ts'
import { type FileCalls, fileCalls, type Transferred } from './internal/file-calls.ts'
import { QUICK_BYTES, QuickReads } from './internal/quick-reads.ts'

/** How a file is opened as a disk. */
export interface FileDiskOptions {
  /** Whether it is opened for reading alone; by default false. */
  readonly readOnly?: boolean | undefined
  /** See `Disk.identity`; by default the name of the file. */
  readonly identity?: string | undefined
  /**
   * Gives the space of a range back, so that it reads as zeros, as `fallocate` with PUNCH_HOLE does.
   * Node has no such call: with this the disk offers `discard`, and zeros cost no space.
   */
  readonly deallocate?:
    | ((descriptor: number, position: number, length: number) => void | Promise<void>)
    | undefined
  /**
   * Whether reads up to 32 KiB may be made on the calling thread while they turn out quick, that is
   * from the page cache; by default true. A file on a medium that may hang, as a network file system,
   * is better off without: a read that hangs holds up the process.
   */
  readonly quickReads?: boolean | undefined
  /** @internal */
  readonly calls?: FileCalls | undefined
}

/**
 * A regular file as a disk. Every request is a system call or more on the thread pool, straight
 * between the file and the buffers; short reads and writes are completed.
 *
 * A file that is shorter than when it was opened has lost data. Reads and flushes find that out, and
 * from then on every request fails with reason `truncated`, since a write would fill the gap with
 * zeros. (A write alone does not look, so it may grow the file again before anybody has noticed.)
 *
 * # Limits
 *
 * The file is not locked: whoever opens it twice for writing has to know why. Zeros are written as
 * bytes, and there is no `discard`, without `deallocate`. Block devices are not supported: Node does
 * not tell their size.
 */
export class FileDisk implements Disk {
  /** Path that it was opened with. */
  readonly path: string
  /** Bytes of the file; `size` is this, rounded up to 512 on a read-only disk. */
  readonly fileSize: number
  readonly size: number
  readonly readOnly: boolean
  readonly identity: string
  readonly discard?: (position: number, length: number) => Promise<void>

  private readonly descriptor: number
  private readonly deallocate: FileDiskOptions['deallocate']
  private readonly calls: FileCalls
  private readonly quick: QuickReads | undefined
  private failed: DiskError | undefined
  private closed = false
  private pending = 0
  private whenIdle: (() => void) | undefined

  /**
   * Opens a file.
   *
   * A file that is opened read-only may have any size: its last sector is padded with zeros.
   *
   * @throws DiskError `ERR_XMC_DISK`, reason `missing`, `permission`, `directory`, `not-a-file`,
   * `empty`, `unaligned-size`, `read-only` (the file system is), or `io`
   */
  static async open(path: string, options: FileDiskOptions = {}): Promise<FileDisk> {
    const readOnly = options.readOnly ?? false
    try {
      // Looked at before it is opened: opening a FIFO would wait for its other end.
      checkKind(path, await fs.promises.stat(path))
      const descriptor = fs.openSync(path, readOnly ? 'r' : 'r+')
      try {
        const { size } = fs.fstatSync(descriptor)
        checkSize(path, size, readOnly)
        return new FileDisk(path, descriptor, size, options)
      } catch (error) {
        fs.closeSync(descriptor)
        throw error
      }
    } catch (error) {
      throw error instanceof DiskError ? error : diskError(path, 'opened', error)
    }
  }

  private constructor(
    path: string,
    descriptor: number,
    fileSize: number,
    options: FileDiskOptions,
  ) {
    this.path = path
    this.descriptor = descriptor
    this.fileSize = fileSize
    this.size = Math.ceil(fileSize / VIRTIO_BLK_SECTOR_SIZE) * VIRTIO_BLK_SECTOR_SIZE
    this.readOnly = options.readOnly ?? false
    this.identity = options.identity ?? identityOf(path)
    this.deallocate = options.deallocate
    this.calls = options.calls ?? fileCalls
    this.quick = options.quickReads === false ? undefined : new QuickReads()
    if (this.deallocate !== undefined) {
      this.discard = (position, length) => this.release(position, length)
    }
  }

  /** @throws DiskError `ERR_XMC_DISK`, reason `truncated`, `range`, `closed` or `io` */
  read(buffers: readonly Uint8Array[], position: number): Promise<void> {
    return this.transfer(buffers, position, false)
  }

  /** @throws DiskError `ERR_XMC_DISK`, reason `read-only`, `full`, `truncated`, `range`, `closed` or `io` */
  write(buffers: readonly Uint8Array[], position: number): Promise<void> {
    return this.transfer(buffers, position, true)
  }

  /** By fdatasync. @throws DiskError `ERR_XMC_DISK`, reason `full`, `truncated`, `closed` or `io` */
  flush(): Promise<void> {
    const refusal = this.refusal(0, 0, false)
    if (refusal !== undefined) return Promise.reject(refusal)
    if (this.readOnly) return Promise.resolve()
    return this.pended((settle) => {
      this.calls.sync(this.descriptor, (error) => {
        if (error !== null) settle(diskError(this.path, 'flushed', error))
        else this.checkLength(settle)
      })
    })
  }

  /** @throws DiskError `ERR_XMC_DISK`, as `write` */
  async writeZeroes(position: number, length: number, mayUnmap: boolean): Promise<void> {
    if (mayUnmap && this.deallocate !== undefined) {
      await this.release(position, length)
      return
    }
    for (let done = 0; done < length; done += ZEROS_AT_ONCE) {
      const count = Math.min(length - done, ZEROS_AT_ONCE)
      // One request, one system call at a time
      await this.write(zeros(count), position + done)
    }
  }

  /** Closes the file, after the requests that are under way; further ones fail with reason `closed`. */
  async close(): Promise<void> {
    if (this.closed) return
    this.closed = true
    if (this.pending > 0) {
      await new Promise<void>((resolve) => {
        this.whenIdle = resolve
      })
    }
    try {
      fs.closeSync(this.descriptor)
    } catch (error) {
      throw diskError(this.path, 'closed', error)
    }
  }

  private async release(position: number, length: number): Promise<void> {
    const refusal = this.refusal(position, length, true)
    if (refusal !== undefined) throw refusal
    this.pending += 1
    try {
      await this.deallocate?.(this.descriptor, position, length)
    } catch (error) {
      throw diskError(this.path, 'deallocated', error)
    } finally {
      this.ended()
    }
  }

  private transfer(
    buffers: readonly Uint8Array[],
    position: number,
    write: boolean,
  ): Promise<void> {
    let left = 0
    for (const buffer of buffers) left += buffer.length
    const refusal = this.refusal(position, left, write)
    if (refusal !== undefined) return Promise.reject(refusal)
    if (left === 0) return Promise.resolve()
    const quick = write || left > QUICK_BYTES ? undefined : this.quick
    const turn = quick?.nextTurn()
    if (turn !== undefined) return turn.then(() => this.transfer(buffers, position, write))
    let rest = buffers
    let at = position
    try {
      const count = quick?.attempt(() => this.calls.readNow(this.descriptor, buffers, position))
      if (count === left) return Promise.resolve()
      if (count !== undefined && count > 0) {
        rest = behind(buffers, count)
        at += count
        left -= count
      }
    } catch (error) {
      return Promise.reject(diskError(this.path, 'read', error))
    }
    const call = write ? this.calls.write : this.calls.read
    return this.pended((settle) => {
      const done: Transferred = (error, count) => {
        if (error !== null) settle(diskError(this.path, write ? 'written' : 'read', error))
        else if (count === left) settle()
        else if (count === 0) settle(this.atEnd(rest, at, write))
        else {
          rest = behind(rest, count)
          at += count
          left -= count
          call(this.descriptor, rest, at, done)
        }
      }
      call(this.descriptor, rest, at, done)
    })
  }

  /** The file gave or took nothing at `position`: padding, or an error. */
  private atEnd(
    buffers: readonly Uint8Array[],
    position: number,
    write: boolean,
  ): DiskError | undefined {
    if (write) return diskError(this.path, 'written', new Error('the system took no byte'))
    if (position < this.fileSize) return this.truncated(position)
    for (const buffer of buffers) buffer.fill(0)
    return undefined
  }

  private checkLength(settle: (error?: DiskError) => void): void {
    this.calls.size(this.descriptor, (error, size) => {
      if (error !== null) settle(diskError(this.path, 'examined', error))
      else if (size < this.fileSize) settle(this.truncated(size))
      else settle()
    })
  }

  private truncated(size: number): DiskError {
    this.failed ??= new DiskError(
      this.path,
      'truncated',
      `the file ends at or before ${size} and had ${this.fileSize} bytes when it was opened: ` +
        'put its data back and open it again',
    )
    return this.failed
  }

  private refusal(position: number, length: number, write: boolean): DiskError | undefined {
    if (this.closed) return new DiskError(this.path, 'closed', 'the disk is closed: open it again')
    if (this.failed !== undefined) return this.failed
    if (write && this.readOnly) {
      return new DiskError(this.path, 'read-only', 'the disk was opened read-only')
    }
    if (position >= 0 && position + length <= this.size) return undefined
    return new DiskError(
      this.path,
      'range',
      `${length} bytes at ${position} do not lie in a disk of ${this.size}`,
    )
  }

  private pended(start: (settle: (error?: DiskError) => void) => void): Promise<void> {
    return new Promise((resolve, reject) => {
      this.pending += 1
      start((error) => {
        this.ended()
        if (error === undefined) resolve()
        else reject(error)
      })
    })
  }

  private ended(): void {
    this.pending -= 1
    if (this.pending === 0) this.whenIdle?.()
  }
}

const ZEROS = new Uint8Array(64 * 1024)
const ZEROS_AT_ONCE = 16 * ZEROS.length

function zeros(length: number): Uint8Array[] {
  const whole = Math.floor(length / ZEROS.length)
  const buffers = Array.from({ length: whole }, () => ZEROS)
  if (length % ZEROS.length > 0) buffers.push(ZEROS.subarray(0, length % ZEROS.length))
  return buffers
}

/** What is left of `buffers` behind their first `count` bytes. */
function behind(buffers: readonly Uint8Array[], count: number): readonly Uint8Array[] {
  let skip = count
  let index = 0
  for (const buffer of buffers) {
    if (skip < buffer.length) break
    skip -= buffer.length
    index += 1
  }
  const rest = buffers.slice(index)
  const [first] = rest
  if (first !== undefined && skip > 0) rest[0] = first.subarray(skip)
  return rest
}

function checkKind(path: string, stats: fs.Stats): void {
  if (stats.isFile()) return
  if (stats.isDirectory()) {
    throw new DiskError(path, 'directory', 'a directory cannot be a disk: give a file')
  }
  throw new DiskError(path, 'not-a-file', 'only a regular file can be a disk')
}

function checkSize(path: string, size: number, readOnly: boolean): void {
  if (size === 0)
    throw new DiskError(path, 'empty', 'the file is empty: a disk has at least a byte')
  if (readOnly || size % VIRTIO_BLK_SECTOR_SIZE === 0) return
  throw new DiskError(
    path,
    'unaligned-size',
    `the file has ${size} bytes, ${size % VIRTIO_BLK_SECTOR_SIZE} over a multiple of ` +
      `${VIRTIO_BLK_SECTOR_SIZE}: open it read-only, or change its size`,
  )
}

/** A name as a serial number: printable ASCII, cut to its length. */
function identityOf(path: string): string {
  return basename(path)
    .replaceAll(/[^\x20-\x7e]/g, '_')
    .slice(0, VIRTIO_BLK_ID_SIZE)
}

function diskError(path: string, operation: string, cause: unknown): DiskError {
  const errno = codeOf(cause)
  const errnoName = typeof errno === 'string' ? errno : undefined
  const [reason, advice] = REASONS.get(errnoName ?? '') ?? ['io', 'see the cause']
  return new DiskError(
    path,
    reason,
    `the file cannot be ${operation} (${messageOf(cause)}): ${advice}`,
    { cause, errnoName },
  )
}

const REASONS: ReadonlyMap<string, readonly [DiskReason, string]> = new Map([
  ['ENOENT', ['missing', 'give the path of a file that exists']],
  ['ENOTDIR', ['missing', 'give the path of a file that exists']],
  ['EISDIR', ['directory', 'give a file']],
  ['EACCES', ['permission', 'open it read-only, or as a user who may']],
  ['EPERM', ['permission', 'open it read-only, or as a user who may']],
  ['EROFS', ['read-only', 'open it read-only, or make the file system writable']],
  ['ENOSPC', ['full', 'make space on the file system']],
  ['EDQUOT', ['full', 'raise the quota']],
])
