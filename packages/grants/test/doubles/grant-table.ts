import { constants } from 'node:os'
import {
  countPages,
  type GrantCopySegment,
  type GrantMapRequest,
  type GrantReference,
  isPageList,
  type Pages,
  SystemCallError,
  type TargetWindow,
  type UnmapNotify,
} from '@xmc/interface'
import type { GrantTable } from '../../src/index.ts'

const { EAGAIN, EINVAL, ENOENT } = constants.errno

/** One call at the port, as the tests compare it. */
export type Call =
  | { readonly map: readonly number[]; readonly at: number; readonly writable: boolean }
  | { readonly unmap: number; readonly at: number }
  | { readonly copy: readonly number[]; readonly direction: string }
  | { readonly notify: UnmapNotify; readonly at: number }

interface Entry {
  readonly bytes: Uint8Array
  readonly readOnly: boolean
  pagedOut: boolean
}

/**
 * A table of one granting domain that answers as gntdev does: one errno for a map, a status for each copy.
 * It maps nothing really; its pages are reached by copy.
 */
export class SmallGrantTable implements GrantTable {
  readonly calls: Call[] = []
  readonly mappings = new Map<number, GrantMapRequest>()
  readonly entries = new Map<number, Entry>()
  /** References from here on are outside the table. */
  tableSize = 512
  /** The only domain that granted anything. */
  domain = 3
  /** Mappings that other programs hold, of any reference. */
  foreignMappings = 0
  /** Thrown by the next calls of that name, when set. */
  refuse: { map?: unknown; unmap?: unknown; copy?: unknown } = {}

  grant(reference: number, options: { readOnly?: boolean } = {}): Entry {
    const entry = {
      bytes: new Uint8Array(4096),
      readOnly: options.readOnly ?? false,
      pagedOut: false,
    }
    this.entries.set(reference, entry)
    return entry
  }

  map(request: GrantMapRequest): void {
    const references = listOf(request.references)
    this.calls.push({ map: references, at: request.windowPage, writable: request.writable })
    if (this.refuse.map !== undefined) throw this.refuse.map
    for (const reference of references) {
      const entry = this.entries.get(reference)
      if (entry === undefined || request.domain !== this.domain) throw failure('map', EINVAL)
      if (request.writable && entry.readOnly) throw failure('map', EINVAL)
      if (entry.pagedOut) throw failure('map', EAGAIN)
      const inRequest = references.filter((other) => other === reference).length
      if (this.#pins(reference, request.writable) + inRequest > 128) throw failure('map', EINVAL)
    }
    const own = isPageList(request.references) ? [...request.references] : request.references
    this.mappings.set(request.windowPage, { ...request, references: own })
  }

  async mapAsync(request: GrantMapRequest): Promise<void> {
    await Promise.resolve()
    for (const reference of listOf(request.references)) {
      const entry = this.entries.get(reference)
      if (entry !== undefined) entry.pagedOut = false
    }
    this.map(request)
  }

  unmap(_window: TargetWindow, windowPage: number, pageCount: number): void {
    this.calls.push({ unmap: pageCount, at: windowPage })
    if (this.refuse.unmap !== undefined) throw this.refuse.unmap
    const mapping = this.mappings.get(windowPage)
    if (mapping === undefined || countPages(mapping.references) !== pageCount) {
      throw failure('unmap', EINVAL)
    }
    this.mappings.delete(windowPage)
  }

  async unmapAsync(window: TargetWindow, windowPage: number, pageCount: number): Promise<void> {
    await Promise.resolve()
    this.unmap(window, windowPage, pageCount)
  }

  setUnmapNotify(_window: TargetWindow, windowPage: number, notify: UnmapNotify): void {
    this.calls.push({ notify, at: windowPage })
    if (!this.mappings.has(windowPage)) throw failure('notify', ENOENT)
  }

  copy(segments: readonly GrantCopySegment[]): Int16Array {
    const [first] = segments
    this.calls.push({
      copy: segments.map((segment) => segment.reference),
      direction: first?.direction ?? '',
    })
    if (this.refuse.copy !== undefined) throw this.refuse.copy
    return Int16Array.from(segments, (segment) => this.#copyOne(segment))
  }

  #copyOne({ domain, reference, offset, bytes, direction }: GrantCopySegment): number {
    if (domain !== this.domain) return -2
    if (reference >= this.tableSize) return -3
    const entry = this.entries.get(reference)
    if (entry === undefined) return -1
    if (direction === 'to-grant' && entry.readOnly) return -1
    if (offset + bytes.length > 4096) return -10
    if (direction === 'from-grant') bytes.set(entry.bytes.subarray(offset, offset + bytes.length))
    else entry.bytes.set(bytes, offset)
    return 0
  }

  #pins(reference: number, writable: boolean): number {
    let pins = this.foreignMappings
    for (const mapping of this.mappings.values()) {
      if (mapping.writable !== writable) continue
      pins += listOf(mapping.references).filter((other) => other === reference).length
    }
    return pins
  }
}

function listOf(pages: Pages<GrantReference>): readonly number[] {
  if (isPageList(pages)) return [...pages]
  return Array.from({ length: pages.count }, (_, index) => pages.first + index)
}

function failure(call: string, errno: number): SystemCallError {
  return new SystemCallError(`gntdev ${call}`, errno, 'refused')
}
