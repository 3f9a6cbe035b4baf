import { checkMethods, checkOptions, InvalidArgumentError, type OptionNames } from '@xmc/interface'
import { PAGE_LIMIT, PAGE_SIZE } from './internal/page.ts'
import { MemoryRegion, type RegionKind, type RegionOptions } from './memory-region.ts'
import { PlainMemory } from './plain-memory.ts'
import type { RamBacking } from './ram-backing.ts'

/** What a RAM region is made from. */
export interface RamRegionOptions extends RegionOptions {
  /** The memory behind it. */
  readonly backing: RamBacking
  /** Page of the backing at the start of the region; 0 by default. Byte b is in page `firstPage` + b / 4096. */
  readonly firstPage?: number | undefined
  /** Refuse writes, as a ROM does; false by default. */
  readonly readOnly?: boolean | undefined
  /** Refuse plain reads, writes, loads and stores: only mappings are allowed; false by default. */
  readonly mapOnly?: boolean | undefined
}

const OPTIONS: OptionNames<RamRegionOptions> = {
  name: true,
  size: true,
  enabled: true,
  backing: true,
  firstPage: true,
  readOnly: true,
  mapOnly: true,
}

/** A region of memory: accesses go to its backing, and it can be mapped without a bounce buffer. */
export class RamRegion extends MemoryRegion {
  readonly kind: RegionKind = 'ram'
  readonly backing: RamBacking
  /** Page of the backing at the start of the region. */
  readonly firstPage: number
  readonly readOnly: boolean
  readonly mapOnly: boolean

  /** @throws InvalidArgumentError `ERR_XMC_ARGUMENT`: pages at or over 2^52 would be needed */
  constructor(options: RamRegionOptions) {
    super(options)
    checkOptions('RamRegion', options, OPTIONS)
    checkMethods('backing', options.backing, ['lock', 'unlock', 'read', 'write'])
    const firstPage = options.firstPage ?? 0
    const pages = Number((this.size + 4095n) >> 12n)
    if (!Number.isInteger(firstPage) || firstPage < 0 || firstPage + pages > PAGE_LIMIT) {
      const expected = 'an integer, 0 or more, that keeps all pages of the region below 2^52'
      throw new InvalidArgumentError(`${this.name}: firstPage`, expected, firstPage)
    }
    this.backing = options.backing
    this.firstPage = firstPage
    this.readOnly = options.readOnly ?? false
    this.mapOnly = options.mapOnly ?? false
  }
}

/** What a ROM is made from. */
export interface RomRegionOptions extends Omit<RegionOptions, 'size'> {
  /** What it holds; copied. */
  readonly contents: Uint8Array
  /** Bytes; the length of the contents by default. What is not filled reads as zeros. */
  readonly size?: bigint | undefined
}

const ROM_OPTIONS: OptionNames<RomRegionOptions> = {
  name: true,
  size: true,
  enabled: true,
  contents: true,
}

/**
 * A read-only region with contents of its own. Reads go straight to memory. A write changes nothing
 * and is reported to whoever made it, as a transaction error is on a bus: `ERR_XMC_READ_ONLY_REGION`.
 */
export class RomRegion extends RamRegion {
  override readonly kind: RegionKind = 'rom'

  /** @throws InvalidArgumentError `ERR_XMC_ARGUMENT`: the contents are larger than the ROM */
  constructor(options: RomRegionOptions) {
    checkOptions('RomRegion', options, ROM_OPTIONS)
    const { contents, ...region } = options
    const { name } = region
    const size = options.size ?? BigInt(contents.length)
    if (BigInt(contents.length) > size) {
      const expected = `at most ${size} bytes, the size of the ROM`
      throw new InvalidArgumentError(`${name}: contents`, expected, contents.length)
    }
    const pageCount = Math.max(1, Math.ceil(Number(size) / PAGE_SIZE))
    const backing = new PlainMemory({ name, pageCount })
    backing.write(0, 0, contents)
    super({ ...region, size, backing, readOnly: true })
  }
}
