/** Mappings that one frame of map-track can record. */
const SLOTS_PER_FRAME = 256

/**
 * The handles of a mapping domain, as Xen's map-track gives them out to a domain with one virtual
 * CPU: fresh ones of the newest frame first, freed ones in the order they were freed, and the last
 * free one never, since it ends the free list. Hence 255 with one frame, 511 with two.
 */
export class MapTrack<Entry> {
  readonly #entries: (Entry | undefined)[] = []
  readonly #next: number[] = []
  readonly #maximumFrames: number
  #head = -1
  #tail = -1

  constructor(maximumFrames: number) {
    this.#maximumFrames = maximumFrames
  }

  /** Takes a handle; undefined when none is left. */
  take(): number | undefined {
    if (this.#head === this.#tail) return this.#addFrame()
    const handle = this.#head
    this.#head = this.#next[handle] ?? -1
    return handle
  }

  /** Gives a taken handle back. */
  put(handle: number): void {
    this.#entries[handle] = undefined
    this.#next[this.#tail] = handle
    this.#tail = handle
  }

  /** Records what a taken handle stands for. */
  set(handle: number, entry: Entry): void {
    this.#entries[handle] = entry
  }

  /** What a handle stands for; undefined when it is not in use. */
  get(handle: number): Entry | undefined {
    return this.#entries[handle]
  }

  /** Handles in use with what they stand for, in order of handle. */
  *entries(): IterableIterator<readonly [handle: number, entry: Entry]> {
    for (const [handle, entry] of this.#entries.entries()) {
      if (entry !== undefined) yield [handle, entry]
    }
  }

  #addFrame(): number | undefined {
    const first = this.#next.length
    if (first >= this.#maximumFrames * SLOTS_PER_FRAME) return undefined
    for (let handle = first; handle < first + SLOTS_PER_FRAME; handle++) {
      this.#entries.push(undefined)
      this.#next.push(handle + 1)
    }
    const last = first + SLOTS_PER_FRAME - 1
    if (this.#tail === -1) this.#tail = last
    this.#next[last] = this.#head
    this.#head = first + 1
    return first
  }
}
