import { ReleasedError } from '@xmc/core/errors'
import { VirtqueueError } from './errors.ts'
import type { BufferPart } from './internal/buffer-part.ts'
import type { GuestMapper } from './internal/guest-mapper.ts'

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
export class DescriptorChain {
  /** Index of the queue. */
  readonly queue: number
  /** Index of the first descriptor: the request's identity in the used ring. */
  readonly head: number
  /** Bytes that the device may read. */
  readableLength = 0
  /** Bytes that the device may write. */
  writableLength = 0
  /** Bytes that count against what may be in flight. @internal */
  accounted = 0

  /** Buffers, the device-readable ones first. @internal */
  bufferCount = 0
  private firstReadable: BufferPart | undefined = undefined
  private firstWritable: BufferPart | undefined = undefined
  private last: BufferPart | undefined = undefined
  private live = true

  /** @internal */
  constructor(queue: number, head: number) {
    this.queue = queue
    this.head = head
  }

  /** A copy of `length` device-readable bytes from `offset` on, by default all. */
  read(offset: number = 0, length: number = this.readableLength - offset): Uint8Array {
    const target = new Uint8Array(this.checkedLength(offset, length, this.readableLength))
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

  /** Appends a buffer; device-readable ones come first. @internal */
  add(part: BufferPart): void {
    if (part.writable) {
      this.firstWritable ??= part
      this.writableLength += part.length
    } else {
      this.firstReadable ??= part
      this.readableLength += part.length
    }
    // The device-readable ones end where the device-writable ones begin.
    if (this.last !== undefined && this.last.writable === part.writable) this.last.next = part
    this.last = part
    this.bufferCount += 1
  }

  /** Maps what is not mapped yet; throws only `ERR_XMC_PAGED_OUT`. @internal */
  map(mapper: GuestMapper): void {
    for (let part = this.firstReadable; part !== undefined; part = part.next) part.map(mapper)
    for (let part = this.firstWritable; part !== undefined; part = part.next) part.map(mapper)
  }

  /** As `map`, but waits; never rejects. @internal */
  async mapAsync(mapper: GuestMapper): Promise<void> {
    await Promise.all(this.parts().map((part) => part.mapAsync(mapper)))
  }

  /** Makes every buffer over `small` unusable, when the whole chain is over `limit`. @internal */
  refuseOver(limit: number, small: number): void {
    const total = this.readableLength + this.writableLength
    if (total <= limit) return
    const cause = new RangeError(`the request has ${total} bytes, the device takes ${limit}`)
    for (const part of this.parts()) {
      if (part.length > small) part.refuse(cause)
    }
  }

  /** Releases everything, exactly once; returns what failed first, if anything. @internal */
  close(mapper: GuestMapper, keep: boolean): Error | undefined {
    this.live = false
    let failed: Error | undefined
    for (let part = this.firstReadable; part !== undefined; part = part.next) {
      failed = part.release(mapper, keep) ?? failed
    }
    for (let part = this.firstWritable; part !== undefined; part = part.next) {
      failed = part.release(mapper, keep) ?? failed
    }
    return failed
  }

  private parts(): BufferPart[] {
    const parts: BufferPart[] = []
    for (let part = this.firstReadable; part !== undefined; part = part.next) parts.push(part)
    for (let part = this.firstWritable; part !== undefined; part = part.next) parts.push(part)
    return parts
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
