import { checkOptions, InvalidArgumentError } from '@xmc/interface'
import { type GuestFrame, type GuestPages, guestFrame } from './ports.ts'

/** The memory that a {@link FrameAllocator} hands out. */
export interface FrameAllocatorOptions {
  /** First frame. */
  readonly first: number
  /** Frames, at least 1, all of them RAM. */
  readonly count: number
  /** The bytes of `count` frames from `frame` on, shared with the device. */
  readonly view: (frame: number, count: number) => Uint8Array
}

interface Run {
  first: number
  count: number
}

/** A {@link GuestPages} over one run of frames: the lowest run that is large enough is taken. */
export class FrameAllocator implements GuestPages {
  readonly #view: FrameAllocatorOptions['view']
  /** Free runs in order; no two of them touch. */
  readonly #free: Run[]
  readonly #taken = new Map<number, number>()
  #freeCount: number

  /** @throws InvalidArgumentError `ERR_XMC_ARGUMENT` for frames outside 0 to 2^52 − 1 or a count below 1 */
  constructor(options: FrameAllocatorOptions) {
    checkOptions('FrameAllocator', options, { first: true, count: true, view: true })
    const { first, count, view } = options
    requireCount(count)
    guestFrame(first)
    guestFrame(first + count - 1)
    this.#view = view
    this.#free = [{ first, count }]
    this.#freeCount = count
  }

  /** Frames that are free now, in one run or in many. */
  get freeCount(): number {
    return this.#freeCount
  }

  /** Frames that are taken now. */
  get takenCount(): number {
    let taken = 0
    for (const count of this.#taken.values()) taken += count
    return taken
  }

  /** @throws InvalidArgumentError `ERR_XMC_ARGUMENT` for a count that is not an integer from 1 */
  allocate(count: number): GuestFrame | undefined {
    requireCount(count)
    const index = this.#free.findIndex((run) => run.count >= count)
    const run = this.#free[index]
    if (run === undefined) return undefined
    const frame = guestFrame(run.first)
    run.first += count
    run.count -= count
    if (run.count === 0) this.#free.splice(index, 1)
    this.#taken.set(frame, count)
    this.#freeCount -= count
    return frame
  }

  /** @throws InvalidArgumentError `ERR_XMC_ARGUMENT` for frames that are not what one `allocate` took */
  free(frame: GuestFrame, count: number): void {
    if (this.#taken.get(frame) !== count) {
      throw new InvalidArgumentError('frame', `the first of ${count} frames that were taken`, frame)
    }
    this.#taken.delete(frame)
    this.#freeCount += count
    let index = this.#free.findIndex((run) => run.first > frame)
    if (index < 0) index = this.#free.length
    const before = this.#free[index - 1]
    const after = this.#free[index]
    const joinsBefore = before !== undefined && before.first + before.count === frame
    const joinsAfter = after !== undefined && frame + count === after.first
    if (joinsBefore) {
      before.count += count
      if (joinsAfter) {
        before.count += after.count
        this.#free.splice(index, 1)
      }
    } else if (joinsAfter) {
      after.first = frame
      after.count += count
    } else this.#free.splice(index, 0, { first: frame, count })
  }

  bytes(frame: GuestFrame, count: number): Uint8Array {
    return this.#view(frame, count)
  }
}

function requireCount(count: number): void {
  if (!Number.isSafeInteger(count) || count < 1) {
    throw new InvalidArgumentError('count', 'an integer from 1', count)
  }
}
