import { checkOptions, InvalidArgumentError } from '@xmc/interface'
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
  /** Its bytes, as they are; others after a `resize`. */
  bytes: Uint8Array
  /** Bytes; set by `resize`. */
  size: number
  readonly readOnly: boolean
  readonly identity: string
  /** Flushes so far. */
  flushes = 0

  /**
   * @param content its bytes, which it keeps, or how many zeros
   * @throws InvalidArgumentError `ERR_XMC_ARGUMENT` unless the size is a multiple of 512, over 0
   */
  constructor(content: Uint8Array | number, options: MemoryDiskOptions = {}) {
    checkOptions('MemoryDisk', options, { readOnly: true, identity: true })
    checkSize('content', typeof content === 'number' ? content : content.length)
    this.bytes = typeof content === 'number' ? new Uint8Array(content) : content
    this.size = this.bytes.length
    this.readOnly = options.readOnly ?? false
    this.identity = options.identity ?? 'memory'
  }

  /**
   * Gives the disk another size; what is added reads as zeros. Tell its block device by `resized`.
   *
   * @throws InvalidArgumentError `ERR_XMC_ARGUMENT` unless the size is a multiple of 512, over 0
   */
  resize(size: number): void {
    checkSize('size', size)
    const bytes = new Uint8Array(size)
    bytes.set(this.bytes.subarray(0, size))
    this.bytes = bytes
    this.size = size
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

function checkSize(field: string, size: number): void {
  if (Number.isInteger(size) && size > 0 && size % VIRTIO_BLK_SECTOR_SIZE === 0) return
  throw new InvalidArgumentError(field, 'a multiple of 512 bytes, over 0', size)
}

function lengthOf(buffers: readonly Uint8Array[]): number {
  return buffers.reduce((sum, buffer) => sum + buffer.length, 0)
}
