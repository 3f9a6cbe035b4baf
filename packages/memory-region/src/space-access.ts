import { offsetOfAddress, pageOfAddress } from './address.ts'
import {
  type AccessKind,
  MapOnlyError,
  ReadOnlyRegionError,
  UnassignedAccessError,
} from './errors.ts'
import type { FlatRange } from './internal/flat-range.ts'
import {
  getValue,
  mmioLoad,
  mmioLoadBig,
  mmioRead,
  mmioStore,
  mmioStoreBig,
  mmioWrite,
  setValue,
} from './internal/mmio-access.ts'
import { checkPageAddress, PAGE_LIMIT } from './internal/page.ts'
import type { MmioRegion } from './mmio-region.ts'
import type { RamRegion } from './ram-region.ts'
import { SpaceTopology } from './space-topology.ts'

/**
 * Told of memory that was written through an address space: stores, writes, and the bytes that a
 * mapping was said to have written when it was released. The range may cross pages.
 */
export type WriteListener = (
  region: RamRegion | MmioRegion,
  page: number,
  offset: number,
  length: number,
) => void

/**
 * Plain access to an address space: what is read or written goes to RAM, or to a device, wherever the
 * address leads.
 *
 * Addresses are a page (0 to 2^52 − 1) and an offset in it (0 to 4095), or, in the forms ending in
 * `At`, bigints below 2^64. Values are unsigned; byte order is little-endian unless said otherwise.
 * Every form throws
 * - UnassignedAccessError `ERR_XMC_UNASSIGNED` where no region is,
 * - ReadOnlyRegionError `ERR_XMC_READ_ONLY_REGION` for a write to a ROM, which changes nothing,
 * - InvalidAccessError `ERR_XMC_INVALID_ACCESS` where a device does not take the access,
 * - MapOnlyError `ERR_XMC_MAP_ONLY` where only mappings are allowed,
 * - the backing's typed error when memory is not there, and whatever a device throws.
 *
 * An access over the end of a range goes on in the next; what was done before a fault stays done.
 */
export class SpaceAccess extends SpaceTopology {
  private readonly writeListeners: Set<WriteListener> = new Set()

  /** Adds a listener for memory that is written; returns how to remove it. Stores cost more meanwhile. */
  addWriteListener(listener: WriteListener): () => void {
    this.writeListeners.add(listener)
    this.watchStores(true)
    return () => {
      this.writeListeners.delete(listener)
      this.watchStores(this.writeListeners.size > 0)
    }
  }

  /** Reads a byte. */
  loadUint8(page: number, offset: number): number {
    if (page >= this.nearFirst && page < this.nearLoadEnd) {
      return this.nearBacking!.loadUint8(page + this.nearDelta, offset)
    }
    return this.load(page, offset, 1, true)
  }

  /** Reads 2 bytes. */
  loadUint16(page: number, offset: number, littleEndian: boolean = true): number {
    if (page >= this.nearFirst && page < this.nearLoadEnd && offset <= 4094) {
      return this.nearBacking!.loadUint16(page + this.nearDelta, offset, littleEndian)
    }
    return this.load(page, offset, 2, littleEndian)
  }

  /** Reads 4 bytes. */
  loadUint32(page: number, offset: number, littleEndian: boolean = true): number {
    if (page >= this.nearFirst && page < this.nearLoadEnd && offset <= 4092) {
      return this.nearBacking!.loadUint32(page + this.nearDelta, offset, littleEndian)
    }
    return this.load(page, offset, 4, littleEndian)
  }

  /** Reads 8 bytes. */
  loadBigUint64(page: number, offset: number, littleEndian: boolean = true): bigint {
    if (page >= this.nearFirst && page < this.nearLoadEnd && offset <= 4088) {
      return this.nearBacking!.loadBigUint64(page + this.nearDelta, offset, littleEndian)
    }
    return this.loadBig(page, offset, littleEndian)
  }

  /** Writes the low byte of `value`. */
  storeUint8(page: number, offset: number, value: number): void {
    if (page >= this.nearFirst && page < this.nearStoreEnd) {
      this.nearBacking!.storeUint8(page + this.nearDelta, offset, value)
    } else {
      this.store(page, offset, 1, value, true)
    }
  }

  /** Writes the low 2 bytes of `value`. */
  storeUint16(page: number, offset: number, value: number, littleEndian: boolean = true): void {
    if (page >= this.nearFirst && page < this.nearStoreEnd && offset <= 4094) {
      this.nearBacking!.storeUint16(page + this.nearDelta, offset, value, littleEndian)
    } else {
      this.store(page, offset, 2, value, littleEndian)
    }
  }

  /** Writes the low 4 bytes of `value`. */
  storeUint32(page: number, offset: number, value: number, littleEndian: boolean = true): void {
    if (page >= this.nearFirst && page < this.nearStoreEnd && offset <= 4092) {
      this.nearBacking!.storeUint32(page + this.nearDelta, offset, value, littleEndian)
    } else {
      this.store(page, offset, 4, value, littleEndian)
    }
  }

  /** Writes the low 8 bytes of `value`. */
  storeBigUint64(page: number, offset: number, value: bigint, littleEndian: boolean = true): void {
    if (page >= this.nearFirst && page < this.nearStoreEnd && offset <= 4088) {
      this.nearBacking!.storeBigUint64(page + this.nearDelta, offset, value, littleEndian)
    } else {
      this.storeBig(page, offset, value, littleEndian)
    }
  }

  /** Reads `target.length` bytes; a device is read by the largest valid accesses. */
  read(page: number, offset: number, target: Uint8Array): void {
    this.each(page, offset, target, 'read', (range, at, inPage, part) => {
      if (range.backing === null) mmioRead(range.mmio!, range.deviceOffset(at, inPage), part)
      else range.backing.read(range.backingPage(at, inPage), range.backingOffset(inPage), part)
    })
  }

  /** Writes `source`; a device is written by the largest valid accesses. */
  write(page: number, offset: number, source: Uint8Array): void {
    this.each(page, offset, source, 'write', (range, at, inPage, part) => {
      if (range.backing === null) {
        mmioWrite(range.mmio!, range.deviceOffset(at, inPage), part)
      } else {
        range.backing.write(range.backingPage(at, inPage), range.backingOffset(inPage), part)
        this.wrote(range.region, at, inPage, part.length)
      }
    })
  }

  /** As `loadUint8`, by address. */
  loadUint8At(address: bigint): number {
    return this.loadUint8(pageOfAddress(address), offsetOfAddress(address))
  }

  /** As `loadUint16`, by address. */
  loadUint16At(address: bigint, littleEndian: boolean = true): number {
    return this.loadUint16(pageOfAddress(address), offsetOfAddress(address), littleEndian)
  }

  /** As `loadUint32`, by address. */
  loadUint32At(address: bigint, littleEndian: boolean = true): number {
    return this.loadUint32(pageOfAddress(address), offsetOfAddress(address), littleEndian)
  }

  /** As `loadBigUint64`, by address. */
  loadBigUint64At(address: bigint, littleEndian: boolean = true): bigint {
    return this.loadBigUint64(pageOfAddress(address), offsetOfAddress(address), littleEndian)
  }

  /** As `storeUint8`, by address. */
  storeUint8At(address: bigint, value: number): void {
    this.storeUint8(pageOfAddress(address), offsetOfAddress(address), value)
  }

  /** As `storeUint16`, by address. */
  storeUint16At(address: bigint, value: number, littleEndian: boolean = true): void {
    this.storeUint16(pageOfAddress(address), offsetOfAddress(address), value, littleEndian)
  }

  /** As `storeUint32`, by address. */
  storeUint32At(address: bigint, value: number, littleEndian: boolean = true): void {
    this.storeUint32(pageOfAddress(address), offsetOfAddress(address), value, littleEndian)
  }

  /** As `storeBigUint64`, by address. */
  storeBigUint64At(address: bigint, value: bigint, littleEndian: boolean = true): void {
    this.storeBigUint64(pageOfAddress(address), offsetOfAddress(address), value, littleEndian)
  }

  /** As `read`, by address. */
  readAt(address: bigint, target: Uint8Array): void {
    this.read(pageOfAddress(address), offsetOfAddress(address), target)
  }

  /** As `write`, by address. */
  writeAt(address: bigint, source: Uint8Array): void {
    this.write(pageOfAddress(address), offsetOfAddress(address), source)
  }

  /** @internal Reports memory that was written. */
  wrote(region: RamRegion | MmioRegion, page: number, offset: number, length: number): void {
    for (const listener of this.writeListeners) listener(region, page, offset, length)
  }

  /** @internal */
  protected unassigned(
    page: number,
    offset: number,
    length: number,
    access: AccessKind,
  ): UnassignedAccessError {
    const address = BigInt(page) * 4096n + BigInt(offset)
    return new UnassignedAccessError(this.name, address, length, access)
  }

  private load(page: number, offset: number, size: number, littleEndian: boolean): number {
    const range = this.whole(page, offset, size, 'read')
    if (range === undefined) {
      const bytes = new Uint8Array(size)
      this.read(page, offset, bytes)
      return getValue(new DataView(bytes.buffer), 0, size, littleEndian)
    }
    const { backing } = range
    if (backing === null) {
      return mmioLoad(range.mmio!, range.deviceOffset(page, offset), size, littleEndian)
    }
    const at = range.backingPage(page, offset)
    const inPage = range.backingOffset(offset)
    if (size === 4) return backing.loadUint32(at, inPage, littleEndian)
    return size === 2 ? backing.loadUint16(at, inPage, littleEndian) : backing.loadUint8(at, inPage)
  }

  private loadBig(page: number, offset: number, littleEndian: boolean): bigint {
    const range = this.whole(page, offset, 8, 'read')
    if (range === undefined) {
      const bytes = new Uint8Array(8)
      this.read(page, offset, bytes)
      return new DataView(bytes.buffer).getBigUint64(0, littleEndian)
    }
    if (range.backing === null) {
      return mmioLoadBig(range.mmio!, range.deviceOffset(page, offset), littleEndian)
    }
    const at = range.backingPage(page, offset)
    return range.backing.loadBigUint64(at, range.backingOffset(offset), littleEndian)
  }

  private store(
    page: number,
    offset: number,
    size: number,
    value: number,
    littleEndian: boolean,
  ): void {
    const range = this.whole(page, offset, size, 'write')
    if (range === undefined) {
      const bytes = new Uint8Array(size)
      setValue(new DataView(bytes.buffer), 0, size, value, littleEndian)
      this.write(page, offset, bytes)
      return
    }
    const { backing } = range
    if (backing === null) {
      mmioStore(range.mmio!, range.deviceOffset(page, offset), size, value, littleEndian)
      return
    }
    const at = range.backingPage(page, offset)
    const inPage = range.backingOffset(offset)
    if (size === 4) backing.storeUint32(at, inPage, value, littleEndian)
    else if (size === 2) backing.storeUint16(at, inPage, value, littleEndian)
    else backing.storeUint8(at, inPage, value)
    this.wrote(range.region, page, offset, size)
  }

  private storeBig(page: number, offset: number, value: bigint, littleEndian: boolean): void {
    const range = this.whole(page, offset, 8, 'write')
    if (range === undefined) {
      const bytes = new Uint8Array(8)
      new DataView(bytes.buffer).setBigUint64(0, value, littleEndian)
      this.write(page, offset, bytes)
      return
    }
    if (range.backing === null) {
      mmioStoreBig(range.mmio!, range.deviceOffset(page, offset), value, littleEndian)
      return
    }
    const at = range.backingPage(page, offset)
    range.backing.storeBigUint64(at, range.backingOffset(offset), value, littleEndian)
    this.wrote(range.region, page, offset, 8)
  }

  /** The range that has all of an access and takes it; undefined when it lies in several. */
  private whole(
    page: number,
    offset: number,
    size: number,
    access: AccessKind,
  ): FlatRange | undefined {
    const range = this.rangeAt(page, offset)
    if (range === undefined) throw this.unassigned(page, offset, size, access)
    if (range.room(page, offset) < size) return undefined
    this.checkPlain(range, page, offset, size, access)
    return range
  }

  /** Calls `move` for each part of `bytes` with the range that it lies in. */
  private each(
    page: number,
    offset: number,
    bytes: Uint8Array,
    access: AccessKind,
    move: (range: FlatRange, page: number, offset: number, part: Uint8Array) => void,
  ): void {
    checkPageAddress(page, offset)
    let done = 0
    while (done < bytes.length) {
      const left = bytes.length - done
      const at = page + Math.floor((offset + done) / 4096)
      const inPage = (offset + done) % 4096
      // Looked up for each part: a device may have changed the map.
      const range = at < PAGE_LIMIT ? this.rangeAt(at, inPage) : undefined
      if (range === undefined) throw this.unassigned(at, inPage, left, access)
      const length = Math.min(left, range.room(at, inPage))
      this.checkPlain(range, at, inPage, length, access)
      const part = length === bytes.length ? bytes : bytes.subarray(done, done + length)
      move(range, at, inPage, part)
      done += length
    }
  }

  private checkPlain(
    range: FlatRange,
    page: number,
    offset: number,
    length: number,
    access: AccessKind,
  ): void {
    const refused = access === 'write' && range.readOnly
    if (!refused && range.ram?.mapOnly !== true) return
    const address = BigInt(page) * 4096n + BigInt(offset)
    if (range.ram?.mapOnly === true) throw new MapOnlyError(range.region.name, address, access)
    throw new ReadOnlyRegionError(range.region.name, address, length)
  }
}
