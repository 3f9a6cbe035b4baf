import {
  ClosedError,
  InvalidArgumentError,
  PAGE_SIZE,
  ReadOnlyError,
  type WindowPage,
  XmcError,
} from '@xmc/interface'
import { COUNTER } from '../statistics.ts'
import { traceChannels } from '../trace.ts'
import type { BucketEngine } from './bucket-engine.ts'
import { LIST } from './bucket-table.ts'
import { type Misses, NO_WRITES } from './misses.ts'
import { checkLastPage } from './page-range.ts'
import { isUnsupportedCall } from './unsupported-call.ts'

/** How far one step of a copy may go: over all buckets where the mode maps ranges, in one bucket, in one page. */
const REACH_ALL = 2
const REACH_BUCKET = 1
const REACH_PAGE = 0

/**
 * Access to guest memory without a lock, where the hit path does not serve it: misses, ranges over
 * page ends, bulk copies, and pinned pages, which are copied rather than mapped.
 */
export class UnlockedAccess<Page extends number> {
  private readonly engine: BucketEngine<Page>
  private readonly misses: Misses<Page>
  private readonly view: DataView
  private readonly scratch: DataView = new DataView(new ArrayBuffer(8))
  /** Whether the backend copies; an old kernel may have no call for it. */
  private copies = true

  constructor(engine: BucketEngine<Page>, misses: Misses<Page>, view: DataView) {
    this.engine = engine
    this.misses = misses
    this.view = view
  }

  /**
   * Byte of the view at which `size` bytes of one page are mapped, after a miss if need be; -1 where they
   * reach into the next page, or are pinned: `load` and `store` copy those.
   */
  locate(page: Page, offset: number, size: number, write: boolean): number {
    if (offset + size > PAGE_SIZE || this.engine.backend.pinned) return -1
    this.check(page, offset, write)
    this.engine.count(COUNTER.requests)
    const found = this.engine.find(page, offset, size, write)
    if (found >= 0) {
      this.engine.accessed = this.engine.entryAt(found)
      return found * PAGE_SIZE + offset
    }
    this.trace(page, offset)
    const windowPage = this.map(page, offset, size, write)
    if (!this.goesAfterUse(windowPage)) return windowPage * PAGE_SIZE + offset
    this.drop(windowPage)
    return -1
  }

  /** Reads up to 8 bytes; they are valid until the next call. */
  load(page: Page, offset: number, size: number): DataView {
    this.read(page, offset, new Uint8Array(this.scratch.buffer, 0, size))
    return this.scratch
  }

  /** Writes up to 8 bytes that `fill` puts into a buffer. */
  store(page: Page, offset: number, size: number, fill: (bytes: DataView) => void): void {
    fill(this.scratch)
    this.write(page, offset, new Uint8Array(this.scratch.buffer, 0, size))
  }

  read(page: Page, offset: number, target: Uint8Array): void {
    this.each(page, offset, target, false, (window, bytes) => bytes.set(window))
  }

  write(page: Page, offset: number, source: Uint8Array): void {
    this.each(page, offset, source, true, (window, bytes) => window.set(bytes))
  }

  /** Calls `move` for each stretch of `bytes` with the guest memory that it lies in. */
  private each(
    page: Page,
    offset: number,
    bytes: Uint8Array,
    write: boolean,
    move: (window: Uint8Array, bytes: Uint8Array) => void,
  ): void {
    const { engine } = this
    this.check(page, offset, write)
    checkLastPage(engine.backend, page, offset, bytes.length)
    let least = REACH_ALL
    for (let done = 0; done < bytes.length; ) {
      const position = offset + done
      const at = engine.backend.page(page + Math.floor(position / PAGE_SIZE))
      const inPage = position % PAGE_SIZE
      const length = Math.min(bytes.length - done, this.reach(at, inPage, least))
      const part = length === bytes.length ? bytes : bytes.subarray(done, done + length)
      try {
        this.one(at, inPage, part, write, move)
        done += length
      } catch (error) {
        // There is no room for so much at a time: the copy goes on in smaller pieces.
        if (!isShortage(error) || length <= this.reach(at, inPage, REACH_PAGE)) throw error
        least = length <= this.reach(at, inPage, REACH_BUCKET) ? REACH_PAGE : REACH_BUCKET
      }
    }
  }

  private one(
    page: Page,
    offset: number,
    bytes: Uint8Array,
    write: boolean,
    move: (window: Uint8Array, bytes: Uint8Array) => void,
  ): void {
    const { engine } = this
    const { backend } = engine
    engine.count(COUNTER.requests)
    let windowPage = engine.find(page, offset, bytes.length, write)
    if (windowPage >= 0) {
      engine.accessed = engine.entryAt(windowPage)
      if (bytes.length <= SHORT) this.moveShort(windowPage * PAGE_SIZE + offset, bytes, write)
      else move(this.window(windowPage, offset, bytes.length), bytes)
      return
    }
    this.trace(page, offset)
    if (backend.pinned && this.copy(page, offset, bytes, write)) return
    windowPage = this.map(page, offset, bytes.length, write)
    move(this.window(windowPage, offset, bytes.length), bytes)
    if (this.goesAfterUse(windowPage)) this.drop(windowPage)
  }

  /** Whether what was mapped for an access is not to stay: a pin, or the pages of this access alone. */
  private goesAfterUse(windowPage: number): boolean {
    const { backend, table } = this.engine
    return backend.pinned || (table.flags[this.engine.entryAt(windowPage)]! & LIST) !== 0
  }

  private drop(windowPage: number): void {
    const slot = this.engine.entryAt(windowPage)
    // A translation may have led to pages that somebody has locked.
    if (!this.engine.table.isFree(slot)) return
    if ((this.engine.table.flags[slot]! & LIST) === 0) this.engine.unlocked(slot)
    else this.engine.tryUnmap(slot)
  }

  /** Maps what a search did not find; gives the window page. */
  private map(page: Page, offset: number, length: number, write: boolean): WindowPage {
    // The one that was accessed before may go now.
    this.engine.accessed = -1
    const windowPage = this.misses.runSync(this.misses.acquire(page, offset, length, write, true))
    this.engine.accessed = this.engine.entryAt(windowPage)
    return windowPage
  }

  private check(page: Page, offset: number, write: boolean): void {
    const { engine } = this
    if (engine.closed) throw new ClosedError(engine.name)
    if ((offset & 4095) !== offset) {
      throw new InvalidArgumentError('offset', 'an integer from 0 to 4095', offset)
    }
    engine.backend.page(page)
    if (write && engine.backend.access === 'read-only') {
      throw new ReadOnlyError(engine.name, NO_WRITES)
    }
  }

  private trace(page: Page, offset: number): void {
    if (traceChannels.map.hasSubscribers) {
      traceChannels.map.publish({ cache: this.engine.name, page, offset })
    }
  }

  /** Copies without mapping; false when the backend cannot. */
  private copy(page: Page, offset: number, bytes: Uint8Array, write: boolean): boolean {
    if (!this.copies) return false
    try {
      return write ? this.copyTo(page, offset, bytes) : this.copyFrom(page, offset, bytes)
    } catch (error) {
      if (!isUnsupportedCall(error)) throw error
      this.copies = false
      return false
    }
  }

  private copyFrom(page: Page, offset: number, target: Uint8Array): boolean {
    const { backend } = this.engine
    if (backend.copyFrom === undefined) return false
    this.engine.count(COUNTER.copyCalls)
    backend.copyFrom(page, offset, target)
    return true
  }

  private copyTo(page: Page, offset: number, source: Uint8Array): boolean {
    const { backend } = this.engine
    if (backend.copyTo === undefined) return false
    this.engine.count(COUNTER.copyCalls)
    backend.copyTo(page, offset, source)
    return true
  }

  /** Bytes from `offset` in `page` that one step may take. */
  private reach(page: Page, offset: number, reach: number): number {
    const { engine } = this
    if (engine.backend.pinned || reach === REACH_PAGE) return PAGE_SIZE - offset
    if (engine.mapsWholeRanges && reach === REACH_ALL) return Number.POSITIVE_INFINITY
    return (engine.pagesPerBucket - (page % engine.pagesPerBucket)) * PAGE_SIZE - offset
  }

  /** Copies a few bytes without an array over the window, which would cost more than they do. */
  private moveShort(at: number, bytes: Uint8Array, write: boolean): void {
    const { view } = this
    const { length } = bytes
    if (write) for (let i = 0; i < length; i++) view.setUint8(at + i, bytes[i]!)
    else for (let i = 0; i < length; i++) bytes[i] = view.getUint8(at + i)
  }

  private window(windowPage: number, offset: number, length: number): Uint8Array {
    const { buffer, byteOffset } = this.view
    return new Uint8Array(buffer, byteOffset + windowPage * PAGE_SIZE + offset, length)
  }
}

/** Most bytes that are copied one by one: the header and the status of a request. */
const SHORT = 16

/** Whether a map failed since there was too little room for it, so that a smaller one may succeed. */
function isShortage(error: unknown): boolean {
  return error instanceof XmcError && ROOM.has(error.code)
}

const ROOM: ReadonlySet<string> = new Set(['ERR_XMC_WINDOW_FULL', 'ERR_XMC_MEMORY_AREAS'])
