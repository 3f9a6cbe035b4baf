import type { TargetWindow } from '@xmc/interface'

/** A mapping that has a place in a window. */
export interface PlacedMapping {
  readonly window: TargetWindow
  readonly windowPage: number
  readonly pageCount: number
}

/** Which mapping each page of each window belongs to, for the mappings of one device of a provider. */
export class WindowMappings<Mapping extends PlacedMapping> {
  /** For each window page the number of its mapping, 0 for none. */
  readonly #owners = new WeakMap<TargetWindow, Int32Array>()
  readonly #numbers = new Map<Mapping, number>()
  readonly #mappings: (Mapping | undefined)[] = [undefined]
  readonly #freeNumbers: number[] = []

  /** Adds a mapping. It owns those of its pages whose entry in `pages` is not negative. */
  add(mapping: Mapping, pages: ArrayLike<number>): void {
    const number = this.#freeNumbers.pop() ?? this.#mappings.length
    this.#mappings[number] = mapping
    this.#numbers.set(mapping, number)
    const owners = this.#ownersOf(mapping.window)
    for (let i = 0; i < mapping.pageCount; i++) {
      if ((pages[i] ?? -1) >= 0) owners[mapping.windowPage + i] = number
    }
  }

  /** Removes a mapping; pages that another one owns by now stay that one's. */
  remove(mapping: Mapping): void {
    const number = this.#numbers.get(mapping)
    if (number === undefined) return
    const owners = this.#ownersOf(mapping.window)
    for (let i = mapping.windowPage; i < mapping.windowPage + mapping.pageCount; i++) {
      if (owners[i] === number) owners[i] = 0
    }
    this.#numbers.delete(mapping)
    this.#mappings[number] = undefined
    this.#freeNumbers.push(number)
  }

  /** The mapping that owns a window page. */
  at(window: TargetWindow, page: number): Mapping | undefined {
    return this.#mappings[this.#owners.get(window)?.[page] ?? 0]
  }

  /** The mappings that own pages in a range, with the number of pages that each owns there. */
  inRange(window: TargetWindow, page: number, pageCount: number): Map<Mapping, number> {
    const found = new Map<Mapping, number>()
    const owners = this.#owners.get(window)
    if (owners === undefined) return found
    for (let i = page; i < page + pageCount; ) {
      const number = owners[i] ?? 0
      let end = i + 1
      while (end < page + pageCount && owners[end] === number) end++
      const mapping = this.#mappings[number]
      if (mapping !== undefined) found.set(mapping, (found.get(mapping) ?? 0) + end - i)
      i = end
    }
    return found
  }

  /** All mappings. */
  all(): Mapping[] {
    return [...this.#numbers.keys()]
  }

  #ownersOf(window: TargetWindow): Int32Array {
    let owners = this.#owners.get(window)
    if (owners === undefined) {
      owners = new Int32Array(window.pageCount)
      this.#owners.set(window, owners)
    }
    return owners
  }
}
