import { XmcError } from '@xmc/interface'
import type { GrantDma, GrantDmaBuffer, GuestFrame } from '../../src/driver.ts'

const BIT_63 = 1n << 63n
const FIRST_REFERENCE = 8

/** One entry of the guest's grant table. */
export interface GrantEntry {
  readonly frame: number
  readonly readOnly: boolean
  /** Mappings of the device. */
  pins: number
}

/** A guest's grant table and its DMA layer, as Linux has it. */
export class GrantsDouble implements GrantDma {
  broken = false
  readonly entries = new Map<number, GrantEntry>()
  /** Grants that were made, in order: reference and whether it was read-only. */
  readonly log: { reference: number; frame: number; readOnly: boolean }[] = []
  readonly #limit: number

  constructor(limit = 4096) {
    this.#limit = limit
  }

  mapPages({ frame, offset, length, direction }: GrantDmaBuffer): bigint {
    const first = frame + Math.floor(offset / 4096)
    const count = Math.ceil(((offset % 4096) + length) / 4096)
    return this.#grant(first, count, direction === 'to-device') | BigInt(offset % 4096)
  }

  allocateCoherent(frame: GuestFrame, count: number): bigint {
    return this.#grant(frame, count, false)
  }

  unmap(address: bigint): boolean {
    if (this.broken) throw new Error('unmap on a broken device')
    const first = Number((address & ~BIT_63) >> 12n)
    const count = this.#counts.get(first)
    if (count === undefined) throw new Error(`nothing is granted at ${address.toString(16)}`)
    for (let reference = first; reference < first + count; reference++) {
      if ((this.entries.get(reference)?.pins ?? 0) > 0) {
        this.broken = true
        return false
      }
      this.entries.delete(reference)
    }
    this.#counts.delete(first)
    return true
  }

  readonly #counts = new Map<number, number>()

  #grant(frame: number, count: number, readOnly: boolean): bigint {
    if (this.broken) throw new Error('map on a broken device')
    let first = FIRST_REFERENCE
    for (let length = 0; length < count; length++) {
      if (this.entries.has(first + length)) {
        first += length + 1
        length = -1
      }
    }
    if (first + count > this.#limit) {
      throw new XmcError('ERR_XMC_NO_GRANT_REFERENCES', 'the table is full')
    }
    for (let i = 0; i < count; i++) {
      this.entries.set(first + i, { frame: frame + i, readOnly, pins: 0 })
      this.log.push({ reference: first + i, frame: frame + i, readOnly })
    }
    this.#counts.set(first, count)
    return BIT_63 | (BigInt(first) << 12n)
  }
}
