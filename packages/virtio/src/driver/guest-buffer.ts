import { InvalidArgumentError, PAGE_SIZE, ReleasedError } from '@xmc/interface'
import { GuestMemoryExhaustedError } from './errors.ts'
import type { GuestFrame, GuestPages } from './ports.ts'

/** A part of a buffer, or all of it: what a request moves. */
export interface GuestSegment {
  readonly buffer: GuestBuffer
  /** Start in the buffer, bytes. */
  readonly offset: number
  /** Bytes, at least 1. */
  readonly length: number
}

/**
 * Guest memory in whole contiguous pages, for the data of requests. It is itself the segment of all its
 * bytes.
 *
 * Released while requests that use it are with the device, it is freed when the last of them comes
 * back; until then, after a time limit or an error too, the device may write to it.
 */
export class GuestBuffer implements GuestSegment {
  /** First frame. */
  readonly frame: GuestFrame
  /** Frames. */
  readonly pageCount: number
  readonly offset = 0
  /** Bytes. */
  readonly length: number
  /** The bytes, shared with the device while a request uses them. Not to be used after release. */
  readonly bytes: Uint8Array
  readonly #pages: GuestPages
  #uses = 0
  #released = false

  /**
   * Takes pages for `length` bytes. What they held before is still there.
   *
   * @throws InvalidArgumentError `ERR_XMC_ARGUMENT` for a length below 1
   * @throws GuestMemoryExhaustedError `ERR_XMC_GUEST_MEMORY_EXHAUSTED`
   */
  constructor(pages: GuestPages, length: number) {
    if (!Number.isSafeInteger(length) || length < 1) {
      throw new InvalidArgumentError('length', 'an integer from 1', length)
    }
    this.pageCount = Math.ceil(length / PAGE_SIZE)
    const frame = pages.allocate(this.pageCount)
    if (frame === undefined) throw new GuestMemoryExhaustedError(this.pageCount)
    this.frame = frame
    this.length = length
    this.bytes = pages.bytes(frame, this.pageCount).subarray(0, length)
    this.#pages = pages
  }

  get buffer(): this {
    return this
  }

  /** Requests that use it now. */
  get uses(): number {
    return this.#uses
  }

  /** A part of it, as a segment. @throws InvalidArgumentError `ERR_XMC_ARGUMENT` for a part that is not in it */
  slice(offset: number, length: number): GuestSegment {
    if (!Number.isSafeInteger(offset) || offset < 0) {
      throw new InvalidArgumentError('offset', 'an integer from 0', offset)
    }
    if (!Number.isSafeInteger(length) || length < 1 || offset + length > this.length) {
      throw new InvalidArgumentError('length', `1 to ${this.length - offset} bytes`, length)
    }
    return { buffer: this, offset, length }
  }

  /** Gives the pages back, as soon as no request uses them. @throws ReleasedError `ERR_XMC_RELEASED` the second time */
  release(): void {
    if (this.#released) throw new ReleasedError('guest buffer')
    this.#released = true
    this.#freeIfUnused()
  }

  /** A request starts to use it. @throws ReleasedError `ERR_XMC_RELEASED` */
  retain(): void {
    if (this.#released) throw new ReleasedError('guest buffer')
    this.#uses++
  }

  /** A request uses it no more. */
  relinquish(): void {
    this.#uses--
    this.#freeIfUnused()
  }

  #freeIfUnused(): void {
    if (this.#released && this.#uses === 0) this.#pages.free(this.frame, this.pageCount)
  }
}
