import { constants } from 'node:os'
import type { GrantTable } from '@xmc/grants'
import {
  domainId,
  type GrantCopySegment,
  type GrantMapRequest,
  type GrantReference,
  grantReference,
  isPageList,
  type Pages,
  SystemCallError,
  type TargetWindow,
  type UnmapNotify,
  type WindowPage,
} from '@xmc/interface'
import type { GrantedPages, GrantTableProvider } from '../../src/index.ts'
import { AliasingWindow } from './aliasing-window.ts'

const { EAGAIN, EINVAL, ENOENT, EPERM } = constants.errno

/** The ways in which the double can be wrong. */
export const GRANT_FAULTS = [
  'allows any number of mappings',
  'async does nothing',
  'async does not wait',
  'async keeps books of its own',
  'batches take 64 references',
  'bounds no copy',
  'bounds no map',
  'clears a byte of read-only mappings',
  'closing keeps the mappings',
  'copies the page',
  'copy counts the end of a page per segment',
  'copy from a grant gives zeros',
  'copy ignores the domain',
  'copy ignores the grantee',
  'copy ignores read-only',
  'copy refuses mapped pages',
  'copy stops at a bad segment',
  'copy to a grant is lost',
  'counts no mapping',
  'drops the last page',
  'ends mappings with their grant',
  'ignores the death',
  'ignores the domain',
  'ignores the end of a grant',
  'ignores the grantee',
  'ignores the window’s end',
  'ignores writable',
  'keeps old notifications',
  'keeps the target when refused',
  'leaks on failure',
  'leaks on unmap',
  'maps duplicates once',
  'maps one page too many',
  'maps paged-out pages',
  'maps partly',
  'maps read-only grants for writing',
  'maps unused references',
  'maps zeros',
  'never clears a byte',
  'never signals',
  'notifies without a mapping',
  'one counter for both kinds',
  'one kind at a time',
  'one mapping per reference',
  'refusals are EPERM',
  'refuses read-only grants',
  'signals for every page',
  'sorts lists',
  'takes a place once',
  'takes no references',
  'takes references after the last',
  'the first notification counts',
  'unmap clears the granter',
  'unmap does nothing',
  'unmaps any count',
  'unmaps any start',
  'unmaps the mapping above',
  'unmaps twice',
] as const

/** One way in which the double is wrong. */
export type GrantFault = (typeof GRANT_FAULTS)[number]

interface Entry {
  readonly page: Uint8Array
  readonly writable: boolean
  readonly to: number
  active: boolean
  pagedOut: boolean
}

interface Mapping {
  readonly references: readonly number[]
  readonly writable: boolean
  readonly asynchronous: boolean
  notify: UnmapNotify | undefined
}

const GRANTER = 3
const CALLER = 0
const PORT = 9

/** A grant table over arrays: right, but for the faults it is given. */
class DoubleGrantTable implements GrantTable {
  readonly window: AliasingWindow
  readonly entries: Map<number, Entry>
  readonly mappings = new Map<number, Mapping>()
  /** Mappings of each reference and kind, as the hypervisor counts them. */
  readonly pins: Map<string, number>
  readonly #faults: ReadonlySet<GrantFault>
  readonly #waiting: (() => void)[] = []
  readonly #taken = new Set<number>()
  readonly #gone = new Set<number>()
  signals = 0
  alive = true

  constructor(faults: readonly GrantFault[], before?: DoubleGrantTable) {
    this.#faults = new Set(faults)
    this.window = before?.window ?? new AliasingWindow(512)
    this.entries = before?.entries ?? new Map()
    this.pins = before?.pins ?? new Map()
  }

  get liveMappings(): number {
    let count = 0
    for (const pins of this.pins.values()) count += pins
    return count
  }

  pageIn(entry: Entry): void {
    entry.pagedOut = false
    for (const wake of this.#waiting.splice(0)) wake()
  }

  close(): void {
    if (this.#has('closing keeps the mappings')) return
    for (const page of this.mappings.keys()) this.#remove(page)
  }

  map(request: GrantMapRequest): void {
    this.#map(request, false)
  }

  async mapAsync(request: GrantMapRequest): Promise<void> {
    await Promise.resolve()
    if (this.#has('async does nothing')) return
    if (!this.#has('async does not wait')) {
      await Promise.all(
        listOf(request.references).map(async (reference) => {
          if (this.entries.get(reference)?.pagedOut !== true) return
          await new Promise<void>((resolve) => {
            this.#waiting.push(resolve)
          })
        }),
      )
    }
    this.#map(request, true)
  }

  unmap(_window: TargetWindow, windowPage: WindowPage, pageCount: number): void {
    this.#unmap(windowPage, pageCount, false)
  }

  async unmapAsync(
    _window: TargetWindow,
    windowPage: WindowPage,
    pageCount: number,
  ): Promise<void> {
    await Promise.resolve()
    this.#unmap(windowPage, pageCount, true)
  }

  setUnmapNotify(_window: TargetWindow, windowPage: WindowPage, notify: UnmapNotify): void {
    const mapping = this.mappings.get(windowPage)
    if (mapping === undefined) {
      if (this.#has('notifies without a mapping')) return
      throw failure(ENOENT)
    }
    if (notify.clearByte !== undefined && !mapping.writable) {
      if (!this.#has('clears a byte of read-only mappings')) throw failure(EINVAL)
    }
    if (this.#has('the first notification counts') && mapping.notify !== undefined) return
    mapping.notify = notify
  }

  copy(segments: readonly GrantCopySegment[]): Int16Array {
    this.window.synchronise()
    let stopped = false
    return Int16Array.from(segments, (segment) => {
      if (stopped) return -1
      const status = this.#copyOne(segment)
      if (status !== 0 && this.#has('copy stops at a bad segment')) stopped = true
      return status
    })
  }

  #has(fault: GrantFault): boolean {
    return this.#faults.has(fault)
  }

  #map(request: GrantMapRequest, asynchronous: boolean): void {
    const { windowPage, writable } = request
    let references = listOf(request.references)
    if (!this.#has('takes references after the last')) {
      for (const reference of references) grantReference(reference)
    }
    if (references.length === 0 && this.#has('takes no references')) return
    if (references.length > 65_536) {
      if (this.#has('bounds no map')) return
      throw failure(EINVAL)
    }
    if (this.#has('sorts lists')) references = references.toSorted((a, b) => a - b)
    if (this.#has('ignores the window’s end')) {
      references = references.slice(0, this.window.pageCount - windowPage)
    }
    this.window.check(windowPage, references.length)
    const errno = this.#refusal(request, references)
    if (errno === undefined || !this.#has('keeps the target when refused')) {
      for (const index of references.keys()) this.window.detach(windowPage + index)
    }
    if (errno !== undefined) {
      if (this.#has('leaks on failure')) this.#count(references.slice(0, 1), writable, 1)
      if (this.#has('maps partly')) this.#attach(request, references)
      throw failure(this.#has('refusals are EPERM') ? EPERM : errno)
    }
    this.#taken.add(windowPage)
    this.#gone.delete(windowPage)
    const kept = this.mappings.get(windowPage)?.notify
    const notify = this.#has('keeps old notifications') ? (kept ?? this.#kept) : undefined
    this.mappings.set(windowPage, { references, writable, asynchronous, notify })
    this.#count(references, writable, 1)
    this.#attach(request, references)
    if (this.#has('maps one page too many')) this.window.detach(windowPage + references.length)
  }

  #kept: UnmapNotify | undefined

  #refusal(request: GrantMapRequest, references: readonly number[]): number | undefined {
    const { domain, windowPage, writable } = request
    if (domain !== GRANTER && !this.#has('ignores the domain')) return EINVAL
    if (!this.alive && !this.#has('ignores the death')) return EINVAL
    if (references.length > 64 && this.#has('batches take 64 references')) return EINVAL
    if (this.#taken.has(windowPage) && this.#has('takes a place once')) return EINVAL
    for (const reference of references) {
      const entry = this.entries.get(reference)
      if (entry === undefined) {
        if (!this.#has('maps unused references')) return EINVAL
        continue
      }
      if (!entry.active && !this.#has('ignores the end of a grant')) return EINVAL
      if (entry.to !== CALLER && !this.#has('ignores the grantee')) return EINVAL
      if (!entry.writable && this.#has('refuses read-only grants')) return EINVAL
      const refused = writable && !entry.writable
      if (refused && !this.#has('maps read-only grants for writing')) return EINVAL
      if (entry.pagedOut && !this.#has('maps paged-out pages')) return EAGAIN
      if (this.#has('one kind at a time') && this.#pinsOf(reference, !writable) > 0) return EINVAL
      const others = this.#has('one counter for both kinds')
        ? this.#pinsOf(reference, !writable)
        : 0
      const full = this.#pinsOf(reference, writable) + others >= 128
      if (full && !this.#has('allows any number of mappings')) return EINVAL
    }
    return undefined
  }

  #attach(request: GrantMapRequest, references: readonly number[]): void {
    const writable = request.writable || this.#has('ignores writable')
    const seen = new Set<number>()
    for (const [index, reference] of references.entries()) {
      const page = this.entries.get(reference)?.page
      if (page === undefined) continue
      if (this.#has('drops the last page') && index > 0 && index === references.length - 1) continue
      if (this.#has('maps duplicates once') && seen.has(reference)) continue
      if (this.#has('one mapping per reference')) {
        for (const place of this.window.placesOf(page)) this.window.detach(place)
      }
      seen.add(reference)
      const own = this.#has('maps zeros') || this.#has('copies the page')
      const copied = this.#has('maps zeros') ? new Uint8Array(4096) : page.slice()
      this.window.attach(request.windowPage + index, own ? copied : page, writable)
    }
  }

  #unmap(windowPage: number, pageCount: number, asynchronous: boolean): void {
    if (this.#has('unmap does nothing')) return
    let start = windowPage
    if (this.#has('unmaps any start')) {
      for (const [page, { references }] of this.mappings) {
        if (windowPage > page && windowPage < page + references.length) start = page
      }
    }
    const mapping = this.mappings.get(start)
    if (mapping === undefined) {
      if (this.#has('unmaps twice') && this.#gone.has(windowPage)) return
      throw failure(EINVAL)
    }
    const separate = this.#has('async keeps books of its own')
    if (separate && mapping.asynchronous !== asynchronous) throw failure(EINVAL)
    const exact = mapping.references.length === pageCount && start === windowPage
    if (!exact && start === windowPage && !this.#has('unmaps any count')) throw failure(EINVAL)
    this.#remove(start)
    if (this.#has('unmaps the mapping above')) this.#remove(start + pageCount)
  }

  #remove(windowPage: number): void {
    const mapping = this.mappings.get(windowPage)
    if (mapping === undefined) return
    const { references, writable, notify } = mapping
    const memory = references.map((_, index) => this.window.memoryAt(windowPage + index))
    for (const index of references.keys()) this.window.detach(windowPage + index)
    this.mappings.delete(windowPage)
    this.#gone.add(windowPage)
    this.#kept = notify
    if (!this.#has('leaks on unmap')) this.#count(references, writable, -1)
    const [first] = memory
    if (notify?.clearByte !== undefined && !this.#has('never clears a byte')) {
      if (first !== undefined) first[notify.clearByte] = 0
    }
    if (notify?.eventChannel === PORT && !this.#has('never signals')) {
      this.signals += this.#has('signals for every page') ? references.length + 1 : 1
    }
    if (this.#has('unmap clears the granter')) for (const page of memory) page?.fill(0)
  }

  #copyOne({ domain, reference, offset, bytes, direction }: GrantCopySegment): number {
    if (domain !== GRANTER && !this.#has('copy ignores the domain')) return -2
    if (reference >= 4096) return -3
    const entry = this.entries.get(reference)
    if (entry === undefined) return -1
    if (entry.to !== CALLER && !this.#has('copy ignores the grantee')) return -1
    if (this.window.placesOf(entry.page).length > 0 && this.#has('copy refuses mapped pages')) {
      return -1
    }
    const toGrant = direction === 'to-grant'
    if (toGrant && !entry.writable && !this.#has('copy ignores read-only')) return -1
    const length = Math.min(bytes.length, 4096 - offset)
    if (length < bytes.length && !this.#has('bounds no copy')) {
      if (!this.#has('copy counts the end of a page per segment')) return -10
      bytes.set(entry.page.subarray(offset))
      return -10
    }
    if (toGrant) {
      if (!this.#has('copy to a grant is lost')) entry.page.set(bytes.subarray(0, length), offset)
    } else if (this.#has('copy from a grant gives zeros')) bytes.fill(0)
    else bytes.set(entry.page.subarray(offset, offset + length))
    return 0
  }

  #pinsOf(reference: number, writable: boolean): number {
    return this.pins.get(`${reference}/${writable}`) ?? 0
  }

  #count(references: readonly number[], writable: boolean, change: number): void {
    if (this.#has('counts no mapping')) return
    for (const reference of references) {
      this.pins.set(`${reference}/${writable}`, this.#pinsOf(reference, writable) + change)
    }
  }
}

/** A provider of the contract over a {@link DoubleGrantTable}. */
export function grantProvider(...faults: readonly GrantFault[]): GrantTableProvider {
  const table = new DoubleGrantTable(faults)
  const { entries, window } = table
  const granted = new Map<GrantedPages, readonly Entry[]>()
  let next = 8

  const grant = (count: number, step: number, options: GrantDetails = {}): GrantedPages => {
    const made = Array.from({ length: count }, (): Entry => {
      const writable = options.writable ?? true
      const page = new Uint8Array(4096)
      return { page, writable, to: options.to ?? CALLER, active: true, pagedOut: false }
    })
    const references = made.map((entry) => {
      const reference = grantReference(next)
      next += step
      entries.set(reference, entry)
      return reference
    })
    const page = (index: number): Uint8Array => {
      window.synchronise()
      const entry = made[index]
      if (entry === undefined) throw new Error(`no page ${index} was granted`)
      return entry.page
    }
    const pages: GrantedPages = {
      references,
      read: (index, offset, length) => page(index).slice(offset, offset + length),
      write: (index, offset, bytes) => page(index).set(bytes, offset),
      revoke() {
        for (const entry of made) {
          entry.active = false
          if (!faults.includes('ends mappings with their grant')) continue
          for (const place of window.placesOf(entry.page)) window.detach(place)
        }
      },
    }
    granted.set(pages, made)
    return pages
  }

  const entryOf = (pages: GrantedPages, index: number): Entry => {
    const entry = granted.get(pages)?.[index]
    if (entry === undefined) throw new Error(`no page ${index} was granted`)
    return entry
  }

  return {
    table,
    window,
    domain: domainId(GRANTER),
    otherDomain: domainId(5),
    absentDomain: domainId(77),
    unusedReference: grantReference(3),
    granter: { grant: (count, options) => grant(count, 3, options) },
    capabilities: {
      consecutive: { grant: (count) => grant(count, 1) },
      paging: {
        pageOut: (pages, index) => {
          entryOf(pages, index).pagedOut = true
        },
        pageIn: (pages, index) => table.pageIn(entryOf(pages, index)),
      },
      protection: { of: (windowPage) => window.protectionOf(windowPage) },
      accounting: { liveMappings: () => table.liveMappings },
      eventChannels: { bind: () => ({ port: PORT, signals: () => table.signals }) },
      reopening: {
        reopen: () => {
          table.close()
          return new DoubleGrantTable(faults, table)
        },
      },
      death: {
        destroy: () => {
          table.alive = false
        },
      },
    },
    close: () => table.close(),
  }
}

interface GrantDetails {
  readonly writable?: boolean | undefined
  readonly to?: number | undefined
}

function listOf(pages: Pages<GrantReference>): readonly number[] {
  if (isPageList(pages)) return [...pages]
  return Array.from({ length: pages.count }, (_, index) => pages.first + index)
}

function failure(errno: number): SystemCallError {
  return new SystemCallError('grant map', errno, 'refused by the double')
}
