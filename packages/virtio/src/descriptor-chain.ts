import { ReleasedError } from '@xmc/interface'
import { VirtqueueError } from './errors.ts'
import type { BufferPart } from './internal/buffer-part.ts'

/**
 * One request: the buffers that a driver made available together, seen as a stretch of bytes that the
 * device reads and one that it writes, however the driver cut them up (virtio 1.2, 2.7.4).
 *
 * Everything is mapped before a device gets the chain, and released when the device is done with it:
 * what `readable` and `writable` hand out must not be used after that. The guest may change its
 * memory at any time: read what decides something once, by `read`, which copies.
 *
 * Every access throws `VirtqueueError` `ERR_XMC_VIRTQUEUE`, reason `short-buffer`, when the chain has
 * fewer bytes than asked for; `GuestBufferError` `ERR_XMC_GUEST_BUFFER` when the guest's memory is not
 * there; `ReleasedError` `ERR_XMC_RELEASED` after the request. A device may let them through: then the
 * transport stops the device until the driver resets it.
 */
export abstract class DescriptorChain {
  /** Index of the queue. */
  readonly queue: number
  /** Index of the first descriptor: the request's identity in the used ring. */
  readonly head: number
  /** Bytes that the device may read. */
  readableLength = 0
  /** Bytes that the device may write. */
  writableLength = 0
  /** @internal */
  protected firstReadable: BufferPart | undefined = undefined
  /** @internal */
  protected firstWritable: BufferPart | undefined = undefined
  /** Whether the device may use it. @internal */
  protected live = true

  /** @internal */
  protected constructor(queue: number, head: number) {
    this.queue = queue
    this.head = head
  }

  /**
   * Whether nobody waits for the request any more, since the device was reset or stopped while it was being
   * handled: what the device does with it then has no effect on the guest, and must have none on what
   * the device does for later requests.
   */
  abstract get abandoned(): boolean

  /** A copy of `length` device-readable bytes from `offset` on, by default all. */
  read(offset: number = 0, length: number = this.readableLength - offset): Uint8Array {
    const count = this.checkedLength(offset, length, this.readableLength)
    // A guest can hand out gigabytes that it does not have: nothing is allocated for them.
    this.checkReadable(offset, count)
    const target = new Uint8Array(count)
    this.readInto(target, offset)
    return target
  }

  /** Copies `target.length` device-readable bytes from `offset` on into `target`. */
  readInto(target: Uint8Array, offset: number = 0): void {
    let left = this.checkedLength(offset, target.length, this.readableLength)
    let skip = offset
    let done = 0
    for (let part = this.firstReadable; part !== undefined && left > 0; part = part.next) {
      if (skip >= part.length) {
        skip -= part.length
        continue
      }
      const count = Math.min(part.length - skip, left)
      part.copyOut(skip, count, target, done)
      skip = 0
      done += count
      left -= count
    }
  }

  /** Copies `source` into the device-writable bytes from `offset` on. */
  write(source: Uint8Array, offset: number = 0): void {
    let left = this.checkedLength(offset, source.length, this.writableLength)
    let skip = offset
    let done = 0
    for (let part = this.firstWritable; part !== undefined && left > 0; part = part.next) {
      if (skip >= part.length) {
        skip -= part.length
        continue
      }
      const count = Math.min(part.length - skip, left)
      part.copyIn(skip, count, source, done)
      skip = 0
      done += count
      left -= count
    }
  }

  /**
   * The guest's memory behind `length` device-readable bytes from `offset` on, in pieces. It must not
   * be stored into: its pages may be read-only, and then the process dies.
   */
  readable(offset: number, length: number): Uint8Array[] {
    return gather(
      this.firstReadable,
      offset,
      this.checkedLength(offset, length, this.readableLength),
    )
  }

  /** The guest's memory behind `length` device-writable bytes from `offset` on, in pieces. */
  writable(offset: number, length: number): Uint8Array[] {
    return gather(
      this.firstWritable,
      offset,
      this.checkedLength(offset, length, this.writableLength),
    )
  }

  /** @throws GuestBufferError when one of the buffers behind the bytes cannot be used */
  private checkReadable(offset: number, length: number): void {
    let start = 0
    for (let part = this.firstReadable; part !== undefined; part = part.next) {
      if (start >= offset + length) return
      if (start + part.length > offset) part.checkUsable()
      start += part.length
    }
  }

  private checkedLength(offset: number, length: number, available: number): number {
    if (!this.live) throw new ReleasedError(`queue ${this.queue}: the request of ${this.head}`)
    if (offset >= 0 && length >= 0 && offset + length <= available) return length
    throw new VirtqueueError(
      this.queue,
      'short-buffer',
      `the request of descriptor ${this.head} has ${available} bytes where ${offset + Math.max(0, length)} are needed`,
    )
  }
}

function gather(first: BufferPart | undefined, offset: number, length: number): Uint8Array[] {
  const buffers: Uint8Array[] = []
  let skip = offset
  let left = length
  for (let part = first; part !== undefined && left > 0; part = part.next) {
    if (skip >= part.length) {
      skip -= part.length
      continue
    }
    const count = Math.min(part.length - skip, left)
    part.collect(skip, count, buffers)
    skip = 0
    left -= count
  }
  return buffers
}
