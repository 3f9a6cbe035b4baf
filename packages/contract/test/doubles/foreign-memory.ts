import { constants } from 'node:os'
import type { ForeignMemory } from '@xmc/foreign'
import {
  domainId,
  type ForeignMapRequest,
  type GuestFrame,
  guestFrame,
  isPageList,
  type Pages,
  SystemCallError,
  type TargetWindow,
  type WindowPage,
} from '@xmc/interface'
import type { ForeignMemoryProvider } from '../../src/index.ts'
import { AliasingWindow } from './aliasing-window.ts'

const { EINVAL, ENOENT, ESRCH } = constants.errno

/** The ways in which the double can be wrong. */
export const FOREIGN_FAULTS = [
  'async does nothing',
  'async does not wait',
  'async drops errors',
  'async resolves when refused',
  'copies the frame',
  'cuts frames to 32 bits',
  'drops the last page',
  'errors are negative',
  'fills all errors',
  'forgets to uncount',
  'gives the window to the guest',
  'holes are silent',
  'ignores the death',
  'ignores the window’s end',
  'ignores writable',
  'keeps failed pages',
  'keeps old errors',
  'keeps the target when refused',
  'looks at the first frame of a run only',
  'maps duplicates once',
  'maps one page too many',
  'maps partly',
  'maps the own domain',
  'maps zeros',
  'needs an error array',
  'one mapping per frame',
  'paged out is EINVAL',
  'refused targets stay refused',
  'refuses holes alone',
  'reports no domain per page',
  'sorts lists',
  'succeeds without an error array',
  'takes a place once',
  'takes frames after the last',
  'unmap clears the guest',
  'unmap does nothing',
  'unmap ignores the window’s end',
  'unmap refuses pages without mapping',
  'unmap stops at a failed page',
  'unmaps the first page only',
  'unmaps too much',
] as const

/** One way in which the double is wrong. */
export type ForeignFault = (typeof FOREIGN_FAULTS)[number]

const DOMAIN = 3
const OWN = 0
const FIRST = 0x40000
const COUNT = 20

/** Foreign memory over arrays, with a guest of 20 frames: right, but for the faults it is given. */
class DoubleForeignMemory implements ForeignMemory {
  readonly window = new AliasingWindow(64)
  readonly pages = new Map<number, Uint8Array>()
  readonly pagedOut = new Set<number>()
  readonly #faults: ReadonlySet<ForeignFault>
  readonly #waiting: (() => void)[] = []
  readonly #taken = new Set<number>()
  readonly #poisoned = new Set<number>()
  #uncounted = 0
  alive = true

  constructor(faults: readonly ForeignFault[]) {
    this.#faults = new Set(faults)
    for (let frame = FIRST; frame < FIRST + COUNT; frame++) {
      this.pages.set(frame, new Uint8Array(4096))
    }
  }

  get liveMappings(): number {
    return this.window.mappedPages + this.#uncounted
  }

  pageIn(frame: number): void {
    this.pagedOut.delete(frame)
    for (const wake of this.#waiting.splice(0)) wake()
  }

  map(request: ForeignMapRequest): void {
    const { windowPage, errors } = request
    let frames = listOf(request.frames)
    if (!this.#has('takes frames after the last')) for (const frame of frames) guestFrame(frame)
    if (this.#has('sorts lists')) frames = frames.toSorted((a, b) => a - b)
    if (this.#has('ignores the window’s end')) {
      frames = frames.slice(0, this.window.pageCount - windowPage)
    }
    if (this.#has('needs an error array') && errors === undefined) throw failure(EINVAL)
    this.window.check(windowPage, frames.length)
    const results = this.#results(request, frames)
    const refusal = this.#refusal(request, frames, results)
    if (this.#has('reports no domain per page') && refusal === ESRCH && errors !== undefined) {
      this.window.reset(windowPage, frames.length)
      errors.fill(ESRCH, 0, frames.length)
      return
    }
    const keep =
      (refusal !== undefined && this.#has('keeps the target when refused')) ||
      this.#has('keeps failed pages')
    if (!keep) this.#clear(request, frames)
    if (refusal !== undefined) {
      this.#poisoned.add(windowPage)
      if (this.#has('maps partly')) this.#attach(request, frames, results)
      throw failure(refusal)
    }
    this.#taken.add(windowPage)
    this.#attach(request, frames, results)
    if (this.#has('maps one page too many')) this.window.detach(windowPage + frames.length)
    if (errors !== undefined) this.#report(errors, results)
  }

  async mapAsync(request: ForeignMapRequest): Promise<void> {
    await Promise.resolve()
    if (this.#has('async does nothing')) return
    if (!this.#has('async does not wait')) {
      await Promise.all(
        listOf(request.frames).map(async (frame) => {
          if (!this.pagedOut.has(frame)) return
          await new Promise<void>((resolve) => {
            this.#waiting.push(resolve)
          })
        }),
      )
    }
    try {
      const errors = this.#has('async drops errors') ? new Int32Array(64) : request.errors
      this.map({ ...request, errors })
    } catch (error) {
      if (!this.#has('async resolves when refused')) throw error
    }
  }

  unmap(_window: TargetWindow, windowPage: WindowPage, pageCount: number): void {
    if (this.#has('unmap does nothing')) return
    let end = windowPage + pageCount
    if (this.#has('unmap ignores the window’s end')) end = Math.min(end, this.window.pageCount)
    this.window.check(windowPage, end - windowPage)
    if (this.#has('unmaps the first page only')) end = windowPage + 1
    if (this.#has('unmaps too much')) end++
    for (let page: number = windowPage; page < end; page++) {
      const memory = this.window.memoryAt(page)
      if (memory === undefined) {
        if (this.#has('unmap stops at a failed page')) return
        if (this.#has('unmap refuses pages without mapping')) throw failure(EINVAL)
      } else if (this.#has('forgets to uncount')) this.#uncounted++
      this.window.detach(page)
      if (this.#has('unmap clears the guest')) memory?.fill(0)
    }
  }

  #has(fault: ForeignFault): boolean {
    return this.#faults.has(fault)
  }

  #results(request: ForeignMapRequest, frames: readonly number[]): readonly number[] {
    const results = frames.map((frame) => {
      const cut = this.#has('cuts frames to 32 bits') ? frame % 2 ** 32 : frame
      if (!this.alive && !this.#has('ignores the death')) return EINVAL
      if (this.pagedOut.has(cut)) return this.#has('paged out is EINVAL') ? EINVAL : ENOENT
      return this.pages.has(cut) || this.#has('holes are silent') ? 0 : EINVAL
    })
    const [first = 0] = results
    const isRun = !isPageList(request.frames)
    return this.#has('looks at the first frame of a run only') && isRun
      ? results.map(() => first)
      : results
  }

  #refusal(
    request: ForeignMapRequest,
    frames: readonly number[],
    results: readonly number[],
  ): number | undefined {
    const { domain, windowPage, errors } = request
    const own = domain === OWN && this.#has('maps the own domain')
    if (domain !== DOMAIN && !own) return ESRCH
    if (this.#has('refused targets stay refused') && this.#poisoned.has(windowPage)) return EINVAL
    if (this.#has('takes a place once') && this.#taken.has(windowPage)) return EINVAL
    const bad = results.find((result) => result !== 0)
    if (this.#has('refuses holes alone') && results.every((result) => result !== 0)) return bad
    if (errors !== undefined || frames.length === 0) return undefined
    return this.#has('succeeds without an error array') ? undefined : bad
  }

  #clear(request: ForeignMapRequest, frames: readonly number[]): void {
    for (const [index, frame] of frames.entries()) {
      const page = request.windowPage + index
      if (this.#has('gives the window to the guest')) {
        const bytes = new Uint8Array(this.window.buffer, 4096 + page * 4096, 4096)
        this.pages.get(frame)?.set(bytes)
      }
      this.window.detach(page)
    }
  }

  #attach(request: ForeignMapRequest, frames: readonly number[], results: readonly number[]): void {
    const writable = request.writable || this.#has('ignores writable')
    const seen = new Set<number>()
    for (const [index, frame] of frames.entries()) {
      const cut = this.#has('cuts frames to 32 bits') ? frame % 2 ** 32 : frame
      const memory = this.pages.get(cut)
      if (memory === undefined || results[index] !== 0) continue
      if (this.#has('drops the last page') && index > 0 && index === frames.length - 1) continue
      if (this.#has('maps duplicates once') && seen.has(frame)) continue
      if (this.#has('one mapping per frame')) {
        for (const place of this.window.placesOf(memory)) this.window.detach(place)
      }
      seen.add(frame)
      const copied = this.#has('maps zeros') ? new Uint8Array(4096) : memory.slice()
      const own = this.#has('maps zeros') || this.#has('copies the frame')
      this.window.attach(request.windowPage + index, own ? copied : memory, writable)
    }
  }

  #report(errors: Int32Array, results: readonly number[]): void {
    for (const [index, result] of results.entries()) {
      if (result === 0 && this.#has('keeps old errors')) continue
      errors[index] = this.#has('errors are negative') ? -result : result
    }
    if (this.#has('fills all errors')) errors.fill(0, results.length)
  }
}

/** A provider of the contract over a {@link DoubleForeignMemory}. */
export function foreignProvider(...faults: readonly ForeignFault[]): ForeignMemoryProvider {
  const memory = new DoubleForeignMemory(faults)
  const page = (frame: GuestFrame): Uint8Array => {
    memory.window.synchronise()
    const bytes = memory.pages.get(frame)
    if (bytes === undefined) throw new Error(`the guest has no frame ${frame}`)
    return bytes
  }
  return {
    memory,
    window: memory.window,
    domain: domainId(DOMAIN),
    ownDomain: domainId(OWN),
    absentDomain: domainId(77),
    frames: { first: guestFrame(FIRST), count: 16 },
    hole: guestFrame(0x10),
    border: guestFrame(FIRST + COUNT - 1),
    guest: {
      read: (frame, offset, length) => page(frame).slice(offset, offset + length),
      write: (frame, offset, bytes) => page(frame).set(bytes, offset),
    },
    capabilities: {
      paging: {
        pageOut: (frame) => {
          memory.pagedOut.add(frame)
        },
        pageIn: (frame) => memory.pageIn(frame),
      },
      protection: { of: (windowPage) => memory.window.protectionOf(windowPage) },
      accounting: { liveMappings: () => memory.liveMappings },
      death: {
        destroy: () => {
          memory.alive = false
        },
      },
    },
    close() {
      memory.pages.clear()
    },
  }
}

function listOf(pages: Pages<GuestFrame>): readonly number[] {
  if (isPageList(pages)) return [...pages]
  return Array.from({ length: pages.count }, (_, index) => pages.first + index)
}

function failure(errno: number): SystemCallError {
  return new SystemCallError('foreign map', errno, 'refused by the double')
}
