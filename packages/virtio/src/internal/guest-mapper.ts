import type { GuestMemory, GuestRange } from '../guest-memory.ts'
import { isPagedOut } from './error-parts.ts'

/** Buffers up to this many bytes are copied rather than mapped, where the memory can: a header, a status. */
export const COPY_LIMIT = 64

/** The guest's memory as a transport uses it: checks what comes back and counts what is mapped. */
export class GuestMapper {
  /** Ranges that are mapped now. */
  mappedRanges = 0
  /** Whether `read` and `write` are there. */
  readonly copies: boolean
  private readonly memory: GuestMemory

  constructor(memory: GuestMemory) {
    this.memory = memory
    this.copies = memory.read !== undefined && memory.write !== undefined
  }

  map(page: number, offset: number, length: number, write: boolean): GuestRange {
    return this.checked(this.memory.map(page, offset, length, write), length)
  }

  async mapAsync(
    page: number,
    offset: number,
    length: number,
    write: boolean,
  ): Promise<GuestRange> {
    return this.checked(await this.memory.mapAsync(page, offset, length, write), length)
  }

  /** Copies in, by `read` or, where that is not to be had, through mappings. */
  read(page: number, offset: number, target: Uint8Array): void {
    if (this.tryRead(page, offset, target)) return
    let done = 0
    while (done < target.length) {
      const start = offset + done
      const range = this.map(
        page + Math.floor(start / 4096),
        start % 4096,
        target.length - done,
        false,
      )
      done += this.copyOut(range, target, done)
    }
  }

  async readAsync(page: number, offset: number, target: Uint8Array): Promise<void> {
    let done = 0
    while (done < target.length) {
      const start = offset + done
      done += this.copyOut(
        // One after the other: where a range ends is known when it is mapped.
        await this.mapAsync(
          page + Math.floor(start / 4096),
          start % 4096,
          target.length - done,
          false,
        ),
        target,
        done,
      )
    }
  }

  /** Copies out, by `write` or, where that is not to be had, through mappings. */
  write(page: number, offset: number, source: Uint8Array): void {
    if (this.tryWrite(page, offset, source)) return
    let done = 0
    while (done < source.length) {
      const start = offset + done
      const range = this.map(
        page + Math.floor(start / 4096),
        start % 4096,
        source.length - done,
        true,
      )
      const { length } = range.bytes
      range.bytes.set(source.subarray(done, done + length))
      this.release(range, length)
      done += length
    }
  }

  release(range: GuestRange, accessed: number): void {
    this.mappedRanges -= 1
    range.release(accessed)
  }

  // Where a copy fails, a mapping is tried: it may be allowed where copies are not, and its error says
  // more. A page that is paged out is waited for by others.

  private tryRead(page: number, offset: number, target: Uint8Array): boolean {
    if (this.memory.read === undefined) return false
    try {
      this.memory.read(page, offset, target)
      return true
    } catch (error) {
      if (isPagedOut(error)) throw error
      return false
    }
  }

  private tryWrite(page: number, offset: number, source: Uint8Array): boolean {
    if (this.memory.write === undefined) return false
    try {
      this.memory.write(page, offset, source)
      return true
    } catch (error) {
      if (isPagedOut(error)) throw error
      return false
    }
  }

  private copyOut(range: GuestRange, target: Uint8Array, at: number): number {
    const { length } = range.bytes
    target.set(range.bytes, at)
    this.release(range, 0)
    return length
  }

  private checked(range: GuestRange, length: number): GuestRange {
    this.mappedRanges += 1
    const got = range.bytes.length
    if (got >= 1 && got <= length) return range
    this.release(range, 0)
    throw new RangeError(`the guest memory gave ${got} bytes where 1 to ${length} were asked for`)
  }
}
