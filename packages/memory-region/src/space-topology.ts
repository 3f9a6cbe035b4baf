import { callAll, throwAll } from './internal/call-all.ts'
import type { FlatRange } from './internal/flat-range.ts'
import { FlatView } from './internal/flat-view.ts'
import { type Flattened, flatten } from './internal/flatten.ts'
import { checkPageAddress } from './internal/page.ts'
import type { MemoryRegion } from './memory-region.ts'
import type { MemorySection, SectionListener } from './memory-section.ts'
import type { RamBacking } from './ram-backing.ts'

/**
 * The map of an address space: a root region, its flattened view, and who is told of changes. The
 * view is built anew after every change of a region that has a say in it, or once per transaction.
 */
export class SpaceTopology {
  /** Name for messages and `mtree`. */
  readonly name: string
  /** The region that the space shows. */
  readonly root: MemoryRegion
  /** @internal */
  protected view: FlatView = new FlatView([])

  // The range that was last used, for the short way of an access: two comparisons and an addition.
  // Only ranges all of whose numbers fit an int32 are put here, so that none of these fields ever
  // holds a double, which V8 would box; else the ends are 0 and the long way is taken.
  /** @internal */
  protected nearFirst = 0
  /** @internal */
  protected nearLoadEnd = 0
  /** @internal */
  protected nearStoreEnd = 0
  /** @internal */
  protected nearMapEnd = 0
  /** @internal */
  protected nearMapWriteEnd = 0
  /** @internal Page of the backing minus page of the address. */
  protected nearDelta = 0
  /** @internal */
  protected nearRange: FlatRange | null = null
  /** @internal */
  protected nearBacking: RamBacking | null = null

  /** @internal Whether stores are to be reported. */
  watched = false

  private last = 0
  private readonly listeners: Set<SectionListener> = new Set()
  private readonly observed: Set<MemoryRegion> = new Set()
  private depth = 0
  private stale = false
  private committing = false
  private rebuildCount = 0
  private ended = false

  /** @internal */
  protected constructor(name: string, root: MemoryRegion) {
    this.name = name
    this.root = root
    this.rebuild()
  }

  /** The ranges in which something is seen, in order of addresses. */
  get sections(): readonly MemorySection[] {
    return this.view.ranges.map((range) => range.section)
  }

  /** How often the flattened view was built. */
  get rebuilds(): number {
    return this.rebuildCount
  }

  /**
   * Runs `change`, which may alter any number of regions, and then builds the view once. Until then
   * accesses see the old one. Transactions nest; a region that several spaces see needs one in each.
   * `change` must be synchronous. If it throws, what it altered stays and is shown.
   */
  transaction<Result>(change: () => Result): Result {
    let result: Result
    this.depth++
    try {
      result = change()
    } catch (error) {
      this.leave([error])
      throw error
    }
    this.leave([])
    return result
  }

  /** @internal A region that has a say in the view changed. */
  regionChanged(): void {
    this.stale = true
    if (this.depth > 0) return
    const errors: unknown[] = []
    this.commit(errors)
    throwAll(errors)
  }

  /**
   * Adds a listener, and reports to it what is seen now as added. Returns how to remove it, which
   * reports nothing.
   */
  addListener(listener: SectionListener): () => void {
    this.listeners.add(listener)
    for (const section of this.sections) listener.added(section)
    return () => {
      this.listeners.delete(listener)
    }
  }

  /** @internal Whether stores are to be reported. */
  protected watchStores(watched: boolean): void {
    if (watched === this.watched) return
    this.watched = watched
    this.moveNear(this.last)
  }

  /** @internal The range at an address; undefined where nothing is. Checks the address. */
  protected rangeAt(page: number, offset: number): FlatRange | undefined {
    checkPageAddress(page, offset)
    const found = this.view.find(page, offset, this.last)
    if (found < 0) return undefined
    if (found !== this.last) this.moveNear(found)
    return this.view.ranges[found]
  }

  /** @internal Shows nothing from now on, and tells the listeners. */
  protected end(): void {
    this.ended = true
    this.regionChanged()
  }

  private leave(errors: unknown[]): void {
    this.depth--
    if (this.depth === 0) this.commit(errors)
    throwAll(errors)
  }

  /** Builds the view if it is stale and reports the difference. */
  private commit(errors: unknown[]): void {
    if (this.committing) return
    this.committing = true
    // A listener may change the map again: that is reported after the change it was told of.
    while (this.stale) {
      const before = this.sections
      this.rebuild()
      callAll(this.reports(before, this.sections), errors)
    }
    this.committing = false
  }

  private rebuild(): void {
    this.stale = false
    this.rebuildCount++
    const { sections, regions } = this.ended ? NOTHING : flatten(this.root)
    for (const region of this.observed) {
      if (regions.has(region)) continue
      region.unobserve(this)
      this.observed.delete(region)
    }
    for (const region of regions) {
      region.observe(this)
      this.observed.add(region)
    }
    this.view = new FlatView(sections)
    this.moveNear(0)
  }

  private moveNear(index: number): void {
    this.last = index
    const range = this.view.ranges[index]
    if (range === undefined || range.smallEnd === 0) {
      this.nearLoadEnd = 0
      this.nearStoreEnd = 0
      this.nearMapEnd = 0
      this.nearMapWriteEnd = 0
      return
    }
    const { smallEnd, plainEnd, readOnly } = range
    this.nearFirst = range.smallFirst
    this.nearLoadEnd = plainEnd
    // A store that somebody listens to takes the long way.
    this.nearStoreEnd = readOnly || this.watched ? 0 : plainEnd
    this.nearMapEnd = smallEnd
    this.nearMapWriteEnd = readOnly ? 0 : smallEnd
    this.nearDelta = range.pageDelta
    this.nearRange = range
    this.nearBacking = range.backing
  }

  private *reports(
    before: readonly MemorySection[],
    after: readonly MemorySection[],
  ): Generator<() => void> {
    const old = new Map(before.map((section) => [section.address, section]))
    const present = new Map(after.map((section) => [section.address, section]))
    const listeners = [...this.listeners]
    for (const listener of listeners) {
      for (const section of before) {
        if (!same(present.get(section.address), section)) yield () => listener.removed(section)
      }
    }
    for (const listener of listeners) {
      for (const section of after) {
        if (!same(old.get(section.address), section)) yield () => listener.added(section)
      }
    }
  }
}

const NOTHING: Flattened = { sections: [], regions: new Set() }

function same(a: MemorySection | undefined, b: MemorySection): boolean {
  return (
    a !== undefined &&
    a.region === b.region &&
    a.size === b.size &&
    a.offset === b.offset &&
    a.readOnly === b.readOnly
  )
}
