import {
  countPages,
  type HostWindow,
  InvalidArgumentError,
  isPageList,
  type MapBackend,
  type Pages,
  SystemCallError,
  type WindowPage,
} from '@xmc/core'

/** A guest page of the double: any number that stands for a frame or a reference. */
export type TestPage = number & { readonly __xmc: 'TestPage' }

/** Checks and brands a page of the double: an integer from 0 to 2^52 − 1. */
export function testPage(value: number): TestPage {
  if (!isTestPage(value)) throw new InvalidArgumentError('page', 'a page of the double', value)
  return value
}

/** A window that is a plain buffer: it can copy pages in, not alias them. */
export class WindowDouble implements HostWindow {
  readonly buffer: ArrayBuffer
  readonly byteOffset = 4096
  readonly pageCount: number

  constructor(pageCount: number) {
    this.pageCount = pageCount
    this.buffer = new ArrayBuffer((pageCount + 1) * 4096)
  }

  /** The bytes of a page of the window. */
  page(page: number): Uint8Array {
    return new Uint8Array(this.buffer, this.byteOffset + page * 4096, 4096)
  }

  reset(page: WindowPage, pageCount: number): void {
    new Uint8Array(this.buffer, this.byteOffset + page * 4096, pageCount * 4096).fill(0)
  }
}

/** How a {@link GuestDouble} behaves. */
export interface GuestDoubleOptions {
  readonly windowPages?: number
  readonly bucketShift?: number
  readonly access?: 'read-write' | 'read-only' | 'as-requested'
  readonly pinned?: boolean
}

/**
 * A backend over a guest whose page `n` holds `n` as its first 4 bytes, unless written. It logs its
 * calls, and fails where it is told to.
 */
export class GuestDouble implements MapBackend<TestPage> {
  readonly kind = 'double'
  readonly window: WindowDouble
  readonly bucketShift: number
  readonly access: 'read-write' | 'read-only' | 'as-requested'
  readonly pinned: boolean
  /** Calls in order, as `map 0+256 rw`, `map [7,3] ro`, `unmap 256`. */
  readonly log: string[] = []
  /** Pages with an errno. */
  readonly missing: Map<number, number> = new Map()
  /** The next map call fails as a whole with this errno. */
  failNextMap: number | undefined
  /** The next unmap call fails. */
  failNextUnmap = false
  /** Awaited before an asynchronous map does its work. */
  beforeMap: (() => Promise<void>) | undefined
  /** What is mapped: first window page → pages. */
  readonly mapped: Map<number, Pages<TestPage>> = new Map()
  private readonly contents: Map<number, Uint8Array> = new Map()

  constructor(options: GuestDoubleOptions = {}) {
    this.window = new WindowDouble(options.windowPages ?? 4096)
    this.bucketShift = options.bucketShift ?? 20
    this.access = options.access ?? 'read-write'
    this.pinned = options.pinned ?? false
  }

  page(value: number): TestPage {
    return testPage(value)
  }

  /** The bytes of a guest page, as the guest sees them. */
  guestPage(page: number): Uint8Array {
    let bytes = this.contents.get(page)
    if (bytes === undefined) {
      bytes = new Uint8Array(4096)
      new DataView(bytes.buffer).setUint32(0, page, true)
      this.contents.set(page, bytes)
    }
    return bytes
  }

  /** Makes `count` pages from `first` on unmappable. */
  punch(first: number, count: number, errno: number = 22): void {
    for (let page = first; page < first + count; page++) this.missing.set(page, errno)
  }

  mapAt(
    windowPage: WindowPage,
    pages: Pages<TestPage>,
    writable: boolean,
    errors: Int32Array,
  ): void {
    const what = isPageList(pages) ? `[${pages.join(',')}]` : `${pages.first}+${pages.count}`
    this.log.push(`map ${what} ${writable ? 'rw' : 'ro'}`)
    if (this.failNextMap !== undefined) {
      const errno = this.failNextMap
      this.failNextMap = undefined
      throw new SystemCallError('map of the double', errno, 'told to fail')
    }
    for (let nth = 0; nth < countPages(pages); nth++) {
      const page = isPageList(pages) ? (pages[nth] ?? 0) : pages.first + nth
      errors[nth] = this.missing.get(page) ?? 0
      const target = this.window.page(windowPage + nth)
      if (errors[nth] === 0) target.set(this.guestPage(page))
      else target.fill(0)
    }
    this.mapped.set(windowPage, pages)
  }

  async mapAtAsync(
    windowPage: WindowPage,
    pages: Pages<TestPage>,
    writable: boolean,
    errors: Int32Array,
  ): Promise<void> {
    await this.beforeMap?.()
    this.mapAt(windowPage, pages, writable, errors)
  }

  unmapAt(windowPage: WindowPage, pageCount: number): void {
    this.log.push(`unmap ${pageCount}`)
    if (this.failNextUnmap) {
      this.failNextUnmap = false
      throw new SystemCallError('unmap of the double', 22, 'told to fail')
    }
    for (let nth = 0; nth < pageCount; nth++) this.mapped.delete(windowPage + nth)
    this.window.reset(windowPage, pageCount)
  }

  async unmapAtAsync(windowPage: WindowPage, pageCount: number): Promise<void> {
    await Promise.resolve()
    this.unmapAt(windowPage, pageCount)
  }
}

function isTestPage(value: number): value is TestPage {
  return Number.isInteger(value) && value >= 0 && value < 2 ** 52
}
