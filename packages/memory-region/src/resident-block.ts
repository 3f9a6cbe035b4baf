import { NotLockedError, PagesMissingError } from '@xmc/core/errors'
import { BusyError, ClosedError, checkOptions, ReadOnlyError } from '@xmc/interface'
import { checkByteCount, checkPageAddress, MAX_MAPPING, PAGE_SIZE } from './internal/page.ts'
import { LOCK_DMA, LOCK_WRITE, type RamBacking } from './ram-backing.ts'

/** What a `ResidentBlock` is made from. */
export interface ResidentBlockOptions {
  /** The memory that the block lies in. */
  readonly backing: RamBacking
  /** First page of the block in the backing. */
  readonly firstPage: number
  /** Bytes, 1 to 2^31 − 1. */
  readonly length: number
  /** Whether the block may be written; true by default. A read-only grant or mapping needs false. */
  readonly write?: boolean | undefined
  /** Name for messages; that of the backing by default. */
  readonly name?: string | undefined
}

/** EFAULT: what the kernel says of memory that is not there. */
const EFAULT = 14

/**
 * A backing that keeps one block of another mapped as a whole: the first access locks all of it, later
 * ones make no call, `close` gives it back. For a block outside the machine's RAM, as a ROM that lies in
 * guest memory. Pages have the numbers of the backing below.
 */
export class ResidentBlock implements RamBacking {
  readonly name: string
  readonly firstPage: number
  /** Bytes. */
  readonly length: number
  readonly view: DataView
  private readonly backing: RamBacking
  private readonly flags: number
  private readonly locked: Map<number, number> = new Map()
  /** Window page of the block; −1 until it is mapped. */
  private base = -1
  private arriving: Promise<number> | undefined
  private ended = false

  constructor(options: ResidentBlockOptions) {
    checkOptions('ResidentBlock', options, {
      backing: true,
      firstPage: true,
      length: true,
      write: true,
      name: true,
    })
    const { backing, firstPage, length } = options
    checkPageAddress(firstPage, 0)
    checkByteCount('length', length, 1, MAX_MAPPING)
    this.name = options.name ?? backing.name
    this.backing = backing
    this.firstPage = firstPage
    this.length = length
    this.view = backing.view
    this.flags = options.write === false ? 0 : LOCK_WRITE
  }

  /** Whether the block is mapped now. */
  get resident(): boolean {
    return this.base >= 0
  }

  /**
   * Gives the block back; the second call does nothing.
   *
   * @throws BusyError `ERR_XMC_BUSY`: parts of it are locked; nothing was done
   */
  close(): void {
    if (this.ended) return
    if (this.locked.size > 0) throw new BusyError(this.name, this.locked.size)
    this.ended = true
    const { base } = this
    this.base = -1
    if (base >= 0) this.backing.unlock(base, 0)
  }

  lock(page: number, offset: number, length: number, flags: number): number {
    this.check(page, offset, length, flags)
    return this.count(this.hold(flags & LOCK_DMA), page, offset)
  }

  async lockAsync(page: number, offset: number, length: number, flags: number): Promise<number> {
    this.check(page, offset, length, flags)
    return this.count(await this.holdAsync(flags & LOCK_DMA), page, offset)
  }

  unlock(windowPage: number, offset: number): void {
    const at = windowPage * PAGE_SIZE + offset
    const count = this.locked.get(at)
    if (count === undefined) throw new NotLockedError(this.name, windowPage, offset)
    if (count === 1) this.locked.delete(at)
    else this.locked.set(at, count - 1)
  }

  /** The page behind any window page of the block, once it is mapped. */
  pageOf(windowPage: number): number {
    const pages = Math.ceil(this.length / PAGE_SIZE)
    if (this.base < 0 || windowPage < this.base || windowPage >= this.base + pages) {
      throw new NotLockedError(this.name, windowPage, 0)
    }
    return this.backing.pageOf(windowPage)
  }

  read(page: number, offset: number, target: Uint8Array): void {
    target.set(this.bytes(this.at(page, offset, target.length), target.length))
  }

  write(page: number, offset: number, source: Uint8Array): void {
    this.bytes(this.atForWrite(page, offset, source.length), source.length).set(source)
  }

  loadUint8(page: number, offset: number): number {
    return this.view.getUint8(this.at(page, offset, 1))
  }

  loadUint16(page: number, offset: number, littleEndian: boolean): number {
    return this.view.getUint16(this.at(page, offset, 2), littleEndian)
  }

  loadUint32(page: number, offset: number, littleEndian: boolean): number {
    return this.view.getUint32(this.at(page, offset, 4), littleEndian)
  }

  loadBigUint64(page: number, offset: number, littleEndian: boolean): bigint {
    return this.view.getBigUint64(this.at(page, offset, 8), littleEndian)
  }

  storeUint8(page: number, offset: number, value: number): void {
    this.view.setUint8(this.atForWrite(page, offset, 1), value)
  }

  storeUint16(page: number, offset: number, value: number, littleEndian: boolean): void {
    this.view.setUint16(this.atForWrite(page, offset, 2), value, littleEndian)
  }

  storeUint32(page: number, offset: number, value: number, littleEndian: boolean): void {
    this.view.setUint32(this.atForWrite(page, offset, 4), value, littleEndian)
  }

  storeBigUint64(page: number, offset: number, value: bigint, littleEndian: boolean): void {
    this.view.setBigUint64(this.atForWrite(page, offset, 8), value, littleEndian)
  }

  private bytes(at: number, length: number): Uint8Array {
    return new Uint8Array(this.view.buffer, this.view.byteOffset + at, length)
  }

  /** Byte of the view where a range of the block is, mapped. */
  private at(page: number, offset: number, length: number): number {
    this.check(page, offset, length, 0)
    return (this.hold(0) + page - this.firstPage) * PAGE_SIZE + offset
  }

  private atForWrite(page: number, offset: number, length: number): number {
    this.check(page, offset, length, LOCK_WRITE)
    return (this.hold(0) + page - this.firstPage) * PAGE_SIZE + offset
  }

  private check(page: number, offset: number, length: number, flags: number): void {
    if (this.ended) throw new ClosedError(this.name)
    checkPageAddress(page, offset)
    const start = (page - this.firstPage) * PAGE_SIZE + offset
    if (start < 0 || start + length > this.length) {
      throw new PagesMissingError(this.name, page, EFAULT)
    }
    // A store into pages that are mapped read-only would end the process.
    if ((flags & LOCK_WRITE) > this.flags) throw new ReadOnlyError(this.name)
  }

  /** Window page of the block, which is mapped if it is not yet. */
  private hold(dma: number): number {
    if (this.base < 0) {
      this.base = this.backing.lock(this.firstPage, 0, this.length, this.flags | dma)
    }
    return this.base
  }

  private async holdAsync(dma: number): Promise<number> {
    if (this.base >= 0) return this.base
    this.arriving ??= this.arrive(dma)
    return await this.arriving
  }

  private async arrive(dma: number): Promise<number> {
    try {
      const flags = this.flags | dma
      const base = await this.backing.lockAsync(this.firstPage, 0, this.length, flags)
      // Somebody may have mapped or closed the block meanwhile; one lock is kept at most.
      if (this.base < 0 && !this.ended) this.base = base
      else this.backing.unlock(base, 0)
      if (this.ended) throw new ClosedError(this.name)
      return this.base
    } finally {
      this.arriving = undefined
    }
  }

  private count(base: number, page: number, offset: number): number {
    const windowPage = base + page - this.firstPage
    const at = windowPage * PAGE_SIZE + offset
    this.locked.set(at, (this.locked.get(at) ?? 0) + 1)
    return windowPage
  }
}
