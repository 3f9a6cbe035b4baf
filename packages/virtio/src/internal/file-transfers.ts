import type { CallLane } from './call-pool.ts'
import { errnoNameOf, isUnsupported } from './disk-errors.ts'
import type { FileCalls } from './file-calls.ts'

/**
 * Called once: with an error; or with nothing, when all bytes were transferred; or with the buffers for which the
 * file gave or took no byte, and their position.
 */
export type TransferEnd = (error?: unknown, rest?: readonly Uint8Array[], position?: number) => void

/** Reads and writes of one open file: what a system call leaves over is asked for again. */
export class FileTransfers {
  readonly #descriptor: number
  readonly #calls: FileCalls
  readonly #lane: CallLane
  /** Whether the file takes several buffers at a time, which not every file system does. */
  #vectors = true

  constructor(descriptor: number, calls: FileCalls, lane: CallLane) {
    this.#descriptor = descriptor
    this.#calls = calls
    this.#lane = lane
  }

  /**
   * Reads on the calling thread.
   *
   * @returns bytes that were read
   */
  readNow(buffers: readonly Uint8Array[], position: number): number {
    try {
      return this.#calls.readNow(this.#descriptor, this.#atOnce(buffers), position)
    } catch (error) {
      if (!this.#refusesVectors(error, buffers)) throw error
      return 0
    }
  }

  /** Transfers `left` bytes, which are all of `buffers`, on the thread pool. */
  start(
    write: boolean,
    buffers: readonly Uint8Array[],
    position: number,
    left: number,
    end: TransferEnd,
  ): void {
    const call = write ? this.#calls.write : this.#calls.read
    let rest = buffers
    let at = position
    let missing = left
    const ended: TransferEnd = (...result) => {
      end(...result)
      this.#lane.ended()
    }
    const next = (): void => {
      try {
        call(this.#descriptor, this.#atOnce(rest), at, done)
      } catch (error) {
        ended(error)
      }
    }
    const done = (error: unknown, count: number): void => {
      if (error !== null) {
        if (this.#refusesVectors(error, rest)) next()
        else ended(error)
        return
      }
      if (count === missing) ended()
      else if (count === 0) ended(undefined, rest, at)
      else {
        rest = buffersBehind(rest, count)
        at += count
        missing -= count
        next()
      }
    }
    this.#lane.run(next)
  }

  #atOnce(buffers: readonly Uint8Array[]): readonly Uint8Array[] {
    return this.#vectors ? buffers : buffers.slice(0, 1)
  }

  /** Whether a call with one buffer at a time may succeed where this one did not; then the rest are so. */
  #refusesVectors(error: unknown, buffers: readonly Uint8Array[]): boolean {
    if (!this.#vectors || buffers.length < 2) return false
    if (!isUnsupported(error) && errnoNameOf(error) !== 'EINVAL') return false
    this.#vectors = false
    return true
  }
}

/** What is left of `buffers` behind their first `count` bytes. */
export function buffersBehind(
  buffers: readonly Uint8Array[],
  count: number,
): readonly Uint8Array[] {
  let skip = count
  let index = 0
  for (const buffer of buffers) {
    if (skip < buffer.length) break
    skip -= buffer.length
    index += 1
  }
  const rest = buffers.slice(index)
  const [first] = rest
  if (first !== undefined && skip > 0) rest[0] = first.subarray(skip)
  return rest
}
