import {
  checkOptions,
  InvalidArgumentError,
  type OptionNames,
  XEN_GRANT_ADDRESS_OFFSET,
} from '@xmc/interface'
import { AliasRegion } from './alias-region.ts'
import type { ContainerRegion } from './container-region.ts'
import type { MemoryRegion } from './memory-region.ts'
import type { RamBacking } from './ram-backing.ts'
import { RamRegion } from './ram-region.ts'

/** Frames of a grant table by default: Xen's default for `gnttab_max_frames`. */
export const DEFAULT_GRANT_FRAMES = 64

/** Grant references in one frame of a table of version 1. */
export const REFERENCES_PER_FRAME = 512

/** Frames that hold all 2^32 references: the region for a table of unknown size. */
export const MAX_GRANT_FRAMES: number = 2 ** 32 / REFERENCES_PER_FRAME

/** A range of guest addresses that is RAM. */
export interface RamBank {
  /** Name of its region, as `xen.ram.lo`. */
  readonly name: string
  /** First guest address, a multiple of 4096. */
  readonly address: bigint
  /** Bytes. */
  readonly size: bigint
}

/** What a machine's Xen memory is made from. */
export interface XenMemoryOptions {
  /** The guest's RAM; its pages are guest frames. */
  readonly memory: RamBacking
  /** Where RAM is. */
  readonly banks: readonly RamBank[]
  /** The guest's grants; its pages are grant references. Without it there is no grants region. */
  readonly grants?: RamBacking | undefined
  /**
   * Frames of the guest's grant table, which give the size of the grants region, whatever the size of
   * RAM: 1 to {@link MAX_GRANT_FRAMES}; {@link DEFAULT_GRANT_FRAMES} by default, for 32,768 references.
   */
  readonly grantFrames?: number | undefined
  /**
   * Whether grants may be read, written, loaded and stored without a mapping, by copy or by a mapping for
   * the moment; true by default. If false, that is refused with `ERR_XMC_MAP_ONLY`.
   */
  readonly allowGrantAccess?: boolean | undefined
}

const OPTIONS: OptionNames<XenMemoryOptions> = {
  memory: true,
  banks: true,
  grants: true,
  grantFrames: true,
  allowGrantAccess: true,
}

/**
 * The regions of one machine that are the guest's memory: `xen.ram`, in which byte n is guest address
 * n, and `xen.grants`, in which page n is grant reference n. Each belongs to one machine, and is known
 * by what it is, not by its address: nothing below the regions looks at bit 63.
 */
export class XenMemory {
  /** The region `xen.ram`, from guest address 0 to the end of the last bank. `banks` shows parts of it. */
  readonly memory: RamRegion
  /** The region `xen.grants`, or undefined without grants. */
  readonly grants: RamRegion | undefined
  /** Aliases of `xen.ram`, one for each bank. */
  readonly banks: readonly AliasRegion[]

  /** @throws InvalidArgumentError `ERR_XMC_ARGUMENT`: no banks, banks over bit 63, or a bad number of frames */
  constructor(options: XenMemoryOptions) {
    checkOptions('XenMemory', options, OPTIONS)
    const { memory, banks } = options
    const end = banks.reduce((last, bank) => maxOf(last, bank.address + bank.size), 0n)
    if (end < 1n || end > XEN_GRANT_ADDRESS_OFFSET) {
      throw new InvalidArgumentError('banks', 'at least one bank, all of them below 2^63', end)
    }
    this.memory = new RamRegion({ name: 'xen.ram', size: end, backing: memory })
    this.banks = banks.map(({ name, address, size }) => this.bank(name, address, size))
    this.grants = grantsRegion(options)
  }

  /** Puts the banks and the grants region into `container`, whose byte 0 is guest address 0. */
  addTo(container: ContainerRegion): void {
    for (const bank of this.banks) container.add(bank, bank.offset)
    if (this.grants !== undefined) container.add(this.grants, XEN_GRANT_ADDRESS_OFFSET)
  }

  /**
   * Whether the region is memory of this guest, reached through Xen: `xen.ram` or `xen.grants`, or an
   * alias of one. Grants are among it; for RAM alone ask {@link XenMemory.isGuestRam}.
   */
  isXenMemory(region: MemoryRegion): boolean {
    const target = targetOf(region)
    return target === this.memory || (this.grants !== undefined && target === this.grants)
  }

  /** Whether the region is `xen.grants`, or an alias of it. */
  isXenGrants(region: MemoryRegion): boolean {
    return this.grants !== undefined && targetOf(region) === this.grants
  }

  /** Whether the region is the guest's RAM, or an alias of it: Xen memory without grants. */
  isGuestRam(region: MemoryRegion): boolean {
    return targetOf(region) === this.memory
  }

  private bank(name: string, address: bigint, size: bigint): AliasRegion {
    if (address % 4096n !== 0n) {
      throw new InvalidArgumentError(`${name}: address`, 'a multiple of 4096', address)
    }
    return new AliasRegion({ name, size, target: this.memory, offset: address })
  }
}

function grantsRegion(options: XenMemoryOptions): RamRegion | undefined {
  const { grants, allowGrantAccess } = options
  const frames = options.grantFrames ?? DEFAULT_GRANT_FRAMES
  if (!Number.isInteger(frames) || frames < 1 || frames > MAX_GRANT_FRAMES) {
    throw new InvalidArgumentError(
      'grantFrames',
      `an integer from 1 to ${MAX_GRANT_FRAMES}`,
      frames,
    )
  }
  if (grants === undefined) return undefined
  const size = BigInt(frames * REFERENCES_PER_FRAME) << 12n
  const mapOnly = allowGrantAccess === false
  return new RamRegion({ name: 'xen.grants', size, backing: grants, mapOnly })
}

function targetOf(region: MemoryRegion): MemoryRegion {
  return region instanceof AliasRegion ? targetOf(region.target) : region
}

function maxOf(a: bigint, b: bigint): bigint {
  return a > b ? a : b
}
