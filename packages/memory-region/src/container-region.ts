import { checkOptions, InvalidArgumentError } from '@xmc/interface'
import { AliasRegion } from './alias-region.ts'
import { RegionError } from './errors.ts'
import { ADDRESS_LIMIT } from './internal/page.ts'
import { MemoryRegion, type RegionKind, type RegionOptions } from './memory-region.ts'

/** What a container is made from. */
export interface ContainerRegionOptions extends Omit<RegionOptions, 'size'> {
  /** Bytes; 2^64 by default, a whole address space. */
  readonly size?: bigint | undefined
}

/** How a region is placed in a container. */
export interface PlacementOptions {
  /** −2^31 to 2^31 − 1; 0 by default. Where regions overlap, the greatest is seen. */
  readonly priority?: number | undefined
}

/**
 * A region that holds others, each at an address with a priority. What reaches over its end is cut
 * off; where none of its regions is, the container is transparent.
 */
export class ContainerRegion extends MemoryRegion {
  readonly kind: RegionKind = 'container'
  private members: MemoryRegion[] = []

  constructor(options: ContainerRegionOptions) {
    super({ ...options, size: options.size ?? ADDRESS_LIMIT })
    checkOptions('ContainerRegion', options, { name: true, size: true, enabled: true })
  }

  /** The regions it holds, those that hide others first. */
  get subregions(): readonly MemoryRegion[] {
    return this.members
  }

  /**
   * Puts `region` at byte `address` of the container. Of two regions with one priority that overlap,
   * the later one is seen; give priorities rather than rely on it.
   *
   * @throws RegionError `ERR_XMC_REGION`: the region has a container already, or would contain itself
   * @throws InvalidArgumentError `ERR_XMC_ARGUMENT`: the address is outside the container
   */
  add(region: MemoryRegion, address: bigint, options: PlacementOptions = {}): void {
    checkOptions('add', options, { priority: true })
    const { placement } = region
    if (placement !== undefined) {
      const { container } = placement
      throw new RegionError(
        region.name,
        `stands in ${container.name} already: remove it, or add an alias`,
      )
    }
    if (reaches(region, this)) {
      throw new RegionError(region.name, `leads to ${this.name}, so it cannot be put into it`)
    }
    this.place(region, address, options.priority ?? 0)
    this.changed()
  }

  /**
   * Takes `region` out. Mappings of it stay valid until they are released.
   *
   * @throws RegionError `ERR_XMC_REGION`: it is not in this container
   */
  remove(region: MemoryRegion): void {
    this.checkMember(region)
    this.members = this.members.filter((member) => member !== region)
    region.placed(undefined)
    this.changed()
  }

  /**
   * Moves a region of this container, in one step; the priority stays unless given.
   *
   * @throws RegionError, InvalidArgumentError as `add` and `remove`; nothing is moved then
   */
  move(region: MemoryRegion, address: bigint, options: PlacementOptions = {}): void {
    checkOptions('move', options, { priority: true })
    this.checkMember(region)
    this.place(region, address, options.priority ?? region.placement?.priority ?? 0)
    this.changed()
  }

  private place(region: MemoryRegion, address: bigint, priority: number): void {
    if (typeof address !== 'bigint' || address < 0n || address >= this.size) {
      const expected = `a bigint from 0 to ${this.size - 1n}, inside ${this.name}`
      throw new InvalidArgumentError(`${region.name}: address`, expected, address)
    }
    if ((priority | 0) !== priority) {
      const expected = 'an integer from -2147483648 to 2147483647'
      throw new InvalidArgumentError(`${region.name}: priority`, expected, priority)
    }
    const others = this.members.filter((member) => member !== region)
    const before = others.findIndex((member) => (member.placement?.priority ?? 0) <= priority)
    others.splice(before < 0 ? others.length : before, 0, region)
    this.members = others
    region.placed({ container: this, address, priority })
  }

  private checkMember(region: MemoryRegion): void {
    if (region.placement?.container !== this) {
      throw new RegionError(region.name, `does not stand in ${this.name}`)
    }
  }
}

/** Whether `to` can be reached from `from` through containers and aliases. */
function reaches(from: MemoryRegion, to: MemoryRegion): boolean {
  if (from === to) return true
  if (from instanceof AliasRegion) return reaches(from.target, to)
  return from instanceof ContainerRegion && from.subregions.some((region) => reaches(region, to))
}
