import { InvalidArgumentError } from '@xmc/interface'

/** Consecutive guest frames that lie on consecutive machine pages. */
export interface FrameRun {
  /** First guest frame. */
  readonly frame: number
  /** Number of frames, at least 1. */
  readonly count: number
  /** Machine page of the first frame. */
  readonly machine: number
}

/** Called after frames changed: with `populated` false when they are holes now. */
export type FramesChanged = (frame: number, count: number, populated: boolean) => void

/** One past the last guest frame: 2^52, so that a guest address stays below 2^64. */
export const FRAME_LIMIT: number = 2 ** 52

/**
 * The physical-to-machine map of one domain: which machine page stands behind each guest frame.
 *
 * Kept as sorted runs, so a domain of 4 GiB that was populated in one piece is one entry.
 * A frame is a hole, populated, or populated and paged out.
 */
export class PhysicalToMachine {
  #runs: FrameRun[] = []
  #frameCount = 0
  readonly #pagedOut = new Set<number>()
  readonly #listeners = new Set<FramesChanged>()

  /** Number of populated frames, those that are paged out included. */
  get frameCount(): number {
    return this.#frameCount
  }

  /** Number of frames that are paged out. */
  get pagedOutCount(): number {
    return this.#pagedOut.size
  }

  /** The populated frames as sorted runs. */
  get runs(): readonly FrameRun[] {
    return this.#runs
  }

  /** The machine page of `frame`, or −1 for a hole. Paging out does not change the answer. */
  machineOf(frame: number): number {
    const run = this.#runs[this.#indexAfter(frame) - 1]
    return run !== undefined && frame < run.frame + run.count ? run.machine + frame - run.frame : -1
  }

  /** Whether `frame` is populated and paged out. */
  isPagedOut(frame: number): boolean {
    return this.#pagedOut.has(frame)
  }

  /**
   * Writes the machine page of each of `count` frames from `frame` on into `machines`, −1 for a hole.
   *
   * @throws InvalidArgumentError `ERR_XMC_ARGUMENT` when `machines` is shorter than `count`
   */
  resolve(frame: number, count: number, machines: Float64Array): void {
    if (machines.length < count) {
      throw new InvalidArgumentError('machines', `${count} elements or more`, machines.length)
    }
    machines.fill(-1, 0, count)
    for (let i = Math.max(0, this.#indexAfter(frame) - 1); i < this.#runs.length; i++) {
      const run = this.#runs[i]
      if (run === undefined || run.frame >= frame + count) return
      const from = Math.max(frame, run.frame)
      const to = Math.min(frame + count, run.frame + run.count)
      for (let f = from; f < to; f++) machines[f - frame] = run.machine + f - run.frame
    }
  }

  /** The populated frames around `frame` that follow each other without a hole, or undefined. */
  extentAround(frame: number): { readonly first: number; readonly end: number } | undefined {
    const index = this.#indexAfter(frame) - 1
    const run = this.#runs[index]
    if (run === undefined || frame >= run.frame + run.count) return undefined
    let first = run.frame
    for (let i = index - 1; ; i--) {
      const before = this.#runs[i]
      if (before === undefined || before.frame + before.count !== first) break
      first = before.frame
    }
    let end = run.frame + run.count
    for (let i = index + 1; ; i++) {
      const after = this.#runs[i]
      if (after === undefined || after.frame !== end) break
      end = after.frame + after.count
    }
    return { first, end }
  }

  /** The run that `frame` is in, or undefined for a hole. It is another object after it has changed. */
  runAt(frame: number): FrameRun | undefined {
    const run = this.#runs[this.#indexAfter(frame) - 1]
    return run !== undefined && frame < run.frame + run.count ? run : undefined
  }

  /** The parts of `count` frames from `frame` on that are populated, in order. */
  runsIn(frame: number, count: number): FrameRun[] {
    const found: FrameRun[] = []
    for (let i = Math.max(0, this.#indexAfter(frame) - 1); i < this.#runs.length; i++) {
      const run = this.#runs[i]
      if (run === undefined || run.frame >= frame + count) break
      const part = clip(run, frame, frame + count)
      if (part !== undefined) found.push(part)
    }
    return found
  }

  /** The holes among `count` frames from `frame` on, in order. */
  holesIn(frame: number, count: number): { readonly frame: number; readonly count: number }[] {
    const holes: { frame: number; count: number }[] = []
    let at = frame
    for (const run of this.runsIn(frame, count)) {
      if (run.frame > at) holes.push({ frame: at, count: run.frame - at })
      at = run.frame + run.count
    }
    if (at < frame + count) holes.push({ frame: at, count: frame + count - at })
    return holes
  }

  /** Puts a run of machine pages behind frames that are holes. The caller made sure that they are. */
  insert(run: FrameRun): void {
    const index = this.#indexAfter(run.frame)
    this.#runs.splice(index, 0, run)
    this.#merge(index)
    this.#merge(index - 1)
    this.#frameCount += run.count
    this.#notify(run.frame, run.count, true)
  }

  /** Makes holes of the populated frames among `count` from `frame` on; returns what was there. */
  remove(frame: number, count: number): FrameRun[] {
    const removed = this.runsIn(frame, count)
    if (removed.length === 0) return removed
    const end = frame + count
    const from = Math.max(0, this.#indexAfter(frame) - 1)
    const kept: FrameRun[] = []
    let to = from
    for (; to < this.#runs.length; to++) {
      const run = this.#runs[to]
      if (run === undefined || run.frame >= end) break
      const before = clip(run, run.frame, Math.min(frame, run.frame + run.count))
      const after = clip(run, Math.max(end, run.frame), run.frame + run.count)
      if (before !== undefined) kept.push(before)
      if (after !== undefined) kept.push(after)
    }
    this.#runs.splice(from, to - from, ...kept)
    for (const run of removed) {
      this.#frameCount -= run.count
      if (this.#pagedOut.size > 0) this.#forgetPaging(run)
      this.#notify(run.frame, run.count, false)
    }
    return removed
  }

  /**
   * Marks a populated frame as paged out, or back in.
   *
   * @throws InvalidArgumentError `ERR_XMC_ARGUMENT` when the frame is a hole
   */
  setPagedOut(frame: number, pagedOut: boolean): void {
    if (this.machineOf(frame) < 0)
      throw new InvalidArgumentError('frame', 'a populated frame', frame)
    if (pagedOut) this.#pagedOut.add(frame)
    else this.#pagedOut.delete(frame)
  }

  /** Calls `listener` after each change; returns the function that stops it. */
  onChange(listener: FramesChanged): () => void {
    this.#listeners.add(listener)
    return () => {
      this.#listeners.delete(listener)
    }
  }

  #forgetPaging(run: FrameRun): void {
    for (const frame of this.#pagedOut) {
      if (frame >= run.frame && frame < run.frame + run.count) this.#pagedOut.delete(frame)
    }
  }

  #notify(frame: number, count: number, populated: boolean): void {
    for (const listener of this.#listeners) listener(frame, count, populated)
  }

  /** Index of the first run that starts after `frame`. */
  #indexAfter(frame: number): number {
    let low = 0
    let high = this.#runs.length
    while (low < high) {
      const middle = (low + high) >>> 1
      const run = this.#runs[middle]
      if (run !== undefined && run.frame <= frame) low = middle + 1
      else high = middle
    }
    return low
  }

  /** Joins run `index` with its successor when both frames and machine pages go on. */
  #merge(index: number): void {
    const run = this.#runs[index]
    const next = this.#runs[index + 1]
    if (run === undefined || next === undefined) return
    if (run.frame + run.count !== next.frame || run.machine + run.count !== next.machine) return
    this.#runs.splice(index, 2, { ...run, count: run.count + next.count })
  }
}

function clip(run: FrameRun, first: number, end: number): FrameRun | undefined {
  const from = Math.max(first, run.frame)
  const count = Math.min(end, run.frame + run.count) - from
  return count > 0 ? { frame: from, count, machine: run.machine + from - run.frame } : undefined
}
