import { NotLockedError, PagesMissingError } from '@xmc/core/errors'
import { RefusedError } from '@xmc/interface'
import { LOCK_DMA, LOCK_WRITE, type RamBacking } from '../../src/index.ts'

const EINVAL = 22
/** Pages of the window; a page lies at its number modulo this. */
const WINDOW_PAGES = 4096

/**
 * A backing that logs its calls, over pages that can be missing or read-only. Page n of the guest lies
 * at window page n modulo 4096, so what a test uses must lie close together.
 */
export class PagedMemory implements RamBacking {
  readonly name: string
  readonly view: DataView = new DataView(new ArrayBuffer(WINDOW_PAGES * 4096))
  /** Calls in order, as `lock 0x7:0x123 100 write dma` and `unlock 0x7:0x123`. */
  readonly log: string[] = []
  readonly missing: Set<number> = new Set()
  readonly readOnly: Set<number> = new Set()
  /** Awaited by `lockAsync` before it locks. */
  gate: Promise<unknown> | undefined
  /** What `lock` throws instead of locking, while it is set. */
  refusal: Error | undefined
  private readonly held: Map<string, number> = new Map()
  private readonly pages: Map<number, number> = new Map()

  constructor(name = 'paged') {
    this.name = name
  }

  /** Locks outstanding. */
  get locks(): number {
    return [...this.held.values()].reduce((sum, count) => sum + count, 0)
  }

  /** The bytes of a page. */
  page(page: number): Uint8Array {
    return new Uint8Array(this.view.buffer, (page % WINDOW_PAGES) * 4096, 4096)
  }

  lock(page: number, offset: number, length: number, flags: number): number {
    const kind = (flags & LOCK_WRITE) === 0 ? 'read' : 'write'
    const dma = (flags & LOCK_DMA) === 0 ? '' : ' dma'
    this.log.push(`lock ${place(page, offset)} ${length} ${kind}${dma}`)
    if (this.refusal !== undefined) throw this.refusal
    this.check(page, offset, length, kind === 'write')
    const windowPage = page % WINDOW_PAGES
    for (let i = 0; i * 4096 < offset + length; i++) this.pages.set(windowPage + i, page + i)
    const key = place(windowPage, offset)
    this.held.set(key, (this.held.get(key) ?? 0) + 1)
    return windowPage
  }

  async lockAsync(page: number, offset: number, length: number, flags: number): Promise<number> {
    await this.gate
    return this.lock(page, offset, length, flags)
  }

  unlock(windowPage: number, offset: number): void {
    const key = place(windowPage, offset)
    const count = this.held.get(key)
    if (count === undefined) throw new NotLockedError(this.name, windowPage, offset)
    this.log.push(`unlock ${place(this.pageOf(windowPage), offset)}`)
    if (count === 1) this.held.delete(key)
    else this.held.set(key, count - 1)
  }

  pageOf(windowPage: number): number {
    const page = this.pages.get(windowPage)
    if (page === undefined) throw new NotLockedError(this.name, windowPage, 0)
    return page
  }

  read(page: number, offset: number, target: Uint8Array): void {
    this.log.push(`read ${place(page, offset)} ${target.length}`)
    target.set(this.bytes(page, offset, target.length, false))
  }

  write(page: number, offset: number, source: Uint8Array): void {
    this.log.push(`write ${place(page, offset)} ${source.length}`)
    this.bytes(page, offset, source.length, true).set(source)
  }

  loadUint8(page: number, offset: number): number {
    return this.load(page, offset, 1).getUint8(0)
  }

  loadUint16(page: number, offset: number, littleEndian: boolean): number {
    return this.load(page, offset, 2).getUint16(0, littleEndian)
  }

  loadUint32(page: number, offset: number, littleEndian: boolean): number {
    return this.load(page, offset, 4).getUint32(0, littleEndian)
  }

  loadBigUint64(page: number, offset: number, littleEndian: boolean): bigint {
    return this.load(page, offset, 8).getBigUint64(0, littleEndian)
  }

  storeUint8(page: number, offset: number, value: number): void {
    this.store(page, offset, 1).setUint8(0, value)
  }

  storeUint16(page: number, offset: number, value: number, littleEndian: boolean): void {
    this.store(page, offset, 2).setUint16(0, value, littleEndian)
  }

  storeUint32(page: number, offset: number, value: number, littleEndian: boolean): void {
    this.store(page, offset, 4).setUint32(0, value, littleEndian)
  }

  storeBigUint64(page: number, offset: number, value: bigint, littleEndian: boolean): void {
    this.store(page, offset, 8).setBigUint64(0, value, littleEndian)
  }

  private load(page: number, offset: number, size: number): DataView {
    this.log.push(`load ${place(page, offset)} ${size}`)
    return viewOf(this.bytes(page, offset, size, false))
  }

  private store(page: number, offset: number, size: number): DataView {
    this.log.push(`store ${place(page, offset)} ${size}`)
    return viewOf(this.bytes(page, offset, size, true))
  }

  private bytes(page: number, offset: number, length: number, write: boolean): Uint8Array {
    this.check(page, offset, length, write)
    return new Uint8Array(this.view.buffer, (page % WINDOW_PAGES) * 4096 + offset, length)
  }

  private check(page: number, offset: number, length: number, write: boolean): void {
    for (let at = page; (at - page) * 4096 < offset + length; at++) {
      if (this.missing.has(at)) throw new PagesMissingError(this.name, at, EINVAL)
      if (write && this.readOnly.has(at)) throw new RefusedError(`page ${at} is read-only`)
    }
  }
}

function place(page: number, offset: number): string {
  return `0x${page.toString(16)}:0x${offset.toString(16)}`
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
}
