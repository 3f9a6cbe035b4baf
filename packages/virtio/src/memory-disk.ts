import { InvalidArgumentError } from '@xmc/core/errors'
import { VIRTIO_BLK_SECTOR_SIZE } from './block-protocol.ts'
import { type Disk, DiskError } from './disk.ts'

/** How a memory disk is made. */
export interface MemoryDiskOptions {
  /** Whether it refuses writes; by default false. */
  readonly readOnly?: boolean | undefined
  /** See `Disk.identity`; by default `memory`. */
  readonly identity?: string | undefined
}

/** A disk in the memory of the process, for tests and scratch space. */
export class MemoryDisk implements Disk {
  /** Its bytes, as they are. */
  readonly bytes: Uint8Array
  readonly size: number
  readonly readOnly: boolean
  readonly identity: string
  /** Flushes so far. */
  flushes = 0

  /**
   * @param content its bytes, which it keeps, or how many zeros
   * @throws InvalidArgumentError `ERR_XMC_ARGUMENT` unless the size is a multiple of 512, over 0
   */
  constructor(content: Uint8Array | number, options: MemoryDiskOptions = {}) {
    const size = typeof content === 'number' ? content : content.length
    if (!Number.isInteger(size) || size <= 0 || size % VIRTIO_BLK_SECTOR_SIZE !== 0) {
      throw new InvalidArgumentError('content', 'a multiple of 512 bytes, over 0', size)
    }
    this.bytes = typeof content === 'number' ? new Uint8Array(content) : content
    this.size = size
    this.readOnly = options.readOnly ?? false
    this.identity = options.identity ?? 'memory'
  }

  async read(buffers: readonly Uint8Array[], position: number): Promise<void> {
    let at = this.checked(position, lengthOf(buffers))
    for (const buffer of buffers) {
      buffer.set(this.bytes.subarray(at, at + buffer.length))
      at += buffer.length
    }
  }

  async write(buffers: readonly Uint8Array[], position: number): Promise<void> {
    let at = this.checkedWrite(position, lengthOf(buffers))
    for (const buffer of buffers) {
      this.bytes.set(buffer, at)
      at += buffer.length
    }
  }

  async flush(): Promise<void> {
    this.flushes += 1
  }

  async discard(position: number, length: number): Promise<void> {
    this.bytes.fill(0, this.checkedWrite(position, length), position + length)
  }

  async writeZeroes(position: number, length: number): Promise<void> {
    this.bytes.fill(0, this.checkedWrite(position, length), position + length)
  }

  private checked(position: number, length: number): number {
    if (position >= 0 && position + length <= this.size) return position
    throw new DiskError(
      this.identity,
      'range',
      `${length} bytes at ${position} do not lie in a disk of ${this.size}`,
    )
  }

  private checkedWrite(position: number, length: number): number {
    if (!this.readOnly) return this.checked(position, length)
    throw new DiskError(this.identity, 'read-only', 'the disk is read-only')
  }
}

function lengthOf(buffers: readonly Uint8Array[]): number {
  return buffers.reduce((sum, buffer) => sum + buffer.length, 0)
}
