/** Anonymous since the window was made. */
const UNTOUCHED = 0
/** Anonymous, put there without MAP_NORESERVE. */
export const PLAIN = 1
/** Anonymous, put there with MAP_NORESERVE. */
export const NO_RESERVE = 2
/** A file's page, or a page that may still be one. */
export const MAPPED = 3

/**
 * Up to this many places of a window where two kinds of anonymous pages meet. Each is a memory area
 * more, of which a process has a limited number.
 */
const ALTERNATION_LIMIT = 8192

/** What every page of a window holds, as far as the window itself put it there. */
export class PageStates {
  /** Pages in the state `MAPPED`. */
  mappedPages = 0
  /** Neighbouring pages that are anonymous both, but of different kinds. */
  alternations = 0
  /** Memory areas that the window takes more than memory in one piece would: each map is one, and each gap. */
  areas = 0
  /** One state a page, between two that stand for the plain memory around the window. */
  readonly #states: Uint8Array
  /** For each of them 1 where another area starts than that of the page before. */
  readonly #starts: Uint8Array

  constructor(pageCount: number) {
    this.#states = new Uint8Array(pageCount + 2)
    this.#starts = new Uint8Array(pageCount + 2)
    this.#states[0] = PLAIN
    this.#states[pageCount + 1] = PLAIN
  }

  /** Whether any of the pages is in the state `MAPPED`. */
  hasMapped(page: number, pageCount: number): boolean {
    const end = page + 1 + pageCount
    for (let index = page + 1; index < end; index++) {
      if (this.#states[index] === MAPPED) return true
    }
    return false
  }

  /** Areas that the window would take more, or less, if the pages were mapped by one call. */
  areasForMap(page: number, pageCount: number): number {
    return 2 - this.#startsIn(page + 1, page + 1 + pageCount)
  }

  /** Unlike neighbours that would be none any more if the pages were mapped. */
  alternationsIn(page: number, pageCount: number): number {
    const states = this.#states
    let count = 0
    for (let index = page; index <= page + pageCount; index++) {
      if (alternates(states[index], states[index + 1])) count++
    }
    return count
  }

  /** Notes that all of the pages are in `state`. */
  set(
    page: number,
    pageCount: number,
    state: typeof PLAIN | typeof NO_RESERVE | typeof MAPPED,
  ): void {
    const states = this.#states
    const first = page + 1
    const end = first + pageCount
    let mapped = 0
    let alternations = 0
    let previous = states[page]
    for (let index = first; index < end; ) {
      const current = states[index]
      let next = index + 1
      while (next < end && states[next] === current) next++
      if (current === MAPPED) mapped += next - index
      if (alternates(previous, current)) alternations--
      previous = current
      index = next
    }
    if (alternates(previous, states[end])) alternations--
    if (pageCount === 1) states[first] = state
    else states.fill(state, first, end)
    if (alternates(states[page], state)) alternations++
    if (alternates(state, states[end])) alternations++
    const started = this.#startsIn(first, end)
    if (pageCount === 1) this.#starts[first] = 0
    else this.#starts.fill(0, first, end)
    const left = splits(states[page], state) ? 1 : 0
    const right = splits(state, states[end]) ? 1 : 0
    this.#starts[first] = left
    this.#starts[end] = right
    this.areas += left + right - started
    this.alternations += alternations
    this.mappedPages += (state === MAPPED ? pageCount : 0) - mapped
  }

  /**
   * The kind of anonymous pages to put at a place: other than the neighbours', so that the kernel
   * neither merges the areas now nor splits them at the next map, which costs about a fifth of a map
   * and unmap. When there are many such places already, or areas are tight, the neighbours' own kind, so
   * that areas merge.
   */
  fillerFor(page: number, pageCount: number, tight: boolean): typeof PLAIN | typeof NO_RESERVE {
    const left = this.#states[page]
    const neighbour = left === MAPPED ? this.#states[page + pageCount + 1] : left
    const merge = tight || this.alternations >= ALTERNATION_LIMIT
    return (neighbour === NO_RESERVE) === merge ? NO_RESERVE : PLAIN
  }

  /** Areas that start in a range, its end included. */
  #startsIn(first: number, end: number): number {
    const starts = this.#starts
    let count = 0
    for (let index = first; index <= end; index++) count += starts[index]!
    return count
  }
}

/** Whether the kernel keeps two neighbours in areas of their own. It merges maps of one file in order; a device's never. */
function splits(one: number | undefined, other: number | undefined): boolean {
  return one === MAPPED || other === MAPPED || alternates(one, other)
}

function alternates(one: number | undefined, other: number | undefined): boolean {
  return (
    (one === NO_RESERVE && (other === PLAIN || other === UNTOUCHED)) ||
    (other === NO_RESERVE && (one === PLAIN || one === UNTOUCHED))
  )
}
