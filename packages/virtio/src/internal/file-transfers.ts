import type { CallLane } from './call-pool.ts'
import { errnoNameOf, isUnsupported } from './disk-errors.ts'
import type { FileCalls } from './file-calls.ts'

/**
 * Called once: with an error; or with nothing, when all bytes were transferred; or with the buffers for which the
 * file gave or took no byte, and their position.
 */
export type TransferEnd = (error?: unknown, rest?: readonly Uint8Array[], position?: number) => void

/**
 * Reads and writes of one open file: what a system call leaves over is asked for again.
 *
 * Reads that wait for a place, each where the one before ends, become one system call. With as few calls under way as
 * there are places, the pool's threads fall asleep between calls; to wake them for every 1 MiB took a third
 * of the throughput of a guest that reads in order.
 */
export class FileTransfers {
  readonly #descriptor: number
  readonly #calls: FileCalls
  readonly #lane: CallLane
  /** Whether the file takes several buffers at a time, which not every file system does. */
  #vectors = true
  /** The reads that came last, while they wait for a place. */
  #lastRun: ReadRun | undefined

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
    if (write || left < RUN_LEAST_BYTES) {
      this.#lastRun = undefined
      this.#lane.run(() => this.#transfer(write, buffers, position, left, this.#ending(end)))
      return
    }
    if (this.#lastRun?.join(buffers, position, left, end) === true) return
    const run = new ReadRun(buffers, position, left, end)
    // Only what waits can be joined, and only what came last: the others have the next position behind them.
    this.#lastRun = this.#vectors ? run : undefined
    this.#lane.run(() => {
      if (this.#lastRun === run) this.#lastRun = undefined
      this.#read(run)
    })
  }

  #read(run: ReadRun): void {
    this.#transfer(false, run.buffers, run.position, run.bytes, (error, rest, position) => {
      const { members } = run
      const [only] = members
      if (members.length === 1) only?.end(error, rest, position)
      else if (error === undefined && rest === undefined) {
        for (const { end } of members) end()
      } else {
        // Whose bytes are missing, and why, is found out for each by itself.
        for (const { buffers, position: at, bytes, end } of members) {
          this.#lane.run(() => this.#transfer(false, buffers, at, bytes, this.#ending(end)))
        }
      }
      this.#lane.ended()
    })
  }

  #ending(end: TransferEnd): TransferEnd {
    return (error, rest, position) => {
      end(error, rest, position)
      this.#lane.ended()
    }
  }

  #transfer(
    write: boolean,
    buffers: readonly Uint8Array[],
    position: number,
    left: number,
    ended: TransferEnd,
  ): void {
    const call = write ? this.#calls.write : this.#calls.read
    let rest = buffers
    let at = position
    let missing = left
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
    next()
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

/** A read, and those that came next and go on where it ends. */
class ReadRun {
  readonly position: number
  readonly members: Member[]
  buffers: readonly Uint8Array[]
  bytes: number

  constructor(buffers: readonly Uint8Array[], position: number, bytes: number, end: TransferEnd) {
    this.buffers = buffers
    this.position = position
    this.bytes = bytes
    this.members = [{ buffers, position, bytes, end }]
  }

  /** Takes a read up, if it goes on where this ends and both together are one system call's work. */
  join(buffers: readonly Uint8Array[], position: number, bytes: number, end: TransferEnd): boolean {
    if (position !== this.position + this.bytes || this.bytes + bytes > RUN_BYTES) return false
    if (this.buffers.length + buffers.length > RUN_BUFFERS) return false
    this.buffers = this.buffers.concat(buffers)
    this.bytes += bytes
    this.members.push({ buffers, position, bytes, end })
    return true
  }
}

/** A read of a run. */
interface Member {
  readonly buffers: readonly Uint8Array[]
  readonly position: number
  readonly bytes: number
  readonly end: TransferEnd
}

/** Least bytes of a read that is made together with others: shorter ones are seldom on the pool. */
const RUN_LEAST_BYTES = 32 * 1024

/** Most bytes of reads that are made together: they hold one place, about as long as a disk needs for a long request. */
const RUN_BYTES = 4 * 2 ** 20

/** Most buffers of a system call (IOV_MAX of Linux). */
const RUN_BUFFERS = 1024

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
