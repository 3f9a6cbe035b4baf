import { NotLockedError, PagesMissingError } from '@xmc/core/errors'
import { checkOptions, InvalidArgumentError } from '@xmc/interface'
import { checkByteCount, checkPageAddress, PAGE_SIZE } from './internal/page.ts'
import type { RamBacking } from './ram-backing.ts'

/** What a `PlainMemory` is made from: its size, or memory that exists. */
export interface PlainMemoryOptions {
  /** Name for messages; `memory` by default. */
  readonly name?: string | undefined
  /** Pages of 4096 bytes, zero at first. Give this or `buffer`. */
  readonly pageCount?: number | undefined
  /** Memory to use, a multiple of 4096 bytes. */
  readonly buffer?: ArrayBuffer | SharedArrayBuffer | undefined
}

/** EFAULT: what the kernel says of memory that is not there. */
const EFAULT = 14

/**
 * A backing over plain host memory: pages 0 to `pageCount` − 1 of one buffer. For ROMs, for machines
 * without Xen, and for tests.
 *
 * A window page is the page itself, and a lock only counts: double releases are refused.
 */
export class PlainMemory implements RamBacking {
  readonly name: string
  readonly view: DataView
  /** Pages of 4096 bytes. */
  readonly pageCount: number
  private readonly bytes: Uint8Array
  private readonly locked: Map<number, number> = new Map()

  /** @throws InvalidArgumentError `ERR_XMC_ARGUMENT` unless the size is a positive number of pages */
  constructor(options: PlainMemoryOptions) {
    checkOptions('PlainMemory', options, { name: true, pageCount: true, buffer: true })
    const buffer = options.buffer ?? allocate(options.pageCount)
    if (buffer.byteLength === 0 || buffer.byteLength % PAGE_SIZE !== 0) {
      const expected = 'a positive multiple of 4096 bytes'
      throw new InvalidArgumentError('buffer', expected, buffer.byteLength)
    }
    this.name = options.name ?? 'memory'
    this.view = new DataView(buffer)
    this.bytes = new Uint8Array(buffer)
    this.pageCount = buffer.byteLength / PAGE_SIZE
  }

  /** Locks outstanding. */
  get locks(): number {
    let sum = 0
    for (const count of this.locked.values()) sum += count
    return sum
  }

  lock(page: number, offset: number, length: number, _flags: number): number {
    const at = this.at(page, offset, length)
    this.locked.set(at, (this.locked.get(at) ?? 0) + 1)
    return page
  }

  async lockAsync(page: number, offset: number, length: number, flags: number): Promise<number> {
    return this.lock(page, offset, length, flags)
  }

  unlock(windowPage: number, offset: number): void {
    const at = windowPage * PAGE_SIZE + offset
    const count = this.locked.get(at)
    if (count === undefined) throw new NotLockedError(this.name, windowPage, offset)
    if (count === 1) this.locked.delete(at)
    else this.locked.set(at, count - 1)
  }

  pageOf(windowPage: number): number {
    this.at(windowPage, 0, PAGE_SIZE)
    return windowPage
  }

  read(page: number, offset: number, target: Uint8Array): void {
    const at = this.at(page, offset, target.length)
    target.set(this.bytes.subarray(at, at + target.length))
  }

  write(page: number, offset: number, source: Uint8Array): void {
    this.bytes.set(source, this.at(page, offset, source.length))
  }

  loadUint8(page: number, offset: number): number {
    return this.view.getUint8(this.at(page, offset, 1))
  }

  loadUint16(page: number, offset: number, littleEndian: boolean = true): number {
    return this.view.getUint16(this.at(page, offset, 2), littleEndian)
  }

  loadUint32(page: number, offset: number, littleEndian: boolean = true): number {
    return this.view.getUint32(this.at(page, offset, 4), littleEndian)
  }

  loadBigUint64(page: number, offset: number, littleEndian: boolean = true): bigint {
    return this.view.getBigUint64(this.at(page, offset, 8), littleEndian)
  }

  storeUint8(page: number, offset: number, value: number): void {
    this.view.setUint8(this.at(page, offset, 1), value)
  }

  storeUint16(page: number, offset: number, value: number, littleEndian: boolean = true): void {
    this.view.setUint16(this.at(page, offset, 2), value, littleEndian)
  }

  storeUint32(page: number, offset: number, value: number, littleEndian: boolean = true): void {
    this.view.setUint32(this.at(page, offset, 4), value, littleEndian)
  }

  storeBigUint64(page: number, offset: number, value: bigint, littleEndian: boolean = true): void {
    this.view.setBigUint64(this.at(page, offset, 8), value, littleEndian)
  }

  /** Byte of the buffer where a range starts that lies in it wholly. */
  private at(page: number, offset: number, length: number): number {
    const at = page * PAGE_SIZE + offset
    if (
      (offset & 4095) === offset &&
      page >= 0 &&
      Number.isInteger(page) &&
      at + length <= this.bytes.length
    ) {
      return at
    }
    checkPageAddress(page, offset)
    checkByteCount('length', length, 0, 0x7fff_ffff)
    throw new PagesMissingError(this.name, Math.max(page, this.pageCount), EFAULT)
  }
}

function allocate(pageCount: number | undefined): ArrayBuffer {
  if (pageCount === undefined || !Number.isInteger(pageCount) || pageCount < 1) {
    throw new InvalidArgumentError('pageCount', 'an integer, 1 or more, or a buffer', pageCount)
  }
  return new ArrayBuffer(pageCount * PAGE_SIZE)
}
