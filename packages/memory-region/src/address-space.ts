import { BusyError, XmcError } from '@xmc/interface'
import { joinAddress, offsetOfAddress, pageOfAddress } from './address.ts'
import { checkOwner, type DmaMapping, type MappedLength } from './dma-mapping.ts'
import { NotRamError, ShortMappingError } from './errors.ts'
import type { FlatRange } from './internal/flat-range.ts'
import { checkByteCount, checkPageAddress, MAX_MAPPING } from './internal/page.ts'
import type { RamRegion } from './ram-region.ts'
import { Ring } from './ring.ts'
import {
  type DmaRange,
  mapScatterList,
  mapScatterListAsync,
  type ScatterList,
} from './scatter-list.ts'
import { SpaceMapping } from './space-mapping.ts'

export {
  type AddressSpaceOptions,
  DEFAULT_BOUNCE_BUDGET,
  DEFAULT_GUARANTEED_SHARE,
} from './space-mapping.ts'

/**
 * A graph of regions seen from one viewpoint: what a CPU or a device finds at each 64-bit address.
 *
 * Plain access: see {@link SpaceAccess}. Transfers: `map` gives a range of memory that stays in place
 * until it is released; several devices do that as users (`registerUser`), who share the windows. A range that is not memory is given as a bounce buffer, a copy, while the
 * budget lasts. A map is at most as long as the memory is contiguous: one region, whose backing has the
 * pages in a row. A device asks again for the rest.
 *
 * Addresses are a page (0 to 2^52 − 1) and an offset in it (0 to 4095), or bigints in the forms ending
 * in `At`. The page forms allocate one small object per mapping, and no bigint.
 *
 * # Limits
 * One mapping has at most 2^31 − 1 bytes; a longer one that is asked for is cut. A space belongs to one thread.
 */
export class AddressSpace extends SpaceMapping {
  /**
   * Maps up to `length` bytes, at least 1, for reading or for writing.
   *
   * @throws UnassignedAccessError `ERR_XMC_UNASSIGNED`: no region is at the first byte
   * @throws ReadOnlyRegionError `ERR_XMC_READ_ONLY_REGION`: for writing, where the first byte is read-only
   * @throws BounceBudgetError `ERR_XMC_BOUNCE_BUDGET`: no memory, and no bounce bytes are left
   * @throws the backing's typed error where it cannot map; nothing is mapped, counted or referenced then
   */
  map(page: number, offset: number, length: number, write: boolean): DmaMapping {
    return this.mapFor(undefined, page, offset, length, write)
  }

  /** As `map`, without blocking the event loop; waits for pages that are paged out. */
  mapAsync(page: number, offset: number, length: number, write: boolean): Promise<DmaMapping> {
    return this.mapAsyncFor(undefined, page, offset, length, write)
  }

  /** As `map`, by address. */
  mapAt(address: bigint, length: number, write: boolean): DmaMapping {
    return this.map(pageOfAddress(address), offsetOfAddress(address), length, write)
  }

  /** As `mapAsync`, by address. */
  async mapAsyncAt(address: bigint, length: number, write: boolean): Promise<DmaMapping> {
    return await this.mapAsync(pageOfAddress(address), offsetOfAddress(address), length, write)
  }

  /**
   * Maps as `address_space_map` does: `mapped.length` bytes are asked for, and it becomes the number that
   * was mapped. Returns null where nothing could be mapped; then the length is 0 and `mapped.cause` says why.
   * Length 0 is null without a cause.
   *
   * Other than `map`, it gives a bounce buffer also where no region is, with zeros and the cause,
   * and for writing to what is read-only: the fault comes when it is released.
   *
   * @throws InvalidArgumentError `ERR_XMC_ARGUMENT`; what a device throws that is read for the buffer
   */
  tryMap(page: number, offset: number, mapped: MappedLength, write: boolean): DmaMapping | null {
    const { length } = mapped
    mapped.cause = undefined
    checkPageAddress(page, offset)
    checkByteCount('mapped.length', length, 0, Number.MAX_SAFE_INTEGER)
    if (length === 0) return null
    mapped.length = 0
    try {
      const mapping = this.mapAnything(page, offset, Math.min(length, MAX_MAPPING), write, mapped)
      mapped.length = mapping.length
      return mapping
    } catch (error) {
      if (!(error instanceof XmcError)) throw error
      mapped.cause = error
      return null
    }
  }

  /** As `tryMap`, by address. */
  tryMapAt(address: bigint, mapped: MappedLength, write: boolean): DmaMapping | null {
    return this.tryMap(pageOfAddress(address), offsetOfAddress(address), mapped, write)
  }

  /**
   * Releases a mapping of this space; otherwise as its `release`.
   *
   * @throws InvalidArgumentError `ERR_XMC_ARGUMENT`: another space made it; nothing was done
   */
  unmap(mapping: DmaMapping, accessed: number): void {
    checkOwner(mapping, this)
    mapping.release(accessed)
  }

  /**
   * Calls `retry` once, as soon as bounce bytes are free: now if some are, else within the release
   * that frees them. For whoever got a `BounceBudgetError`. Returns how to wait no longer.
   *
   * What `retry` throws is thrown by that release, after everybody was called, or by this call.
   */
  registerMapClient(retry: () => void): () => void {
    return this.bounce.wait(retry)
  }

  /**
   * Maps all of `ranges`, or nothing.
   *
   * @throws as `map`, for the first range that cannot be mapped
   */
  mapList(ranges: readonly DmaRange[], write: boolean): ScatterList {
    return mapScatterList(ranges, (page, offset, length) => this.map(page, offset, length, write))
  }

  /** As `mapList`, without blocking the event loop; waits for pages that are paged out. */
  async mapListAsync(ranges: readonly DmaRange[], write: boolean): Promise<ScatterList> {
    return await mapScatterListAsync(ranges, (page, offset, length) =>
      this.mapAsync(page, offset, length, write),
    )
  }

  /**
   * Maps a structure of `length` bytes for long; with `write`, for reading and writing.
   *
   * @throws ShortMappingError `ERR_XMC_SHORT_MAPPING`: it is not contiguous, or has 2^31 bytes or more
   * @throws NotRamError `ERR_XMC_NOT_RAM`; and as `map`
   */
  openRing(page: number, offset: number, length: number, write: boolean): Ring {
    const range = this.rangeForRing(page, offset, length, write)
    const mapping = this.lockRange(undefined, range, page, offset, length, write)
    return new Ring(this, range.region, mapping)
  }

  /** As `openRing`, without blocking the event loop; waits for pages that are paged out. */
  async openRingAsync(page: number, offset: number, length: number, write: boolean): Promise<Ring> {
    const range = this.rangeForRing(page, offset, length, write)
    const mapping = await this.lockRangeAsync(undefined, range, page, offset, length, write)
    return new Ring(this, range.region, mapping)
  }

  /** As `openRing`, by address. */
  openRingAt(address: bigint, length: number, write: boolean): Ring {
    return this.openRing(pageOfAddress(address), offsetOfAddress(address), length, write)
  }

  /**
   * Ends the space: its regions no longer tell it of changes, and every access finds nothing.
   *
   * @throws BusyError `ERR_XMC_BUSY`: mappings are live; nothing was done
   */
  close(): void {
    if (this.live > 0) throw new BusyError(this.name, this.live)
    this.room.close()
    this.end()
  }

  private mapAnything(
    page: number,
    offset: number,
    length: number,
    write: boolean,
    mapped: MappedLength,
  ): DmaMapping {
    const range = this.rangeAt(page, offset)
    if (range === undefined) {
      mapped.cause = this.unassigned(page, offset, length, write ? 'write' : 'read')
      return this.bounceAt(undefined, page, offset, length, write)
    }
    if (range.ram === null || (write && range.readOnly)) {
      return this.bounceAt(range, page, offset, length, write)
    }
    return this.lockRange(undefined, range, page, offset, length, write)
  }

  private rangeForRing(
    page: number,
    offset: number,
    length: number,
    write: boolean,
  ): FlatRange & { readonly region: RamRegion } {
    const range = this.rangeForMap(page, offset, length, write)
    if (!isRam(range)) throw new NotRamError(range.region.name, joinAddress(page, offset))
    const available = Math.min(range.room(page, offset), MAX_MAPPING)
    if (available < length) {
      throw new ShortMappingError(this.name, joinAddress(page, offset), length, available)
    }
    return range
  }
}

function isRam(range: FlatRange): range is FlatRange & { readonly region: RamRegion } {
  return range.ram !== null
}
