import type { MapBackend } from '@xmc/core'
import {
  countPages,
  type HostWindow,
  isPageList,
  type Pages,
  SystemCallError,
  type WindowPage,
} from '@xmc/interface'

const EINVAL = 22

/**
 * A backend of a cache, over pages that are copied in when they are mapped and back when they are
 * unmapped. Page n holds n as its first 4 bytes. It logs its calls, as `map 7+2 read` and `unmap 2`.
 */
export class GrantedPages implements MapBackend<number> {
  readonly kind = 'grants'
  readonly window: HostWindow
  readonly bucketShift: number
  readonly access: 'as-requested' | 'read-write'
  readonly pinned: boolean
  readonly log: string[] = []
  readonly missing: Set<number> = new Set()
  private readonly contents: Map<number, Uint8Array> = new Map()
  private readonly mapped: Map<number, number> = new Map()

  constructor(options: { pinned: boolean; bucketShift: number; windowPages?: number }) {
    this.pinned = options.pinned
    this.access = options.pinned ? 'as-requested' : 'read-write'
    this.bucketShift = options.bucketShift
    const pageCount = options.windowPages ?? 2048
    const buffer = new ArrayBuffer(pageCount * 4096)
    const reset = (page: WindowPage, count: number): void => {
      new Uint8Array(buffer, page * 4096, count * 4096).fill(0)
    }
    this.window = { buffer, byteOffset: 0, pageCount, reset }
  }

  /** Pages mapped now. */
  get mappedPages(): number {
    return this.mapped.size
  }

  /** The bytes of a page in the guest. */
  contentsOf(page: number): Uint8Array {
    let bytes = this.contents.get(page)
    if (bytes === undefined) {
      bytes = new Uint8Array(4096)
      new DataView(bytes.buffer).setUint32(0, page, true)
      this.contents.set(page, bytes)
    }
    return bytes
  }

  page(value: number): number {
    return value
  }

  mapAt(windowPage: WindowPage, pages: Pages<number>, writable: boolean, errors: Int32Array): void {
    const count = countPages(pages)
    const list = isPageList(pages)
      ? [...pages]
      : Array.from({ length: count }, (_, i) => pages.first + i)
    this.log.push(`map ${list.at(0)}+${count} ${writable ? 'write' : 'read'}`)
    if (this.pinned && list.some((page) => this.missing.has(page))) {
      throw new SystemCallError('gntdev map', EINVAL, 'a reference is bad')
    }
    for (const [i, page] of list.entries()) {
      errors[i] = this.missing.has(page) ? EINVAL : 0
      this.mapped.set(windowPage + i, page)
      this.windowBytes(windowPage + i).set(this.contentsOf(page))
    }
  }

  async mapAtAsync(
    windowPage: WindowPage,
    pages: Pages<number>,
    writable: boolean,
    errors: Int32Array,
  ): Promise<void> {
    this.mapAt(windowPage, pages, writable, errors)
  }

  unmapAt(windowPage: WindowPage, pageCount: number): void {
    this.log.push(`unmap ${pageCount}`)
    for (let i = 0; i < pageCount; i++) {
      const page = this.mapped.get(windowPage + i)
      if (page !== undefined) this.contentsOf(page).set(this.windowBytes(windowPage + i))
      this.mapped.delete(windowPage + i)
    }
    this.window.reset(windowPage, pageCount)
  }

  async unmapAtAsync(windowPage: WindowPage, pageCount: number): Promise<void> {
    this.unmapAt(windowPage, pageCount)
  }

  private windowBytes(windowPage: number): Uint8Array {
    return new Uint8Array(this.window.buffer, windowPage * 4096, 4096)
  }
}
