import type { MemorySection } from '../memory-section.ts'
import { MmioRegion } from '../mmio-region.ts'
import type { RamBacking } from '../ram-backing.ts'
import { RamRegion } from '../ram-region.ts'

const MAX_INT32 = 0x7fff_ffff

/** A section in numbers: what an access needs to know of the range that it falls into. */
export class FlatRange {
  readonly section: MemorySection
  readonly region: RamRegion | MmioRegion
  readonly ram: RamRegion | null
  readonly mmio: MmioRegion | null
  readonly backing: RamBacking | null
  readonly readOnly: boolean
  /** First address. */
  readonly startPage: number
  readonly startOffset: number
  /** First address behind. */
  readonly endPage: number
  readonly endOffset: number
  /** The page of the backing is the page of the address plus this, and one more where `shift` carries. */
  readonly pageDelta: number
  /** The offset in the backing is the offset of the address plus this, 0 to 4095; 0 for aligned memory. */
  readonly shift: number
  /** Byte of an MMIO region at the start of the range. */
  readonly mmioOffset: number
  /**
   * Whole pages that take the short way: `smallFirst` up to `smallEnd`, exclusive, of aligned RAM all of
   * whose numbers fit an int32; none if `smallEnd` is 0.
   */
  readonly smallFirst: number
  readonly smallEnd: number
  /** As `smallEnd`, for access without a mapping. */
  readonly plainEnd: number

  constructor(section: MemorySection) {
    const { region, address, size, offset } = section
    this.section = section
    this.region = region
    this.ram = region instanceof RamRegion ? region : null
    this.mmio = region instanceof MmioRegion ? region : null
    this.backing = this.ram?.backing ?? null
    this.readOnly = section.readOnly
    this.startPage = Number(address >> 12n)
    this.startOffset = Number(address & 4095n)
    this.endPage = Number((address + size) >> 12n)
    this.endOffset = Number((address + size) & 4095n)
    // Shifting a negative bigint rounds down, so the rest is from 0 to 4095 there too.
    const distance = offset - address
    this.pageDelta = (this.ram?.firstPage ?? 0) + Number(distance >> 12n)
    this.shift = Number(distance & 4095n)
    this.mmioOffset = this.mmio === null ? 0 : Number(offset)
    const numbersFit = this.endPage <= MAX_INT32 && Math.abs(this.pageDelta) <= MAX_INT32
    const isSmall = this.ram !== null && this.shift === 0 && numbersFit
    this.smallFirst = isSmall ? this.startPage + (this.startOffset === 0 ? 0 : 1) : 0
    this.smallEnd = isSmall ? this.endPage : 0
    this.plainEnd = this.ram?.mapOnly === true ? 0 : this.smallEnd
  }

  /** Bytes from an address in the range to its end; exact below 2^53, and never too large to compare. */
  room(page: number, offset: number): number {
    return (this.endPage - page) * 4096 + this.endOffset - offset
  }

  /** Page of the backing for an address in the range. */
  backingPage(page: number, offset: number): number {
    return page + this.pageDelta + (offset + this.shift >= 4096 ? 1 : 0)
  }

  /** Offset in the page of the backing for an address in the range. */
  backingOffset(offset: number): number {
    return (offset + this.shift) & 4095
  }

  /** The address of a page and offset of the backing. */
  addressOf(backingPage: number, backingOffset: number): bigint {
    return (BigInt(backingPage - this.pageDelta) << 12n) + BigInt(backingOffset - this.shift)
  }

  /** Byte of the MMIO region for an address in the range. */
  deviceOffset(page: number, offset: number): number {
    return this.mmioOffset + (page - this.startPage) * 4096 + (offset - this.startOffset)
  }
}
