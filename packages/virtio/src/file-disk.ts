import fs from 'node:fs'
import { checkOptions, InvalidArgumentError, type OptionNames } from '@xmc/interface'
import { VIRTIO_BLK_SECTOR_SIZE } from './block-protocol.ts'
import { type Disk, DiskError } from './disk.ts'
import type { FileDiskOptions, FileDiskStatistics } from './file-disk-options.ts'
import { type CallLane, processCallPool } from './internal/call-pool.ts'
import {
  diskError,
  isUnsupported,
  lostWrites,
  tellsOfEarlierWrites,
} from './internal/disk-errors.ts'
import { type DiskFile, openDiskFile } from './internal/disk-file.ts'
import { type FileCalls, fileCalls } from './internal/file-calls.ts'
import { buffersBehind, FileTransfers } from './internal/file-transfers.ts'
import { QUICK_BYTES, QuickReads } from './internal/quick-reads.ts'
import { type Flushed, SyncQueue } from './internal/sync-queue.ts'
import { writeZeros } from './internal/zeros.ts'

const OPTIONS: OptionNames<FileDiskOptions> = {
  readOnly: true,
  identity: true,
  deallocate: true,
  quickReads: true,
  callsInFlight: true,
  calls: true,
  pool: true,
}

/**
 * A regular file or a block device as a disk. Every request is a system call or more on the thread pool,
 * straight between the file and the buffers; short reads and writes are completed. Reads of 32 KiB and more that wait
 * for a thread are one call, up to 4 MiB, where each goes on at the end of the one before.
 *
 * After a flush that failed, or a write that failed as one does whose medium has lost data (`EIO`), every later flush
 * fails with reason `lost-writes`: the kernel tells of lost pages once and then forgets them, so that a
 * flush that succeeds would promise what is gone. Open the disk again to go on.
 *
 * A file that is shorter than it was has lost data, unless `refresh` was called. Reads and flushes find that
 * out, and from then on every request fails with reason `truncated`, since a write would fill the gap with
 * zeros. (A write alone does not look, so it may grow the file again before anybody has noticed.)
 *
 * # Limits
 *
 * The file is not locked: whoever opens it twice for writing has to know why. Zeros are written as
 * bytes, and there is no `discard`, without `deallocate`.
 */
export class FileDisk implements Disk {
  /** Path that it was opened with. */
  readonly path: string
  readonly readOnly: boolean
  readonly identity: string
  readonly discard?: (position: number, length: number) => Promise<void>

  private readonly descriptor: number
  private readonly deallocate: FileDiskOptions['deallocate']
  private readonly calls: FileCalls
  private readonly lane: CallLane
  private readonly transfers: FileTransfers
  private readonly syncs: SyncQueue
  private readonly quick: QuickReads | undefined
  private bytes: number
  /** What was done when it had these bytes. */
  private examined: 'opened' | 'looked at' = 'opened'
  /** Why no request succeeds any more. */
  private truncation: DiskError | undefined
  /** Why no flush succeeds any more. */
  private lost: DiskError | undefined
  private deallocates = true
  private closed = false
  private pending = 0
  private whenIdle: (() => void) | undefined
  private readonly counts = { deallocations: 0, keptRanges: 0 }

  /**
   * Opens a file.
   *
   * A file that is opened read-only may have any size: its last sector is padded with zeros.
   *
   * @throws DiskError `ERR_XMC_DISK`, reason `missing`, `permission`, `directory`, `not-a-file`,
   * `empty`, `unaligned-size`, `read-only` (the file system is), or `io`
   * @throws InvalidArgumentError `ERR_XMC_ARGUMENT`
   */
  static async open(path: string, options: FileDiskOptions = {}): Promise<FileDisk> {
    checkOptions('FileDisk.open', options, OPTIONS)
    const { readOnly = false, calls = fileCalls, callsInFlight = 1 } = options
    if (!Number.isInteger(callsInFlight) || callsInFlight < 1 || callsInFlight > 1024) {
      throw new InvalidArgumentError('callsInFlight', 'an integer from 1 to 1024', callsInFlight)
    }
    return new FileDisk(path, await openDiskFile(path, readOnly, calls), options)
  }

  private constructor(path: string, file: DiskFile, options: FileDiskOptions) {
    this.path = path
    this.descriptor = file.descriptor
    this.bytes = file.size
    this.readOnly = options.readOnly ?? false
    this.identity = options.identity ?? ''
    this.deallocate = options.deallocate
    this.calls = options.calls ?? fileCalls
    this.lane = (options.pool ?? processCallPool()).open(options.callsInFlight)
    this.transfers = new FileTransfers(this.descriptor, this.calls, this.lane)
    this.syncs = new SyncQueue((done) => this.sync(done))
    this.quick = options.quickReads === false ? undefined : new QuickReads()
    if (this.deallocate !== undefined) {
      this.discard = async (position, length) => {
        await this.release(position, length)
      }
    }
  }

  /** Bytes of the file; `size` is this, rounded up to 512 on a read-only disk. */
  get fileSize(): number {
    return this.bytes
  }

  get size(): number {
    const sectors = this.bytes / VIRTIO_BLK_SECTOR_SIZE
    return (this.readOnly ? Math.ceil(sectors) : Math.floor(sectors)) * VIRTIO_BLK_SECTOR_SIZE
  }

  /** A snapshot of the counts. */
  get statistics(): FileDiskStatistics {
    const { limit, running, mostRunning, waiting, waited } = this.lane
    return { callsInFlight: limit, running, mostRunning, waiting, waited, ...this.counts }
  }

  /**
   * Takes the size that the file has now, longer or shorter, as that of the disk; on a disk that is written,
   * rounded down to 512. A disk that failed for being truncated goes on with it.
   *
   * @throws DiskError `ERR_XMC_DISK`, reason `closed` or `io`; the size stays as it was
   */
  refresh(): void {
    if (this.closed) throw this.closedError()
    try {
      this.bytes = this.calls.sizeNow(this.descriptor)
      this.examined = 'looked at'
    } catch (error) {
      throw diskError(this.path, 'examined', error)
    }
    this.truncation = undefined
  }

  /** @throws DiskError `ERR_XMC_DISK`, reason `truncated`, `range`, `closed` or `io` */
  read(buffers: readonly Uint8Array[], position: number): Promise<void> {
    return this.transfer(buffers, position, false)
  }

  /** @throws DiskError `ERR_XMC_DISK`, reason `read-only`, `full`, `truncated`, `range`, `closed` or `io` */
  write(buffers: readonly Uint8Array[], position: number): Promise<void> {
    return this.transfer(buffers, position, true)
  }

  /**
   * By fdatasync, one at a time.
   *
   * @throws DiskError `ERR_XMC_DISK`, reason `full`, `truncated`, `closed` or `io`; and `lost-writes` after that
   */
  flush(): Promise<void> {
    const refusal = this.refusal(0, 0, false) ?? this.lost
    if (refusal !== undefined) return Promise.reject(refusal)
    if (this.readOnly) return Promise.resolve()
    return this.pended((settle) => this.syncs.flush(settle))
  }

  /** @throws DiskError `ERR_XMC_DISK`, as `write` */
  async writeZeroes(position: number, length: number, mayUnmap: boolean): Promise<void> {
    const refusal = this.refusal(position, length, true)
    if (refusal !== undefined) throw refusal
    if (mayUnmap && this.deallocate !== undefined) {
      try {
        if (await this.release(position, length)) return
      } catch {
        // Zeros can be written whatever kept the space from being given back; if not, that says why.
        this.counts.keptRanges += 1
      }
    }
    await writeZeros((zeros, at) => this.write(zeros, at), position, length)
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
    this.lane.close()
    try {
      fs.closeSync(this.descriptor)
    } catch (error) {
      throw diskError(this.path, 'closed', error)
    }
  }

  /** Returns whether the space of a range was given back, so that it reads as zeros. */
  private async release(position: number, length: number): Promise<boolean> {
    const refusal = this.refusal(position, length, true)
    if (refusal !== undefined) throw refusal
    if (!this.deallocates) {
      this.counts.keptRanges += 1
      return false
    }
    try {
      await this.pended((settle) => {
        this.lane.run(() => void this.callDeallocate(position, length, settle))
      })
      this.counts.deallocations += 1
      return true
    } catch (error) {
      if (!(error instanceof DiskError) || !isUnsupported(error.cause)) throw error
      this.deallocates = false
      this.counts.keptRanges += 1
      return false
    }
  }

  private async callDeallocate(position: number, length: number, settle: Settle): Promise<void> {
    let failure: DiskError | undefined
    try {
      await this.deallocate?.(this.descriptor, position, length)
    } catch (error) {
      failure = diskError(this.path, 'deallocated', error)
    }
    this.lane.ended()
    settle(failure)
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
    let count = 0
    try {
      count = quick?.attempt(() => this.transfers.readNow(buffers, position)) ?? 0
    } catch (error) {
      return Promise.reject(diskError(this.path, 'read', error))
    }
    if (count === left) return Promise.resolve()
    const rest = count === 0 ? buffers : buffersBehind(buffers, count)
    return this.pended((settle) => {
      this.transfers.start(write, rest, position + count, left - count, (error, end, at) => {
        if (error !== undefined) settle(this.failed(write, error))
        else if (end === undefined || at === undefined) settle()
        else settle(this.atEnd(end, at, write))
      })
    })
  }

  private failed(write: boolean, cause: unknown): DiskError {
    const error = diskError(this.path, write ? 'written' : 'read', cause)
    if (write && tellsOfEarlierWrites(error)) this.lost ??= lostWrites(this.path, error)
    return error
  }

  /** The file gave or took nothing at `position`: padding, or an error. */
  private atEnd(
    buffers: readonly Uint8Array[],
    position: number,
    write: boolean,
  ): DiskError | undefined {
    if (write) return diskError(this.path, 'written', new Error('the system took no byte'))
    if (position < this.bytes) return this.truncated(position)
    const length = buffers.reduce((sum, buffer) => sum + buffer.length, 0)
    // It was made shorter since the request came.
    if (position + length > this.size) return this.rangeError(position, length)
    for (const buffer of buffers) buffer.fill(0)
    return undefined
  }

  private sync(done: Flushed): void {
    this.lane.run(() => {
      const ended: Flushed = (error) => {
        this.lane.ended()
        done(error)
      }
      // What has failed before may be told to nobody any more.
      if (this.lost !== undefined) ended(this.lost)
      else this.calls.sync(this.descriptor, (error) => this.synced(error, ended))
    })
  }

  private synced(error: unknown, done: Flushed): void {
    if (error !== null) {
      const failure = diskError(this.path, 'flushed', error)
      this.lost ??= lostWrites(this.path, failure)
      done(failure)
      return
    }
    if (this.lost !== undefined) {
      done(this.lost)
      return
    }
    this.calls.size(this.descriptor, (failed, size) => {
      if (failed !== null) done(diskError(this.path, 'examined', failed))
      else if (size < this.bytes) done(this.truncated(size))
      else done()
    })
  }

  private truncated(size: number): DiskError {
    this.truncation ??= new DiskError(
      this.path,
      'truncated',
      `the file ends at or before ${size} and had ${this.bytes} bytes when it was ${this.examined}: put its data ` +
        'back and open it again, or let the disk take its new size',
    )
    return this.truncation
  }

  private refusal(position: number, length: number, write: boolean): DiskError | undefined {
    if (this.closed) return this.closedError()
    if (this.truncation !== undefined) return this.truncation
    if (write && this.readOnly) {
      return new DiskError(this.path, 'read-only', 'the disk was opened read-only')
    }
    if (position >= 0 && position + length <= this.size) return undefined
    return this.rangeError(position, length)
  }

  private closedError(): DiskError {
    return new DiskError(this.path, 'closed', 'the disk is closed: open it again')
  }

  private rangeError(position: number, length: number): DiskError {
    return new DiskError(
      this.path,
      'range',
      `${length} bytes at ${position} do not lie in a disk of ${this.size}`,
    )
  }

  private pended(start: (settle: Settle) => void): Promise<void> {
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

type Settle = (error?: DiskError) => void
