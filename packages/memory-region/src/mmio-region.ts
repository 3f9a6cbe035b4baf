import { checkMethods, checkOptions, InvalidArgumentError, type OptionNames } from '@xmc/interface'
import { InvalidAccessError } from './errors.ts'
import { MemoryRegion, type RegionKind, type RegionOptions } from './memory-region.ts'

/** Bytes of one access. */
export type AccessSize = 1 | 2 | 4 | 8

/**
 * A device behind an MMIO region. Offsets are bytes from the start of the region. Accesses come in
 * the sizes that the region's `implemented` rules allow.
 */
export interface MmioDevice {
  /** Reads `size` bytes, 1, 2 or 4; of the result the low `size` bytes count. */
  read(offset: number, size: number): number
  /** Writes `size` bytes, 1, 2 or 4; `value` is unsigned. */
  write(offset: number, value: number, size: number): void
  /** Reads 8 bytes. Needed when `implemented.maximum` is 8. */
  readBigUint64?(offset: number): bigint
  /** Writes 8 bytes. Needed when `implemented.maximum` is 8. */
  writeBigUint64?(offset: number, value: bigint): void
}

/** Which accesses a device takes. */
export interface AccessRules {
  /** Bytes of the smallest access; 1 by default. */
  readonly minimum?: AccessSize | undefined
  /** Bytes of the largest access; 4 by default. */
  readonly maximum?: AccessSize | undefined
  /** Whether an access may lie at an offset that is no multiple of its size; false by default. */
  readonly unaligned?: boolean | undefined
}

/** {@link AccessRules} with nothing left out. */
export interface AccessLimits {
  readonly minimum: AccessSize
  readonly maximum: AccessSize
  readonly unaligned: boolean
}

/** Which accesses the modelled device takes from its bus. */
export interface ValidAccessRules extends AccessRules {
  /** A further rule: false refuses the access. */
  readonly accepts?: ((offset: number, size: number, write: boolean) => boolean) | undefined
}

/** What an MMIO region is made from. */
export interface MmioRegionOptions extends RegionOptions {
  readonly device: MmioDevice
  /** What the modelled device takes; anything else is a fault for whoever made the access. */
  readonly valid?: ValidAccessRules | undefined
  /**
   * What the code of the device takes; other valid accesses are emulated with these. Larger ones are
   * split, lowest address first. Smaller ones are widened: the aligned unit around them is read, and
   * for a write it is read, changed and written.
   */
  readonly implemented?: AccessRules | undefined
  /** Which end comes first in registers wider than a byte; `little` by default. */
  readonly byteOrder?: 'little' | 'big' | undefined
}

const OPTIONS: OptionNames<MmioRegionOptions> = {
  name: true,
  size: true,
  enabled: true,
  device: true,
  valid: true,
  implemented: true,
  byteOrder: true,
}

/**
 * Registers of a device.
 *
 * # Limits
 * At most 2^53 bytes, so that offsets are exact numbers. The size is a multiple of
 * `implemented.minimum`.
 */
export class MmioRegion extends MemoryRegion {
  readonly kind: RegionKind = 'mmio'
  readonly device: MmioDevice
  readonly valid: AccessLimits & Pick<ValidAccessRules, 'accepts'>
  readonly implemented: AccessLimits
  readonly littleEndian: boolean

  /** @throws InvalidArgumentError `ERR_XMC_ARGUMENT`: rules or size that contradict themselves */
  constructor(options: MmioRegionOptions) {
    super(options)
    checkOptions('MmioRegion', options, OPTIONS)
    checkMethods('device', options.device, ['read', 'write'])
    const { device, valid, implemented } = options
    this.device = device
    this.valid = { ...checkRules(`${this.name}: valid`, valid), accepts: valid?.accepts }
    this.implemented = checkRules(`${this.name}: implemented`, implemented)
    this.littleEndian = options.byteOrder !== 'big'
    const { minimum, maximum } = this.implemented
    if (this.size > 1n << 53n || this.size % BigInt(minimum) !== 0n) {
      const expected = `a multiple of ${minimum}, implemented.minimum, up to 2^53`
      throw new InvalidArgumentError(`${this.name}: size`, expected, this.size)
    }
    const wide = device.readBigUint64 !== undefined && device.writeBigUint64 !== undefined
    if (maximum === 8 && !wide) {
      const expected = 'readBigUint64 and writeBigUint64, since implemented.maximum is 8'
      throw new InvalidArgumentError(`${this.name}: device`, expected, device)
    }
  }

  /**
   * @internal Refuses an access that the modelled device does not take.
   *
   * @throws InvalidAccessError `ERR_XMC_INVALID_ACCESS`
   */
  check(offset: number, size: number, write: boolean): void {
    const { minimum, maximum, unaligned, accepts } = this.valid
    if (size < minimum || size > maximum) throw this.invalid(offset, size, write, 'size')
    if (!unaligned && offset % size !== 0) throw this.invalid(offset, size, write, 'alignment')
    if (accepts !== undefined && !accepts(offset, size, write)) {
      throw this.invalid(offset, size, write, 'refused')
    }
  }

  private invalid(
    offset: number,
    size: number,
    write: boolean,
    reason: 'size' | 'alignment' | 'refused',
  ): InvalidAccessError {
    const { minimum, maximum, unaligned } = this.valid
    const limits = `${minimum} to ${maximum} bytes, ${unaligned ? 'unaligned ones too' : 'aligned'}`
    const access = write ? 'write' : 'read'
    return new InvalidAccessError(this.name, offset, size, access, reason, limits)
  }
}

function checkRules(field: string, rules: AccessRules = {}): AccessLimits {
  const minimum = rules.minimum ?? 1
  const maximum = rules.maximum ?? (minimum === 8 ? 8 : 4)
  if (![1, 2, 4, 8].includes(minimum) || ![1, 2, 4, 8].includes(maximum) || minimum > maximum) {
    const expected = 'a minimum and a maximum of 1, 2, 4 or 8 bytes, the minimum not above'
    throw new InvalidArgumentError(field, expected, `${minimum} to ${maximum}`)
  }
  return { minimum, maximum, unaligned: rules.unaligned ?? false }
}
