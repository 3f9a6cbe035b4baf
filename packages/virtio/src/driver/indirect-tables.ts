import { PAGE_SIZE } from '@xmc/interface'
import { VIRTQ_DESC_SIZE } from '../ring-layout.ts'
import type { DmaMapper, GuestFrame, GuestPages } from './ports.ts'

/** Descriptors of an indirect table: a page of them. */
export const INDIRECT_TABLE_SIZE: number = PAGE_SIZE / VIRTQ_DESC_SIZE

/** One page of guest memory as a descriptor table, and what its descriptors were mapped as. */
export interface IndirectTable {
  readonly frame: GuestFrame
  readonly view: DataView
  /** For each descriptor: the page that its buffer was mapped to, −1 when it is not the chain's to unmap. */
  readonly pages: Float64Array
  readonly offsets: Float64Array
  readonly lengths: Float64Array
  /** Descriptors in use. */
  count: number
  /** Where the table itself is mapped; −1 while it is not. */
  page: number
}

/**
 * The indirect descriptor tables of one queue (virtio 1.2, 2.7.5.3), one page each, made when they are
 * needed first.
 *
 * A table is given to the device for each chain, readable only; with `keep` it stays with the device
 * until {@link IndirectTables.close}.
 */
export class IndirectTables {
  readonly #pages: GuestPages
  readonly #dma: DmaMapper
  readonly #keep: boolean
  readonly #all: IndirectTable[] = []
  readonly #free: IndirectTable[] = []

  constructor(pages: GuestPages, dma: DmaMapper, keep: boolean) {
    this.#pages = pages
    this.#dma = dma
    this.#keep = keep
  }

  /** A table that is not in use, empty; undefined when the guest has no page for another. */
  take(): IndirectTable | undefined {
    const table = this.#free.pop() ?? this.#make()
    if (table !== undefined) table.count = 0
    return table
  }

  /** Gives the table to the device, `count` descriptors of it. False when no address is left for it. */
  map(table: IndirectTable): boolean {
    if (table.page >= 0) return true
    const length = this.#keep ? PAGE_SIZE : table.count * VIRTQ_DESC_SIZE
    table.page = this.#dma.map(table.frame, 0, length, 'to-device')
    return table.page >= 0
  }

  /** Takes a table back, whether it was mapped or not. False when the device still has it. */
  give(table: IndirectTable): boolean {
    if (!this.#keep && table.page >= 0) {
      if (!this.#dma.unmap(table.page, 0, table.count * VIRTQ_DESC_SIZE)) return false
      table.page = -1
    }
    this.#free.push(table)
    return true
  }

  /** Frees all pages. Tables that the device still has are leaked, and the answer is false. */
  close(): boolean {
    let clean = true
    for (const table of this.#all) {
      if (table.page >= 0 && !this.#dma.unmap(table.page, 0, PAGE_SIZE)) clean = false
      else this.#pages.free(table.frame, 1)
    }
    this.#all.length = 0
    this.#free.length = 0
    return clean
  }

  #make(): IndirectTable | undefined {
    const frame = this.#pages.allocate(1)
    if (frame === undefined) return undefined
    const bytes = this.#pages.bytes(frame, 1)
    const table: IndirectTable = {
      frame,
      view: new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength),
      pages: new Float64Array(INDIRECT_TABLE_SIZE),
      offsets: new Float64Array(INDIRECT_TABLE_SIZE),
      lengths: new Float64Array(INDIRECT_TABLE_SIZE),
      count: 0,
      page: -1,
    }
    this.#all.push(table)
    return table
  }
}
