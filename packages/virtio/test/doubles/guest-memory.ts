import type { GuestMemory, GuestRange } from '../../src/index.ts'

const PAGE = 4096

/** An error as a provider of guest memory throws it. */
export class MemoryFault extends Error {
  readonly code: string

  constructor(code: string, page: number) {
    super(`${code} at page ${page}`)
    this.code = code
  }
}

/**
 * Guest memory over one array, from a page on, that counts its ranges. Pages can be withdrawn and
 * paged out, mappings cut short, releases made to fail, and asynchronous maps held back.
 */
export class GuestMemoryDouble implements GuestMemory {
  readonly bytes: Uint8Array
  readonly view: DataView
  readonly firstPage: number
  /** Pages that cannot be mapped. */
  readonly withdrawn = new Set<number>()
  /** Pages that only `mapAsync` gives. */
  readonly pagedOut = new Set<number>()
  /** Longest range. */
  longest = Number.POSITIVE_INFINITY
  /** Ranges that are mapped now. */
  live = 0
  /** Guarded ranges that were stored into. */
  violations = 0
  /** Ranges that were mapped so far. */
  maps = 0
  /** What happened, in order: `map 3+16 r`, `release 3+16`. Filled when it is an array. */
  log: string[] | undefined
  /** Read ranges from this page of the array on are copies, and a store into one is counted. */
  guardedFrom = Number.POSITIVE_INFINITY
  /** When set, asynchronous maps wait for it. */
  gate: Promise<void> | undefined
  /** Called before each map, asynchronous ones too; may throw. */
  onMap: ((page: number, offset: number, length: number) => void) | undefined
  /** Called before each release; may throw. */
  onRelease: ((page: number, offset: number, accessed: number) => void) | undefined

  constructor(pages: number, firstPage: number = 0) {
    this.bytes = new Uint8Array(pages * PAGE)
    this.view = new DataView(this.bytes.buffer)
    this.firstPage = firstPage
  }

  map(page: number, offset: number, length: number, write: boolean): GuestRange {
    if (this.pagedOut.has(page)) throw new MemoryFault('ERR_XMC_PAGED_OUT', page)
    return this.range(page, offset, length, write)
  }

  async mapAsync(
    page: number,
    offset: number,
    length: number,
    write: boolean,
  ): Promise<GuestRange> {
    await this.gate
    return this.range(page, offset, length, write)
  }

  private range(page: number, offset: number, length: number, write: boolean): GuestRange {
    this.onMap?.(page, offset, length)
    const start = (page - this.firstPage) * PAGE + offset
    let usable = 0
    while (usable < length) {
      const at = start + usable
      const current = Math.floor(at / PAGE) + this.firstPage
      if (at < 0 || at >= this.bytes.length || this.withdrawn.has(current)) break
      usable = Math.min(length, usable + PAGE - (at % PAGE))
    }
    if (usable === 0) throw new MemoryFault('ERR_XMC_PAGES_MISSING', page)
    usable = Math.min(usable, this.longest)
    this.live += 1
    this.maps += 1
    this.log?.push(`map ${page - this.firstPage}+${offset} ${usable} ${write ? 'w' : 'r'}`)
    let released = false
    const source = this.bytes.subarray(start, start + usable)
    const guarded = !write && page - this.firstPage >= this.guardedFrom
    const bytes = guarded ? source.slice() : source
    // Of the copy: a request that is in flight may store into the source between two looks at it.
    const before = guarded ? bytes.slice() : undefined
    return {
      bytes,
      release: (accessed) => {
        if (released) throw new Error('released twice')
        if (accessed < 0 || accessed > usable || (accessed > 0 && !write)) {
          throw new Error(`accessed ${accessed} of ${usable}`)
        }
        released = true
        this.live -= 1
        if (before !== undefined && Buffer.compare(before, bytes) !== 0) this.violations += 1
        this.log?.push(`release ${page - this.firstPage}+${offset} ${accessed}`)
        this.onRelease?.(page, offset, accessed)
      },
    }
  }
}

/** The same with `read` and `write`, as grant copy gives them. */
export class CopyingGuestMemory extends GuestMemoryDouble {
  /** Copies so far. */
  copies = 0
  /** Whether copies are refused, as of grants that may be mapped only. */
  mapOnly = false

  read(page: number, offset: number, target: Uint8Array): void {
    target.set(this.slice(page, offset, target.length, 'read'))
  }

  write(page: number, offset: number, source: Uint8Array): void {
    this.slice(page, offset, source.length, 'write').set(source)
  }

  private slice(page: number, offset: number, length: number, kind: string): Uint8Array {
    if (this.mapOnly) throw new MemoryFault('ERR_XMC_MAP_ONLY', page)
    const start = (page - this.firstPage) * PAGE + offset
    const last = page + Math.floor((offset + length - 1) / PAGE)
    for (let current = page; current <= last; current += 1) {
      if (this.pagedOut.has(current)) throw new MemoryFault('ERR_XMC_PAGED_OUT', current)
      if (this.withdrawn.has(current)) throw new MemoryFault('ERR_XMC_PAGES_MISSING', current)
    }
    if (start < 0 || start + length > this.bytes.length) {
      throw new MemoryFault('ERR_XMC_PAGES_MISSING', page)
    }
    this.copies += 1
    this.log?.push(`${kind} ${page - this.firstPage}+${offset} ${length}`)
    return this.bytes.subarray(start, start + length)
  }
}
