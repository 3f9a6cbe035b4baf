import { InvalidArgumentError } from '@xmc/interface'
import { callAll, throwAll } from './internal/call-all.ts'
import { ADDRESS_LIMIT } from './internal/page.ts'

/** What every region is made from. */
export interface RegionOptions {
  /** Name for messages and `mtree`. */
  readonly name: string
  /** Bytes, 1 to 2^64. */
  readonly size: bigint
  /** Whether the region is seen; true by default. */
  readonly enabled?: boolean | undefined
}

/** What a region is: memory, registers, another region shown again, or a holder of regions. */
export type RegionKind = 'ram' | 'rom' | 'mmio' | 'alias' | 'container'

/** Where a region stands in its container. */
export interface RegionPlacement {
  readonly container: MemoryRegion
  /** Bytes from the start of the container. */
  readonly address: bigint
  /** Greater numbers hide lesser ones in the same container. */
  readonly priority: number
}

/** Told when something below an address space changed. */
export interface RegionObserver {
  regionChanged(): void
}

/**
 * A region of an address map: the base of every kind.
 *
 * Regions form an acyclic graph. Inner nodes are containers and aliases, the ends are RAM, ROM and
 * MMIO. A region stands in one container at most; to show it in several places, use aliases. A region
 * has no owner: it is there as long as something refers to it.
 */
export abstract class MemoryRegion {
  abstract readonly kind: RegionKind
  readonly name: string
  /** Bytes, 1 to 2^64. */
  readonly size: bigint
  /** @internal Live mappings. */
  held = 0
  private visible: boolean
  private where: RegionPlacement | undefined
  private readonly observers: Set<RegionObserver> = new Set()

  /** @internal */
  protected constructor(options: RegionOptions) {
    const { name, size, enabled } = options
    if (typeof name !== 'string' || name === '') {
      throw new InvalidArgumentError('name', 'a string that is not empty', name)
    }
    if (typeof size !== 'bigint' || size < 1n || size > ADDRESS_LIMIT) {
      throw new InvalidArgumentError(`${name}: size`, 'a bigint from 1 to 2^64', size)
    }
    this.name = name
    this.size = size
    this.visible = enabled ?? true
  }

  /** Whether the region is seen. A change shows at once, or when the transaction ends. */
  get enabled(): boolean {
    return this.visible
  }

  set enabled(enabled: boolean) {
    if (enabled === this.visible) return
    this.visible = enabled
    this.changed()
  }

  /** Where the region stands, or undefined when no container holds it. */
  get placement(): RegionPlacement | undefined {
    return this.where
  }

  /**
   * Mappings, rings and bounce buffers that lead to this region now, through any address space. Its
   * backing must live until this is 0, even after the region was removed from the map.
   */
  get references(): number {
    return this.held
  }

  /** @internal Sets the place; only containers do. */
  placed(placement: RegionPlacement | undefined): void {
    this.where = placement
  }

  /** @internal Tells `observer` of changes. */
  observe(observer: RegionObserver): void {
    this.observers.add(observer)
  }

  /** @internal Ends `observe`. */
  unobserve(observer: RegionObserver): void {
    this.observers.delete(observer)
  }

  /** @internal Something about this region changed. */
  protected changed(): void {
    const errors: unknown[] = []
    const observers = [...this.observers]
    callAll(
      observers.map((observer) => () => observer.regionChanged()),
      errors,
    )
    throwAll(errors)
  }
}
