import { InvalidArgumentError, ReadOnlyError, ReleasedError } from '@xmc/interface'
import type { MappingOwner, RamMapping } from './dma-mapping.ts'
import type { RamRegion } from './ram-region.ts'

/**
 * A structure in guest memory that a device keeps mapped for long, as the parts of a virtqueue: all of
 * it, in one piece, until `close`. Offsets count from its start; accesses are checked against its length.
 *
 * It stays where it was when the map changes: whoever changes the map reopens it.
 */
export class Ring {
  /** Bytes. */
  readonly length: number
  /** Whether stores are allowed. */
  readonly write: boolean
  /** First address. */
  readonly address: bigint
  private readonly mapping: RamMapping
  private readonly owner: MappingOwner
  private readonly region: RamRegion
  private readonly view: DataView
  private readonly start: number
  private readonly page: number
  private readonly offset: number

  /** @internal */
  constructor(owner: MappingOwner, region: RamRegion, mapping: RamMapping) {
    const { address, length, write, view, start } = mapping
    mapping.keep()
    this.length = length
    this.write = write
    this.address = address
    this.mapping = mapping
    this.owner = owner
    this.region = region
    this.view = view
    this.start = start
    this.page = Number(address >> 12n)
    this.offset = Number(address & 4095n)
  }

  /** True after `close`. */
  get closed(): boolean {
    return this.mapping.released
  }

  /**
   * The bytes themselves, until `close`; see {@link DmaMapping.bytes}. Stores into them are nobody's to
   * see: report them with `markWritten`.
   */
  get bytes(): Uint8Array {
    return this.mapping.bytes
  }

  /** Reads a byte. */
  loadUint8(offset: number): number {
    return this.view.getUint8(this.at(offset, 1))
  }

  /** Reads 2 bytes, little-endian by default. */
  loadUint16(offset: number, littleEndian: boolean = true): number {
    return this.view.getUint16(this.at(offset, 2), littleEndian)
  }

  /** Reads 4 bytes, little-endian by default. */
  loadUint32(offset: number, littleEndian: boolean = true): number {
    return this.view.getUint32(this.at(offset, 4), littleEndian)
  }

  /** Reads 8 bytes, little-endian by default. */
  loadBigUint64(offset: number, littleEndian: boolean = true): bigint {
    return this.view.getBigUint64(this.at(offset, 8), littleEndian)
  }

  /** Writes the low byte of `value`. */
  storeUint8(offset: number, value: number): void {
    this.view.setUint8(this.atForWrite(offset, 1), value)
    this.wrote(offset, 1)
  }

  /** Writes the low 2 bytes of `value`, little-endian by default. */
  storeUint16(offset: number, value: number, littleEndian: boolean = true): void {
    this.view.setUint16(this.atForWrite(offset, 2), value, littleEndian)
    this.wrote(offset, 2)
  }

  /** Writes the low 4 bytes of `value`, little-endian by default. */
  storeUint32(offset: number, value: number, littleEndian: boolean = true): void {
    this.view.setUint32(this.atForWrite(offset, 4), value, littleEndian)
    this.wrote(offset, 4)
  }

  /** Writes the low 8 bytes of `value`, little-endian by default. */
  storeBigUint64(offset: number, value: bigint, littleEndian: boolean = true): void {
    this.view.setBigUint64(this.atForWrite(offset, 8), value, littleEndian)
    this.wrote(offset, 8)
  }

  /** Reports to the write listeners that `length` bytes from `offset` on were stored through `bytes`. */
  markWritten(offset: number, length: number): void {
    this.atForWrite(offset, length)
    this.wrote(offset, length)
  }

  /**
   * Gives the memory back. A guest that granted it counts the device as broken if it finds it still
   * mapped after a reset, so close at once, not later.
   *
   * @throws ReleasedError `ERR_XMC_RELEASED`: it was closed before
   */
  close(): void {
    this.mapping.release(0)
  }

  /** Closes the ring unless it was closed before. */
  [Symbol.dispose](): void {
    if (!this.closed) this.close()
  }

  private at(offset: number, size: number): number {
    if (this.mapping.released) {
      throw new ReleasedError(`${this.owner.name}: the ring at 0x${this.address.toString(16)}`)
    }
    if (!(offset >= 0 && offset + size <= this.length && Number.isInteger(offset))) {
      const expected = `an integer from 0 to ${this.length - size}, ${size} bytes before the end`
      throw new InvalidArgumentError('offset', expected, offset)
    }
    return this.start + offset
  }

  private atForWrite(offset: number, size: number): number {
    if (!this.write) {
      throw new ReadOnlyError(`${this.owner.name}: the ring at 0x${this.address.toString(16)}`)
    }
    return this.at(offset, size)
  }

  private wrote(offset: number, length: number): void {
    if (!this.owner.watched) return
    const position = this.offset + offset
    const page = this.page + Math.floor(position / 4096)
    this.owner.wrote(this.region, page, position % 4096, length)
  }
}
