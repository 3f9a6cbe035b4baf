import type { GuestRange } from '../guest-memory.ts'
import type { DeviceAddress } from './device-address.ts'
import type { GuestMapper } from './guest-mapper.ts'

/** Where a part of a virtqueue is to be. */
export interface RingPlace {
  readonly name: string
  readonly address: DeviceAddress
  /** Bytes. */
  readonly length: number
  readonly alignment: number
  readonly write: boolean
}

/**
 * A part of a virtqueue in host memory. It is one piece nearly always, and several where it lies over the
 * border of two regions of memory, which is nothing to the guest (virtio 1.2, 2.7: it is
 * contiguous in guest-physical addresses). A field must not lie over such a border.
 *
 * Offsets count from the start of the part. Fields are little-endian, as the host has to be.
 */
export class RingPart {
  readonly place: RingPlace
  /** Bytes that are mapped. */
  mapped = 0
  private readonly pieces: Piece[] = []
  // The first piece, which is the only one nearly always.
  private view: DataView = NO_VIEW
  private words: Uint16Array = NO_WORDS
  private end = 0

  constructor(place: RingPlace) {
    this.place = place
  }

  /** Bytes that are not mapped yet. */
  get missing(): number {
    return this.place.length - this.mapped
  }

  /** Where the bytes that are not mapped yet begin. */
  get next(): DeviceAddress {
    const { page, offset } = this.place.address
    const start = offset + this.mapped
    return { page: page + Math.floor(start / 4096), offset: start % 4096 }
  }

  /**
   * Adds the next piece, which is the part's to release from then on.
   *
   * @throws RangeError when no part of a ring can be there
   */
  add(range: GuestRange): void {
    const { name, alignment } = this.place
    const { bytes } = range
    const start = this.mapped
    this.mapped += bytes.length
    range.keep?.()
    const piece: Piece = { range, start, end: this.mapped, view: NO_VIEW, words: NO_WORDS }
    this.pieces.push(piece)
    if (range.bounced === true) {
      throw new RangeError(`the ${name} is not RAM: a device cannot share it with the driver`)
    }
    const unit = Math.min(alignment, FIELD)
    if (start % unit !== 0 || bytes.byteOffset % WORD !== 0) {
      throw new RangeError(
        `a border of memory regions ${start} bytes behind the start of the ${name} cuts a field: ` +
          `let regions begin and end at multiples of ${FIELD}`,
      )
    }
    piece.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
    piece.words = new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.length >>> 1)
    if (start === 0) {
      this.view = piece.view
      this.words = piece.words
      this.end = piece.end
    }
  }

  /** Reads a u16. */
  getUint16(offset: number): number {
    if (offset < this.end) return this.view.getUint16(offset, true)
    const piece = this.pieceAt(offset)
    return piece.view.getUint16(offset - piece.start, true)
  }

  /** Reads a u32. */
  getUint32(offset: number): number {
    if (offset < this.end) return this.view.getUint32(offset, true)
    const piece = this.pieceAt(offset)
    return piece.view.getUint32(offset - piece.start, true)
  }

  /** Writes a u32. */
  setUint32(offset: number, value: number): void {
    if (offset < this.end) this.view.setUint32(offset, value, true)
    else {
      const piece = this.pieceAt(offset)
      piece.view.setUint32(offset - piece.start, value, true)
    }
  }

  /** Reads a u16 by an atomic operation. */
  load(offset: number): number {
    if (offset < this.end) return Atomics.load(this.words, offset >>> 1)
    const piece = this.pieceAt(offset)
    return Atomics.load(piece.words, (offset - piece.start) >>> 1)
  }

  /** Writes a u16 by an atomic operation. */
  store(offset: number, value: number): void {
    if (offset < this.end) Atomics.store(this.words, offset >>> 1, value)
    else {
      const piece = this.pieceAt(offset)
      Atomics.store(piece.words, (offset - piece.start) >>> 1, value)
    }
  }

  /** Reports a field that was written to whoever listens; `length` bytes, all of them in one piece. */
  wrote(offset: number, length: number): void {
    const piece = offset < this.end ? this.pieces[0] : this.pieceAt(offset)
    piece?.range.wrote?.(offset - piece.start, length)
  }

  /** Releases what is mapped; returns what failed first, if anything. */
  release(mapper: GuestMapper): unknown {
    let failed: unknown
    for (const { range, start, end } of this.pieces.splice(0)) {
      try {
        mapper.release(range, this.place.write ? end - start : 0)
      } catch (error) {
        failed ??= error
      }
    }
    return failed
  }

  private pieceAt(offset: number): Piece {
    let low = 0
    let high = this.pieces.length - 1
    while (low < high) {
      const middle = (low + high) >>> 1
      const piece = this.pieces[middle]
      if (piece !== undefined && offset >= piece.end) low = middle + 1
      else high = middle
    }
    const found = this.pieces[low]
    if (found === undefined) throw new RangeError(`the ${this.place.name} is not mapped`)
    return found
  }
}

/** What a part is made of. */
interface Piece {
  readonly range: GuestRange
  /** First byte of the part in it. */
  readonly start: number
  /** First byte behind it. */
  readonly end: number
  view: DataView
  words: Uint16Array
}

/** Bytes of the largest field that is read or written at once. */
const FIELD = 4

/** Bytes of an index, which atomic operations need aligned. */
const WORD = 2

const NO_VIEW: DataView = new DataView(new ArrayBuffer(0))
const NO_WORDS: Uint16Array = new Uint16Array(0)
