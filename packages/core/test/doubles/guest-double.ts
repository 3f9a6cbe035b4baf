import type { MapBackend } from '@xmc/core'
import {
  countPages,
  type HostWindow,
  InvalidArgumentError,
  isPageList,
  type Pages,
  SystemCallError,
  type WindowPage,
} from '@xmc/interface'

/** A guest page of the double: any number that stands for a frame or a reference. */
export type TestPage = number & { readonly __xmc: 'TestPage' }

/** Checks and brands a page of the double: an integer from 0 to 2^52 − 1. */
export function testPage(value: number): TestPage {
  if (!isTestPage(value)) throw new InvalidArgumentError('page', 'a page of the double', value)
  return value
}

/** A window that is a plain buffer: it can copy pages in, not alias them. */
export class WindowDouble implements HostWindow {
  readonly buffer: ArrayBuffer | SharedArrayBuffer
  readonly byteOffset = 4096
  readonly pageCount: number
  /** Calls of `reset` in order, as `reset 0+256`. */
  readonly log: string[] = []
  /** The next call of `reset` fails. */
  failNextReset = false
  /** Calls of `hold` without one of `letGo`, now and at most. */
  holds = 0
  mostHolds = 0

  constructor(pageCount: number, shared: boolean = false) {
    this.pageCount = pageCount
    const bytes = (pageCount + 1) * 4096
    this.buffer = shared ? new SharedArrayBuffer(bytes) : new ArrayBuffer(bytes)
  }

  /** The bytes of a page of the window. */
  page(page: number): Uint8Array {
    return new Uint8Array(this.buffer, this.byteOffset + page * 4096, 4096)
  }

  reset(page: WindowPage, pageCount: number): void {
    this.log.push(`reset ${page}+${pageCount}`)
    if (this.failNextReset) {
      this.failNextReset = false
      throw new SystemCallError('reset of the double', 12, 'told to fail')
    }
    this.zero(page, pageCount)
  }

  hold(): void {
    this.holds++
    this.mostHolds = Math.max(this.mostHolds, this.holds)
  }

  letGo(): void {
    this.holds--
  }

  /** Does what `reset` does, for the backend, without a line in the log. */
  zero(page: number, pageCount: number): void {
    new Uint8Array(this.buffer, this.byteOffset + page * 4096, pageCount * 4096).fill(0)
  }
}

/** How a {@link GuestDouble} behaves. */
export interface GuestDoubleOptions {
  readonly windowPages?: number
  readonly bucketShift?: number
  readonly access?: 'read-write' | 'read-only' | 'as-requested'
  readonly pinned?: boolean
  readonly shared?: boolean
}

/** What {@link GuestDouble.mapped} has for a page that failed in a map that did not. */
export const HOLE = -1

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
  /** Calls that the contract of the port does not allow. */
  readonly misuse: string[] = []
  /** Pages with an errno. */
  readonly missing: Map<number, number> = new Map()
  /** The next map call fails as a whole with this errno. */
  failNextMap: number | undefined
  /** Window page of the last map call that failed as a whole. */
  failedMapAt: number | undefined
  /** The next unmap call fails, and its mapping stays. */
  failNextUnmap = false
  /** So many unmap calls more fail. */
  failUnmaps = 0
  /** Unmap calls from these window pages on fail. */
  readonly stuck: Set<number> = new Set()
  /** Awaited before an asynchronous map does its work. */
  beforeMap: (() => Promise<void>) | undefined
  /** Awaited after an asynchronous map has done its work. */
  afterMap: (() => Promise<void>) | undefined
  /** Awaited before an asynchronous unmap does its work. */
  beforeUnmap: (() => Promise<void>) | undefined
  /** What is mapped: window page → guest page, or {@link HOLE}. */
  readonly mapped: Map<number, number> = new Map()
  private readonly contents: Map<number, Uint8Array> = new Map()

  constructor(options: GuestDoubleOptions = {}) {
    this.window = new WindowDouble(options.windowPages ?? 4096, options.shared)
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

  /** Undoes {@link GuestDouble.punch}. */
  populate(first: number, count: number): void {
    for (let page = first; page < first + count; page++) this.missing.delete(page)
  }

  mapAt(
    windowPage: WindowPage,
    pages: Pages<TestPage>,
    writable: boolean,
    errors: Int32Array,
  ): void {
    const count = countPages(pages)
    const what = isPageList(pages) ? `[${pages.join(',')}]` : `${pages.first}+${pages.count}`
    this.log.push(`map ${what} ${writable ? 'rw' : 'ro'}`)
    if (writable && this.access === 'read-only') this.misuse.push(`writable map of ${what}`)
    if (windowPage + count > this.window.pageCount) this.misuse.push(`map beyond the window`)
    if (errors.length < count) this.misuse.push(`${errors.length} errors for ${count} pages`)
    if (this.failNextMap !== undefined) {
      const errno = this.failNextMap
      this.failNextMap = undefined
      this.failedMapAt = windowPage
      for (let nth = 0; nth < count; nth++) this.mapped.delete(windowPage + nth)
      this.window.zero(windowPage, count)
      throw new SystemCallError('map of the double', errno, 'told to fail')
    }
    for (let nth = 0; nth < count; nth++) {
      const page = isPageList(pages) ? (pages[nth] ?? 0) : pages.first + nth
      const errno = this.missing.get(page) ?? 0
      errors[nth] = errno
      const target = this.window.page(windowPage + nth)
      if (errno === 0) target.set(this.guestPage(page))
      else target.fill(0)
      this.mapped.set(windowPage + nth, errno === 0 ? page : HOLE)
    }
  }

  async mapAtAsync(
    windowPage: WindowPage,
    pages: Pages<TestPage>,
    writable: boolean,
    errors: Int32Array,
  ): Promise<void> {
    await this.beforeMap?.()
    this.mapAt(windowPage, pages, writable, errors)
    await this.afterMap?.()
  }

  unmapAt(windowPage: WindowPage, pageCount: number): void {
    this.log.push(`unmap ${pageCount}`)
    if (this.failNextUnmap || this.failUnmaps > 0 || this.stuck.has(windowPage)) {
      this.failNextUnmap = false
      if (this.failUnmaps > 0) this.failUnmaps--
      throw new SystemCallError('unmap of the double', 22, 'told to fail')
    }
    let found = 0
    for (let nth = 0; nth < pageCount; nth++) {
      if (this.mapped.delete(windowPage + nth)) found++
    }
    if (found === 0) this.misuse.push(`unmap of nothing at ${windowPage}+${pageCount}`)
    this.window.zero(windowPage, pageCount)
  }

  async unmapAtAsync(windowPage: WindowPage, pageCount: number): Promise<void> {
    await this.beforeUnmap?.()
    this.unmapAt(windowPage, pageCount)
  }
}

/** A {@link GuestDouble} that can copy guest memory without mapping it, as grants can. */
export class CopyingDouble extends GuestDouble {
  /** The next copy fails. */
  failNextCopy = false
  /** Every copy fails with this errno, as on a kernel without such a call. */
  copyErrno: number | undefined

  copyFrom(page: TestPage, offset: number, target: Uint8Array): void {
    this.copy(`copy from ${page}+${offset} ${target.length}`)
    target.set(this.guestPage(page).subarray(offset, offset + target.length))
  }

  copyTo(page: TestPage, offset: number, source: Uint8Array): void {
    this.copy(`copy to ${page}+${offset} ${source.length}`)
    this.guestPage(page).set(source, offset)
  }

  private copy(line: string): void {
    this.log.push(line)
    if (this.copyErrno !== undefined) {
      const cause = new SystemCallError('copy of the double', this.copyErrno, 'no such call')
      throw new Error('the copy failed', { cause })
    }
    if (!this.failNextCopy) return
    this.failNextCopy = false
    throw new SystemCallError('copy of the double', 1, 'told to fail')
  }
}

function isTestPage(value: number): value is TestPage {
  return Number.isInteger(value) && value >= 0 && value < 2 ** 52
}
