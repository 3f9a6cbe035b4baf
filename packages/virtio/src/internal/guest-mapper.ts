import type { GuestMemory, GuestRange } from '../guest-memory.ts'

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

  /** Copies in, by `read` or through a mapping. */
  read(page: number, offset: number, target: Uint8Array): void {
    if (this.memory.read !== undefined) {
      this.memory.read(page, offset, target)
      return
    }
    let done = 0
    while (done < target.length) {
      const start = offset + done
      done += this.copyOut(
        this.map(page + Math.floor(start / 4096), start % 4096, target.length - done, false),
        target,
        done,
      )
    }
  }

  async readAsync(page: number, offset: number, target: Uint8Array): Promise<void> {
    let done = 0
    while (done < target.length) {
      const start = offset + done
      done += this.copyOut(
        // One after the other: where a range ends is known when it is mapped.
        // oxlint-disable-next-line no-await-in-loop
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

  /** Copies out by `write`, which is there when `copies` is true. */
  write(page: number, offset: number, source: Uint8Array): void {
    this.memory.write?.(page, offset, source)
  }

  release(range: GuestRange, accessed: number): void {
    this.mappedRanges -= 1
    range.release(accessed)
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
