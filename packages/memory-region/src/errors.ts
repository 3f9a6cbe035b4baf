import { type Shortage, XmcError } from '@xmc/interface'
import { hex } from './internal/page.ts'

/** What an access does. */
export type AccessKind = 'read' | 'write'

/** `ERR_XMC_UNASSIGNED`: no region is at an address that was read, written or mapped. */
export class UnassignedAccessError extends XmcError {
  /** First address without a region; 2^64 where an access runs over the end. */
  readonly address: bigint
  /** Bytes of the access from there on. */
  readonly length: number
  readonly access: AccessKind

  constructor(space: string, address: bigint, length: number, access: AccessKind) {
    super(
      'ERR_XMC_UNASSIGNED',
      () =>
        `${space}: no region at ${hex(address)} for a ${access} of ${length} bytes: see mtree() for what is where`,
    )
    this.address = address
    this.length = length
    this.access = access
  }
}

/** Why a device does not take an access: its width, its alignment, or the device's own rule. */
export type InvalidAccessReason = 'size' | 'alignment' | 'refused'

/** `ERR_XMC_INVALID_ACCESS`: an MMIO region does not take accesses of this width, alignment or place. */
export class InvalidAccessError extends XmcError {
  /** Name of the region. */
  readonly region: string
  /** Bytes from the start of the region. */
  readonly offset: number
  /** Bytes of the access. */
  readonly size: number
  readonly access: AccessKind
  readonly reason: InvalidAccessReason

  constructor(
    region: string,
    offset: number,
    size: number,
    access: AccessKind,
    reason: InvalidAccessReason,
    limits: string,
  ) {
    super(
      'ERR_XMC_INVALID_ACCESS',
      () =>
        `${region}: a ${access} of ${size} bytes at offset ${hex(offset)} is not valid (${reason}): the device takes ${limits}`,
    )
    this.region = region
    this.offset = offset
    this.size = size
    this.access = access
    this.reason = reason
  }
}

/** `ERR_XMC_READ_ONLY_REGION`: a write reached a ROM, or RAM that is read-only there; nothing changed. */
export class ReadOnlyRegionError extends XmcError {
  /** Name of the region. */
  readonly region: string
  readonly address: bigint

  constructor(region: string, address: bigint, length: number) {
    super(
      'ERR_XMC_READ_ONLY_REGION',
      () =>
        `${region}: a write of ${length} bytes at ${hex(address)} was discarded: the region is read-only there`,
    )
    this.region = region
    this.address = address
  }
}

/** `ERR_XMC_MAP_ONLY`: a plain read, write, load or store of a region that may only be mapped. */
export class MapOnlyError extends XmcError {
  /** Name of the region. */
  readonly region: string
  readonly address: bigint
  readonly access: AccessKind

  constructor(region: string, address: bigint, access: AccessKind) {
    super(
      'ERR_XMC_MAP_ONLY',
      () =>
        `${region}: a plain ${access} at ${hex(address)} is refused: map it, or allow plain access (allowGrantAccess)`,
    )
    this.region = region
    this.address = address
    this.access = access
  }
}

/**
 * `ERR_XMC_BOUNCE_BUDGET`: what is mapped is not RAM, and no bounce bytes are left. A `passing` shortage, unless
 * the budget is 0: then the space gives no bounce buffers.
 */
export class BounceBudgetError extends XmcError {
  /** Bytes that may be in bounce buffers at a time. */
  readonly budget: number
  /** Bytes that are. */
  readonly used: number

  constructor(space: string, address: bigint, budget: number, used: number) {
    super(
      'ERR_XMC_BOUNCE_BUDGET',
      () =>
        `${space}: ${hex(address)} is not RAM, and ` +
        (budget === 0
          ? 'the space gives no bounce buffers: set bounceBudget to allow them'
          : `${used} of ${budget} bounce bytes are in use: wait with awaitRoom(), or make bounceBudget larger`),
      { shortage: budget === 0 ? undefined : 'passing' },
    )
    this.budget = budget
    this.used = used
  }
}

/** What a {@link ShareError} says. */
export interface ShareShortage {
  /** Who wanted more. */
  readonly user: string
  /** Name of the backing whose window it is. */
  readonly backing: string
  /** Slots that the mapping needs. */
  readonly needed: number
  /** Slots that the user has. */
  readonly used: number
  /** Slots that each user gets at any time. */
  readonly guaranteed: number
  /** Most slots that one user can have. */
  readonly most: number
  readonly shortage: Shortage
}

/**
 * `ERR_XMC_SHARE`: a user of an address space has its share of a window, and the rest is used, or kept for others. A
 * `passing` shortage, or a `lasting` one where the mapping needs more than one user can have.
 */
export class ShareError extends XmcError {
  /** Who wanted more. */
  readonly user: string
  /** Name of the backing whose window it is. */
  readonly backing: string
  /** Slots that the mapping needs. */
  readonly needed: number
  /** Slots that the user has. */
  readonly used: number
  /** Slots that each user gets at any time. */
  readonly guaranteed: number

  constructor({ user, backing, needed, used, guaranteed, most, shortage }: ShareShortage) {
    super(
      'ERR_XMC_SHARE',
      () =>
        `${user}: ${needed} more slots in the window of ${backing} would leave others less than the ${guaranteed} that ` +
        `each is guaranteed: it has ${used}, and ${most} at most: ` +
        (shortage === 'passing'
          ? 'wait with awaitRoom(), or make the window larger'
          : 'make the window larger, or guaranteedShare smaller'),
      { shortage },
    )
    this.user = user
    this.backing = backing
    this.needed = needed
    this.used = used
    this.guaranteed = guaranteed
  }
}

/** `ERR_XMC_NOT_RAM`: a long-lived mapping was asked of something that is not RAM. */
export class NotRamError extends XmcError {
  /** Name of the region. */
  readonly region: string
  readonly address: bigint

  constructor(region: string, address: bigint) {
    super('ERR_XMC_NOT_RAM', `${region}: ${hex(address)} is not RAM, so no ring can be there`)
    this.region = region
    this.address = address
  }
}

/** `ERR_XMC_SHORT_MAPPING`: a structure that must be contiguous is not. Nothing stays mapped. */
export class ShortMappingError extends XmcError {
  readonly address: bigint
  /** Bytes that were asked for. */
  readonly requested: number
  /** Bytes that are contiguous. */
  readonly available: number

  constructor(space: string, address: bigint, requested: number, available: number) {
    super(
      'ERR_XMC_SHORT_MAPPING',
      () =>
        `${space}: only ${available} of ${requested} bytes at ${hex(address)} are contiguous: the structure must lie in one region`,
    )
    this.address = address
    this.requested = requested
    this.available = available
  }
}

/** `ERR_XMC_REGION`: a region cannot be placed, moved or removed as asked; nothing was done. */
export class RegionError extends XmcError {
  /** Name of the region. */
  readonly region: string

  constructor(region: string, problem: string) {
    super('ERR_XMC_REGION', `${region}: ${problem}`)
    this.region = region
  }
}
