import { type GrantReference, isPageList, type Pages, type WindowPage } from '@xmc/interface'
import { referencesOf } from './references.ts'

interface Mapping {
  readonly references: Pages<GrantReference>
  readonly writable: boolean
}

/** A reference that one more map would bring over a limit. */
export interface OverLimit {
  readonly reference: GrantReference
  /** Mappings of one kind that it would have. */
  readonly count: number
  /** How many of them are of that map itself. */
  readonly requested: number
}

/** What one backend has mapped of one kind, reading or writing. */
class Kind {
  /** The most mappings that any reference can have: one of each run, all of each list. */
  most = 0
  /** Mappings of each reference; kept from the first look at it on, while anything is mapped. */
  counts: Map<GrantReference, number> | undefined

  change(references: Pages<GrantReference>, by: 1 | -1): void {
    this.most += by * mostOf(references)
    if (this.most === 0) this.counts = undefined
    const { counts } = this
    if (counts === undefined) return
    for (const reference of referencesOf(references)) add(counts, reference, by)
  }
}

/**
 * Which references one backend has mapped, and where. A map and an unmap cost one table operation each;
 * mappings of a reference are counted only from the first failure on that too many could be the reason of.
 */
export class MappingLedger {
  readonly #mappings = new Map<WindowPage, Mapping>()
  readonly #reading = new Kind()
  readonly #writing = new Kind()

  /** True when nothing is mapped. */
  get isEmpty(): boolean {
    return this.#mappings.size === 0
  }

  /** Notes a mapping that now exists from `windowPage` on. */
  add(windowPage: WindowPage, references: Pages<GrantReference>, writable: boolean): void {
    this.remove(windowPage)
    // A list belongs to the caller, who may change it while the mapping lives.
    const own = isPageList(references) ? [...references] : references
    this.#mappings.set(windowPage, { references: own, writable })
    this.#kind(writable).change(own, 1)
  }

  /** Forgets the mapping at `windowPage`. */
  remove(windowPage: WindowPage): void {
    const mapping = this.#mappings.get(windowPage)
    if (mapping === undefined) return
    this.#mappings.delete(windowPage)
    this.#kind(mapping.writable).change(mapping.references, -1)
  }

  /** The references mapped from `windowPage` on, if a mapping starts there. */
  at(windowPage: WindowPage): Pages<GrantReference> | undefined {
    return this.#mappings.get(windowPage)?.references
  }

  /** The first of `references` that would have over `limit` mappings of one kind with one more map of them. */
  overLimit(
    references: Pages<GrantReference>,
    writable: boolean,
    limit: number,
  ): OverLimit | undefined {
    const kind = this.#kind(writable)
    if (kind.most + mostOf(references) <= limit) return undefined
    const counts = this.#countsOf(kind, writable)
    const requests = new Map<GrantReference, number>()
    if (isPageList(references)) for (const each of references) add(requests, each, 1)
    for (const reference of referencesOf(references)) {
      const requested = requests.get(reference) ?? 1
      const count = requested + (counts.get(reference) ?? 0)
      if (count > limit) return { reference, count, requested }
    }
    return undefined
  }

  #kind(writable: boolean): Kind {
    return writable ? this.#writing : this.#reading
  }

  #countsOf(kind: Kind, writable: boolean): ReadonlyMap<GrantReference, number> {
    if (kind.counts !== undefined) return kind.counts
    const counts = new Map<GrantReference, number>()
    for (const mapping of this.#mappings.values()) {
      if (mapping.writable !== writable) continue
      for (const reference of referencesOf(mapping.references)) add(counts, reference, 1)
    }
    if (kind.most > 0) kind.counts = counts
    return counts
  }
}

/** The most times that a reference can occur in a map. */
function mostOf(references: Pages<GrantReference>): number {
  return isPageList(references) ? references.length : 1
}

function add(counts: Map<GrantReference, number>, reference: GrantReference, by: number): void {
  const count = (counts.get(reference) ?? 0) + by
  if (count === 0) counts.delete(reference)
  else counts.set(reference, count)
}
