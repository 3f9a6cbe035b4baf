import { ReleasedError } from '@xmc/interface'
import { GuestBufferError } from '../errors.ts'
import type { GuestRange } from '../guest-memory.ts'
import { isPagedOut, shortageOf } from './error-parts.ts'
import { COPY_LIMIT, type GuestMapper } from './guest-mapper.ts'

/**
 * One buffer of a chain: what a descriptor said, and the host memory behind it.
 *
 * Nearly every buffer is one piece, a range or a copy; that piece is held without a list, since the
 * lists of three buffers cost as much as the rest of a request.
 */
export class BufferPart {
  readonly queue: number
  readonly page: number
  readonly offset: number
  readonly length: number
  readonly writable: boolean
  /** The buffer behind this one. */
  next: BufferPart | undefined = undefined

  private first: Uint8Array | undefined = undefined
  /** The range of the first piece; undefined for a copy. */
  private range: GuestRange | undefined = undefined
  /** Ranges of the pieces behind the first. */
  private more: GuestRange[] | undefined = undefined
  private mappedLength = 0
  private failure: GuestBufferError | undefined = undefined
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

  /** Whether nothing is left to be mapped: all is, or it cannot be used. */
  get settled(): boolean {
    return this.failure !== undefined || this.mappedLength === this.length
  }

  /** Whether there is memory to give back. */
  get held(): boolean {
    return this.first !== undefined
  }

  /** Marks the part as one that cannot be used; what is mapped of it is to be released all the same. */
  refuse(failure: GuestBufferError): void {
    this.failure = failure
  }

  /** @throws GuestBufferError `ERR_XMC_GUEST_BUFFER` when it cannot be used */
  checkUsable(): void {
    if (this.failure !== undefined) throw this.failure
  }

  /**
   * Copies the part, or maps its next piece.
   *
   * @returns whether nothing is left to be mapped
   * @throws what the memory throws; what was mapped stays
   */
  map(mapper: GuestMapper): boolean {
    if (this.settled || this.copy(mapper)) return true
    const start = this.offset + this.mappedLength
    this.add(
      mapper,
      mapper.map(
        this.page + Math.floor(start / 4096),
        start % 4096,
        this.length - this.mappedLength,
        this.writable,
      ),
    )
    return this.mappedLength === this.length
  }

  /** As `map`, but waits. */
  async mapAsync(mapper: GuestMapper): Promise<boolean> {
    if (this.settled || this.copyResident(mapper)) return true
    const start = this.offset + this.mappedLength
    this.add(
      mapper,
      await mapper.mapAsync(
        this.page + Math.floor(start / 4096),
        start % 4096,
        this.length - this.mappedLength,
        this.writable,
      ),
    )
    return this.mappedLength === this.length
  }

  /** Adds the host memory of `length` bytes from `start` on to `into`; both lie in the part. */
  collect(start: number, length: number, into: Uint8Array[]): void {
    const first = this.use(start, length)
    if (this.more === undefined) {
      into.push(length === first.length ? first : first.subarray(start, start + length))
      return
    }
    let skip = start
    let left = length
    for (const bytes of this.pieces()) {
      const count = Math.min(bytes.length - skip, left)
      if (count > 0) into.push(bytes.subarray(skip, skip + count))
      skip = Math.max(0, skip - bytes.length)
      left -= Math.max(0, count)
    }
  }

  /** Copies `length` bytes from `start` on to `target`, from `at` on. */
  copyOut(start: number, length: number, target: Uint8Array, at: number): void {
    const first = this.use(start, length)
    if (this.more === undefined) {
      copyBytes(first, start, target, at, length)
      return
    }
    const pieces: Uint8Array[] = []
    this.collect(start, length, pieces)
    let done = at
    for (const piece of pieces) {
      target.set(piece, done)
      done += piece.length
    }
  }

  /** Copies `length` bytes of `source`, from `at` on, into the part, from `start` on. */
  copyIn(start: number, length: number, source: Uint8Array, at: number): void {
    const first = this.use(start, length)
    if (this.more === undefined) {
      copyBytes(source, at, first, start, length)
      return
    }
    const pieces: Uint8Array[] = []
    this.collect(start, length, pieces)
    let done = at
    for (const piece of pieces) {
      piece.set(source.subarray(done, done + piece.length))
      done += piece.length
    }
  }

  /**
   * Gives memory back, `RELEASES` pieces at a time: it is to be called while `held`. With `keep`, bytes that
   * stand in a copy go to the guest.
   *
   * @returns what failed first, if anything; when the host has no room to write a copy back, the part is still
   * held and the call may be repeated
   */
  release(mapper: GuestMapper, keep: boolean): Error | undefined {
    const { first, range, more } = this
    if (first === undefined) return undefined
    if (more !== undefined) return this.releaseMore(mapper, more)
    this.first = undefined
    this.range = undefined
    this.mappedLength = 0
    try {
      if (range !== undefined) mapper.release(range, this.writtenIn(0, first.length))
      else if (keep && this.writtenTo > this.writtenFrom) this.writeBack(mapper, first)
      return undefined
    } catch (error) {
      if (range === undefined && shortageOf(error) !== undefined) this.first = first
      return new GuestBufferError(this.queue, this, error)
    }
  }

  /** As `release`, of mappings alone: of a part that is to be mapped again. */
  retreat(mapper: GuestMapper): Error | undefined {
    return this.range === undefined ? undefined : this.release(mapper, false)
  }

  /** Whether `retreat` has more to do. */
  get mapped(): boolean {
    return this.range !== undefined
  }

  /** Forgets a copy that cannot be written back. */
  forget(): void {
    this.first = undefined
  }

  /** Releases pieces behind the first, from the last on. */
  private releaseMore(mapper: GuestMapper, more: GuestRange[]): Error | undefined {
    let failed: Error | undefined
    const enough = this.mappedLength - RELEASED_BYTES
    for (let count = 0; count < RELEASES && this.mappedLength > enough; count += 1) {
      const each = more.pop()
      if (each === undefined) {
        this.more = undefined
        break
      }
      const { length } = each.bytes
      this.mappedLength -= length
      try {
        mapper.release(each, this.writtenIn(this.mappedLength, length))
      } catch (error) {
        failed ??= new GuestBufferError(this.queue, this, error)
      }
    }
    return failed
  }

  /** The first piece, for an access to `length` bytes from `start` on. */
  private use(start: number, length: number): Uint8Array {
    if (this.failure !== undefined) throw this.failure
    if (this.first === undefined) throw new ReleasedError(`queue ${this.queue}: a buffer`)
    if (this.writable) {
      if (start < this.writtenFrom) this.writtenFrom = start
      if (start + length > this.writtenTo) this.writtenTo = start + length
    }
    return this.first
  }

  /** Bytes from the start of a piece on that were written, of the piece at `start`. */
  private writtenIn(start: number, length: number): number {
    if (this.writtenFrom >= start + length || this.writtenTo <= start) return 0
    return Math.min(this.writtenTo - start, length)
  }

  private writeBack(mapper: GuestMapper, copy: Uint8Array): void {
    if (this.writtenFrom === 0 && this.writtenTo === this.length) {
      mapper.write(this.page, this.offset, copy)
      return
    }
    const start = this.offset + this.writtenFrom
    mapper.write(
      this.page + Math.floor(start / 4096),
      start % 4096,
      copy.subarray(this.writtenFrom, this.writtenTo),
    )
  }

  private copyResident(mapper: GuestMapper): boolean {
    try {
      return this.copy(mapper)
    } catch (error) {
      if (isPagedOut(error)) return false
      throw error
    }
  }

  private copy(mapper: GuestMapper): boolean {
    if (!mapper.copies || this.length > COPY_LIMIT) return false
    this.copyAll(mapper)
    return true
  }

  private copyAll(mapper: GuestMapper): void {
    const copy = new Uint8Array(this.length)
    if (!this.writable) mapper.read(this.page, this.offset, copy)
    this.first = copy
    this.mappedLength = this.length
  }

  private add(mapper: GuestMapper, range: GuestRange): void {
    const length = this.mappedLength + range.bytes.length
    if (range.bounced === true && length < this.length && mapper.copies) {
      // Copies of pieces that are held together need more bounce bytes than there may ever be: one copy needs none.
      this.letGo(mapper, range)
      this.copyAll(mapper)
      return
    }
    if (this.first === undefined) {
      this.first = range.bytes
      this.range = range
    } else if (this.more === undefined) this.more = [range]
    else this.more.push(range)
    this.mappedLength = length
  }

  /** Releases the pieces so far and one more, before anything was written to them. */
  private letGo(mapper: GuestMapper, last: GuestRange): void {
    const { range, more } = this
    this.first = undefined
    this.range = undefined
    this.more = undefined
    this.mappedLength = 0
    const failures: unknown[] = []
    for (const each of [range, ...(more ?? []), last]) {
      try {
        if (each !== undefined) mapper.release(each, 0)
      } catch (error) {
        failures.push(error)
      }
    }
    if (failures.length > 0) throw failures[0]
  }

  private pieces(): Uint8Array[] {
    const rest = (this.more ?? []).map((range) => range.bytes)
    return this.first === undefined ? rest : [this.first, ...rest]
  }
}

/** Pieces that are released at a time, and bytes after which no further one is. */
const RELEASES = 32
const RELEASED_BYTES = 2 ** 20

/** Copies a few bytes without a view, which would cost more than they do. */
function copyBytes(
  source: Uint8Array,
  from: number,
  target: Uint8Array,
  to: number,
  length: number,
): void {
  if (length > 32) {
    target.set(source.subarray(from, from + length), to)
    return
  }
  for (let index = 0; index < length; index += 1) target[to + index] = source[from + index] ?? 0
}
