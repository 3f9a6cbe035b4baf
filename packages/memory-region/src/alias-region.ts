import { checkOptions, InvalidArgumentError, type OptionNames } from '@xmc/interface'
import { MemoryRegion, type RegionKind, type RegionOptions } from './memory-region.ts'

/** What an alias is made from. */
export interface AliasRegionOptions extends RegionOptions {
  /** The region that is shown; it needs no container. */
  readonly target: MemoryRegion
  /** Byte of the target at the start of the alias; 0 by default. */
  readonly offset?: bigint | undefined
  /** Refuse writes through this alias; false by default. */
  readonly readOnly?: boolean | undefined
}

const OPTIONS: OptionNames<AliasRegionOptions> = {
  name: true,
  size: true,
  enabled: true,
  target: true,
  offset: true,
  readOnly: true,
}

/**
 * A window onto a part of another region, of any kind. Where the target ends before the alias does,
 * or is disabled, the alias is transparent.
 */
export class AliasRegion extends MemoryRegion {
  readonly kind: RegionKind = 'alias'
  readonly target: MemoryRegion
  /** Byte of the target at the start of the alias. */
  readonly offset: bigint
  readonly readOnly: boolean

  /** @throws InvalidArgumentError `ERR_XMC_ARGUMENT`: the offset is outside the target */
  constructor(options: AliasRegionOptions) {
    super(options)
    checkOptions('AliasRegion', options, OPTIONS)
    const { target } = options
    const offset = options.offset ?? 0n
    if (offset < 0n || offset >= target.size) {
      const expected = `a bigint from 0 to ${target.size - 1n}, inside ${target.name}`
      throw new InvalidArgumentError(`${this.name}: offset`, expected, offset)
    }
    this.target = target
    this.offset = offset
    this.readOnly = options.readOnly ?? false
  }
}
