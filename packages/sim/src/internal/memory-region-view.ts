import { type HostMemoryWindow, openWindow } from '@xmc/hostmem'
import { PAGE_SIZE, windowPage, XmcError } from '@xmc/interface'
import type { FrameRun, PhysicalToMachine } from '../p2m.ts'

/** What a {@link MemoryRegionView} shows. */
export interface MemoryRegion {
  /** First frame. */
  readonly first: number
  readonly count: number
  /** Descriptor of the machine's memory. */
  readonly fd: number
  readonly p2m: PhysicalToMachine
  /** Called before pages go that were mapped, so that nobody counts on them. */
  readonly forget: () => void
}

/** Bits by frame: it is mapped; and a view of it was handed out, so that it stays mapped. */
const MAPPED = 1
const SHOWN = 2

/**
 * A window on frames of one domain. A frame is mapped when it is first accessed; those that nobody was
 * given a view of are unmapped where memory areas are short: a guest with many holes has more runs
 * than a process may have areas.
 */
export class MemoryRegionView {
  /** First frame. */
  readonly first: number
  readonly count: number
  readonly #fd: number
  readonly #p2m: PhysicalToMachine
  readonly #forget: () => void
  #window: HostMemoryWindow | undefined
  #data: DataView | undefined
  #bytes: Uint8Array | undefined
  #states: Uint8Array = new Uint8Array(0)
  /** Runs of the domain that are mapped as far as they lie here. */
  readonly #whole = new Set<FrameRun>()

  constructor({ first, count, fd, p2m, forget }: MemoryRegion) {
    this.first = first
    this.count = count
    this.#fd = fd
    this.#p2m = p2m
    this.#forget = forget
  }

  /** All bytes of the region; those of frames that are not mapped are zeros. */
  get data(): DataView {
    const { buffer, byteOffset } = this.#open()
    this.#data ??= new DataView(buffer, byteOffset, this.count * PAGE_SIZE)
    return this.#data
  }

  /** The same. */
  get bytes(): Uint8Array {
    const { buffer, byteOffset } = this.#open()
    this.#bytes ??= new Uint8Array(buffer, byteOffset, this.count * PAGE_SIZE)
    return this.#bytes
  }

  /**
   * Maps what lies here of a run, as long as nobody else is short of memory areas.
   *
   * @throws MemoryAreasError `ERR_XMC_MEMORY_AREAS` when there is not even one for this run
   */
  map(run: FrameRun): void {
    if (this.#whole.has(run)) return
    this.#open()
    const first = Math.max(run.frame, this.first)
    const end = Math.min(run.frame + run.count, this.first + this.count)
    this.#mapFrames(first, end - first, run, 0)
    this.#whole.add(run)
  }

  /** Maps populated frames for good; gives their bytes. @throws MemoryAreasError `ERR_XMC_MEMORY_AREAS` */
  show(frame: number, count: number): Uint8Array {
    this.#open()
    for (const run of this.#p2m.runsIn(frame, count)) {
      this.#mapFrames(run.frame, run.count, run, SHOWN)
    }
    const start = (frame - this.first) * PAGE_SIZE
    return this.bytes.subarray(start, start + count * PAGE_SIZE)
  }

  /** Notes that frames here were populated, or are holes now. */
  follow(frame: number, count: number, populated: boolean): void {
    const window = this.#window
    if (window === undefined) return
    this.#whole.clear()
    const from = frame - this.first
    const states = this.#states.subarray(from, from + count)
    if (populated) {
      for (const [start, length] of stretches(states, (state) => (state & SHOWN) !== 0)) {
        for (const run of this.#p2m.runsIn(frame + start, length)) {
          this.#mapFrames(run.frame, run.count, run, SHOWN)
        }
      }
      return
    }
    for (const [start, length] of stretches(states, (state) => (state & MAPPED) !== 0)) {
      window.reset(windowPage(from + start), length)
      clear(states, start, length)
    }
  }

  /** Unmaps everything, for good. */
  close(): void {
    this.#window?.close()
    this.#whole.clear()
  }

  #open(): HostMemoryWindow {
    if (this.#window !== undefined) return this.#window
    const window = openWindow({ pageCount: this.count, minimumPages: this.count })
    window.areas.onShortage(() => this.#unmapHidden())
    this.#window = window
    this.#states = new Uint8Array(this.count)
    return window
  }

  /** Maps those of the frames that are not mapped; all of them lie in `run`. */
  #mapFrames(frame: number, count: number, run: FrameRun, flag: number): void {
    for (;;) {
      try {
        this.#tryMapFrames(frame, count, run, flag)
        return
      } catch (error) {
        if (!(error instanceof XmcError) || error.shortage === undefined) throw error
        if (!this.#makeRoom()) throw error
      }
    }
  }

  #tryMapFrames(frame: number, count: number, run: FrameRun, flag: number): void {
    const window = this.#open()
    const from = frame - this.first
    const states = this.#states.subarray(from, from + count)
    for (const [start, length] of stretches(states, (state) => (state & MAPPED) === 0)) {
      const machine = run.machine + frame + start - run.frame
      window.map(windowPage(from + start), length, this.#fd, machine * PAGE_SIZE, true)
      states.fill(MAPPED, start, start + length)
    }
    if (flag !== 0) for (let at = 0; at < count; at++) states[at] = states[at]! | flag
  }

  /** Gives memory areas back, here and then elsewhere; whether there are more than before. */
  #makeRoom(): boolean {
    const { areas } = this.#open()
    const before = areas.room
    this.#unmapHidden()
    if (areas.room < 2) areas.reclaim(2)
    return areas.room > before
  }

  /** Unmaps the frames that nobody was given a view of. */
  #unmapHidden(): void {
    const window = this.#window
    if (window === undefined) return
    this.#forget()
    this.#whole.clear()
    const states = this.#states
    for (const [start, length] of stretches(states, isHidden)) {
      // One call for many stretches that are mapped; none where nothing is.
      if (states.indexOf(MAPPED, start) < 0) return
      window.reset(windowPage(start), length)
      states.fill(0, start, start + length)
    }
  }
}

/** The stretches of states that are as asked: index of the first, and length. */
function* stretches(
  states: Uint8Array,
  isWanted: (state: number) => boolean,
): Generator<[number, number]> {
  for (let start = 0; start < states.length; start++) {
    if (!isWanted(states[start]!)) continue
    let end = start + 1
    while (end < states.length && isWanted(states[end]!)) end++
    yield [start, end - start]
    start = end
  }
}

function isHidden(state: number): boolean {
  return (state & SHOWN) === 0
}

function clear(states: Uint8Array, start: number, length: number): void {
  for (let at = start; at < start + length; at++) states[at] = states[at]! & ~MAPPED
}
