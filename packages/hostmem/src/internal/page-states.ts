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
 * more, and Linux allows a process 65,530 of them (vm.max_map_count) unless told otherwise.
 */
const ALTERNATION_LIMIT = 8192

/** What every page of a window holds, as far as the window itself put it there. */
export class PageStates {
  /** Pages in the state `MAPPED`. */
  mappedPages = 0
  /** Neighbouring pages that are anonymous both, but of different kinds. */
  alternations = 0
  /** One state a page, between two that stand for the plain memory around the window. */
  readonly #states: Uint8Array

  constructor(pageCount: number) {
    this.#states = new Uint8Array(pageCount + 2)
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
    this.alternations += alternations
    this.mappedPages += (state === MAPPED ? pageCount : 0) - mapped
  }

  /**
   * The kind of anonymous pages to put at a place: other than the neighbours', so that the kernel
   * neither merges the areas now nor splits them at the next map, which costs about a fifth of a map
   * and unmap. When there are many such places already, the neighbours' own kind, so that areas merge.
   */
  fillerFor(page: number, pageCount: number): typeof PLAIN | typeof NO_RESERVE {
    const left = this.#states[page]
    const neighbour = left === MAPPED ? this.#states[page + pageCount + 1] : left
    const merge = this.alternations >= ALTERNATION_LIMIT
    return (neighbour === NO_RESERVE) === merge ? NO_RESERVE : PLAIN
  }
}

function alternates(one: number | undefined, other: number | undefined): boolean {
  return (
    (one === NO_RESERVE && (other === PLAIN || other === UNTOUCHED)) ||
    (other === NO_RESERVE && (one === PLAIN || one === UNTOUCHED))
  )
}
