import { GuestBufferError } from '../errors.ts'
import type { GuestRange } from '../guest-memory.ts'
import { isPagedOut } from './error-parts.ts'
import { COPY_LIMIT, type GuestMapper } from './guest-mapper.ts'

/** One buffer of a chain: what a descriptor said, and the host memory behind it. */
export class BufferPart {
  readonly queue: number
  readonly page: number
  readonly offset: number
  readonly length: number
  readonly writable: boolean

  private readonly ranges: GuestRange[] = []
  private readonly buffers: Uint8Array[] = []
  private mappedLength = 0
  private copy: Uint8Array | undefined
  private failure: GuestBufferError | undefined
  // The bytes that the device was given to write, from the first to behind the last.
  private writtenFrom: number
  private writtenTo = 0

  constructor(queue: number, page: number, offset: number, length: number, writable: boolean) {
    this.queue = queue
    this.page = page
    this.offset = offset
    this.length = length
    this.writable = writable
    this.writtenFrom = length
  }

  /** Marks the part as one that cannot be used, for a reason other than its memory. */
  refuse(cause: Error): void {
    this.failure = new GuestBufferError(this.queue, this, cause)
  }

  /**
   * Maps the whole part, or notes why it cannot be.
   *
   * @throws only what `isPagedOut` knows; `mapAsync` goes on from there
   */
  map(mapper: GuestMapper): void {
    if (this.failure !== undefined) return
    try {
      if (this.bounce(mapper)) return
      while (this.mappedLength < this.length) {
        const start = this.offset + this.mappedLength
        this.add(
          mapper.map(
            this.page + Math.floor(start / 4096),
            start % 4096,
            this.length - this.mappedLength,
            this.writable,
          ),
        )
      }
    } catch (error) {
      if (isPagedOut(error)) throw error
      this.failure = new GuestBufferError(this.queue, this, error)
    }
  }

  async mapAsync(mapper: GuestMapper): Promise<void> {
    if (this.failure !== undefined) return
    try {
      if (this.mappedLength === 0 && this.bounceIfResident(mapper)) return
      while (this.mappedLength < this.length) {
        const start = this.offset + this.mappedLength
        this.add(
          // oxlint-disable-next-line no-await-in-loop -- where a range ends is known when it is mapped
          await mapper.mapAsync(
            this.page + Math.floor(start / 4096),
            start % 4096,
            this.length - this.mappedLength,
            this.writable,
          ),
        )
      }
    } catch (error) {
      this.failure = new GuestBufferError(this.queue, this, error)
    }
  }

  /** Adds the host memory of `length` bytes from `start` on to `into`; both lie in the part. */
  collect(start: number, length: number, into: Uint8Array[]): void {
    if (this.failure !== undefined) throw this.failure
    if (this.writable) {
      this.writtenFrom = Math.min(this.writtenFrom, start)
      this.writtenTo = Math.max(this.writtenTo, start + length)
    }
    let skip = start
    let left = length
    for (const buffer of this.buffers) {
      if (skip >= buffer.length) {
        skip -= buffer.length
        continue
      }
      const count = Math.min(buffer.length - skip, left)
      into.push(count === buffer.length ? buffer : buffer.subarray(skip, skip + count))
      skip = 0
      left -= count
      if (left === 0) return
    }
  }

  /**
   * Gives all memory back; with `keep`, bytes that stand in a copy go to the guest first.
   *
   * @returns what failed first, if anything
   */
  release(mapper: GuestMapper, keep: boolean): Error | undefined {
    let failed: Error | undefined
    if (this.copy !== undefined && keep && this.writtenTo > this.writtenFrom) {
      const start = this.offset + this.writtenFrom
      try {
        mapper.write(
          this.page + Math.floor(start / 4096),
          start % 4096,
          this.copy.subarray(this.writtenFrom, this.writtenTo),
        )
      } catch (error) {
        failed = new GuestBufferError(this.queue, this, error)
      }
    }
    let start = 0
    for (const range of this.ranges) {
      const { length } = range.bytes
      const accessed = this.writtenFrom < start + length ? this.writtenTo - start : 0
      start += length
      try {
        mapper.release(range, Math.max(0, Math.min(accessed, length)))
      } catch (error) {
        failed ??= new GuestBufferError(this.queue, this, error)
      }
    }
    this.ranges.length = 0
    this.buffers.length = 0
    return failed
  }

  private bounceIfResident(mapper: GuestMapper): boolean {
    try {
      return this.bounce(mapper)
    } catch (error) {
      if (isPagedOut(error)) return false
      throw error
    }
  }

  private bounce(mapper: GuestMapper): boolean {
    if (!mapper.copies || this.length > COPY_LIMIT) return false
    const copy = new Uint8Array(this.length)
    if (!this.writable) mapper.read(this.page, this.offset, copy)
    this.copy = copy
    this.buffers.push(copy)
    this.mappedLength = this.length
    return true
  }

  private add(range: GuestRange): void {
    this.ranges.push(range)
    this.buffers.push(range.bytes)
    this.mappedLength += range.bytes.length
  }
}
