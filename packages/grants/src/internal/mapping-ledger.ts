import { isPageList, type Pages, type WindowPage } from '@xmc/core'
import type { GrantReference } from '../grant-reference.ts'
import { referencesOf } from './references.ts'

interface Mapping {
  readonly references: Pages<GrantReference>
  readonly writable: boolean
}

/**
 * Which references one backend has mapped, and where. A map and an unmap cost one table operation
 * each; mappings of a reference are only counted after a failure.
 */
export class MappingLedger {
  readonly #mappings = new Map<WindowPage, Mapping>()

  /** Notes a mapping that now exists from `windowPage` on. */
  add(windowPage: WindowPage, references: Pages<GrantReference>, writable: boolean): void {
    // A list belongs to the caller, who may change it while the mapping lives.
    const own = isPageList(references) ? [...references] : references
    this.#mappings.set(windowPage, { references: own, writable })
  }

  /** Forgets the mapping at `windowPage`. */
  remove(windowPage: WindowPage): void {
    this.#mappings.delete(windowPage)
  }

  /** The references mapped from `windowPage` on, if a mapping starts there. */
  at(windowPage: WindowPage): Pages<GrantReference> | undefined {
    return this.#mappings.get(windowPage)?.references
  }

  /** How many mappings of one kind each of `references` would have with one more map of them. */
  countWith(
    references: Pages<GrantReference>,
    writable: boolean,
  ): ReadonlyMap<GrantReference, number> {
    const counts = new Map<GrantReference, number>()
    for (const reference of referencesOf(references)) {
      counts.set(reference, (counts.get(reference) ?? 0) + 1)
    }
    for (const mapping of this.#mappings.values()) {
      if (mapping.writable !== writable) continue
      for (const reference of referencesOf(mapping.references)) {
        const count = counts.get(reference)
        if (count !== undefined) counts.set(reference, count + 1)
      }
    }
    return counts
  }
}
