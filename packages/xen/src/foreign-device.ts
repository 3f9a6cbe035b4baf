import { constants } from 'node:os'
import {
  checkTarget,
  errorAfterReset,
  type PlacedMapping,
  resetUnlessClosed,
  WindowMappings,
  whileHeld,
} from '@xmc/hostmem'
import {
  ClosedError,
  countPages,
  domainId,
  errnoOf,
  type ForeignMapRequest,
  guestFrame,
  InvalidArgumentError,
  isPageList,
  SystemCallError,
  type TargetWindow,
  type WindowPage,
  windowPage,
} from '@xmc/interface'
import { XenCallError } from './errors.ts'
import { Device } from './internal/device.ts'
import { type PagingRetry, retryPagedOut } from './internal/paging-retry.ts'
import {
  MAP_BATCH,
  type MapBatch,
  mapBatchBytes,
  PRIVCMD_PATH,
  readErrors,
  writeMapBatch,
} from './internal/privcmd.ts'
import { goodRuns, type Run } from './internal/runs.ts'
import { Scratch } from './internal/scratch.ts'
import type { SystemCalls } from './internal/system-calls.ts'

interface ForeignMapping extends PlacedMapping {
  /** Pages that are mapped; the others of the mapping are holes. */
  readonly mappedPages: number
}

const { EINVAL, ENOENT, ESRCH } = constants.errno

/**
 * Access to the memory of other domains: one open of `/dev/xen/privcmd`. Made by
 * `Hypervisor.foreignMemory`; meets the port `ForeignMemory` of `@xmc/foreign`.
 *
 * One request is one mapping, holes or not: a later map or unmap covers it wholly or not at all. Frames
 * go through the kernel's batch call. It gives every frame an error of its own, and a page whose frame
 * failed must not be touched (SIGKILL or SIGBUS), nor can it be patched inside a mapping; so a request
 * with bad frames is mapped again run by run, with anonymous pages in between, before the call returns.
 *
 * # Limitations
 *
 * While a map is under way, another thread must not touch its target. Mappings are not inherited by
 * child processes.
 */
export class ForeignDevice {
  /** Name of the device in messages. */
  readonly name: string
  readonly #device: Device
  readonly #scratch: Scratch
  readonly #pagingRetry: PagingRetry
  readonly #mappings = new WindowMappings<ForeignMapping>()
  readonly #onClose: (device: ForeignDevice) => void

  /** @internal */
  constructor(
    calls: SystemCalls,
    name: string,
    pagingRetry: PagingRetry,
    onClose: (device: ForeignDevice) => void = () => {},
  ) {
    this.#device = new Device(calls, PRIVCMD_PATH)
    this.#scratch = new Scratch(calls)
    this.name = name
    this.#pagingRetry = pagingRetry
    this.#onClose = onClose
  }

  /**
   * Maps frames in one attempt, over whatever the target held. With `errors`, the call returns even if
   * every frame is bad: `EINVAL` for a hole and for every frame of a domain that is dying, `ENOENT` for a
   * frame that is paged out.
   *
   * @throws XenCallError `ERR_XMC_SYSTEM_CALL`: `ESRCH` for the caller's own domain or one that does not
   * exist; the errno of the first bad frame when there is no `errors`; `EINVAL` for no frames, or (nothing
   * is changed then) for a target that covers a part of a mapping; the kernel's errno when it refuses.
   * Otherwise anonymous pages are in the target
   * @throws InvalidArgumentError `ERR_XMC_ARGUMENT` for a target outside the window, `errors` too short, a
   * domain or a frame that is none; nothing is changed
   * @throws ClosedError `ERR_XMC_CLOSED`
   */
  map(request: ForeignMapRequest): void {
    const pageCount = this.#check(request)
    const { window, windowPage: first } = request
    if (pageCount < 1) throw refusedMap(request, EINVAL, 'no frames')
    const covered = this.#coveredBy('foreign map', window, first, pageCount)
    const statuses = new Int32Array(pageCount)
    try {
      this.#mapAll(request, statuses)
    } catch (error) {
      for (const mapping of covered) this.#mappings.remove(mapping)
      throw errorAfterReset(error, window, first, pageCount)
    }
    for (const mapping of covered) this.#mappings.remove(mapping)
    const { errors } = request
    if (errors !== undefined) {
      for (let i = 0; i < pageCount; i++) errors[i] = -(statuses[i] ?? 0)
    }
    const mappedPages = countMapped(statuses)
    if (mappedPages > 0) {
      this.#mappings.add({ window, windowPage: first, pageCount, mappedPages }, statuses)
    }
  }

  /**
   * As `map`, in a later turn of the event loop, and again by timers while a frame is paged out, as the
   * hypervisor's option `pagingRetry` says. A frame that stays paged out gets `ENOENT`. Between two
   * attempts the target holds anonymous pages.
   */
  async mapAsync(request: ForeignMapRequest): Promise<void> {
    const attempts = (): Promise<void> =>
      retryPagedOut(this.#pagingRetry, (last) => {
        try {
          this.map(request)
        } catch (error) {
          if (last || errnoOf(error) !== ENOENT) throw error
          return false
        }
        const pageCount = countPages(request.frames)
        if (last || request.errors?.subarray(0, pageCount).includes(ENOENT) !== true) return true
        this.unmap(request.window, request.windowPage, pageCount)
        return false
      })
    await whileHeld(request.window, attempts)
  }

  /**
   * Removes every mapping in `pageCount` pages from `windowPage` on and puts anonymous pages there.
   *
   * @throws XenCallError `ERR_XMC_SYSTEM_CALL`: `EINVAL` for a range that covers a part of a mapping, or
   * no pages; nothing is changed
   * @throws SystemCallError `ERR_XMC_SYSTEM_CALL` when the kernel refuses
   * @throws InvalidArgumentError `ERR_XMC_ARGUMENT` for a range outside the window
   * @throws ClosedError `ERR_XMC_CLOSED`
   */
  unmap(window: TargetWindow, first: WindowPage, pageCount: number): void {
    this.#requireOpen()
    checkTarget(window, first, pageCount)
    if (!(pageCount >= 1)) {
      throw new XenCallError({ operation: 'foreign unmap', pageCount, detail: 'no pages' }, EINVAL)
    }
    const covered = this.#coveredBy('foreign unmap', window, first, pageCount)
    window.reset(first, pageCount)
    for (const mapping of covered) this.#mappings.remove(mapping)
  }

  /** Pages that are mapped now, without holes. */
  get mappedPages(): number {
    return this.#mappings.all().reduce((sum, { mappedPages }) => sum + mappedPages, 0)
  }

  /** Removes every mapping and refuses further calls. A second call does nothing. */
  close(): void {
    if (this.#device.isClosed) return
    this.#onClose(this)
    try {
      for (const mapping of this.#mappings.all()) {
        resetUnlessClosed(mapping)
        this.#mappings.remove(mapping)
      }
    } finally {
      this.#device.close()
    }
  }

  /** The same as {@link ForeignDevice.close}. */
  [Symbol.dispose](): void {
    this.close()
  }

  #check(request: ForeignMapRequest): number {
    this.#requireOpen()
    const { domain, frames, window, windowPage: first, errors } = request
    const pageCount = countPages(frames)
    checkTarget(window, first, pageCount)
    if (errors !== undefined && errors.length < pageCount) {
      throw new InvalidArgumentError('errors', `${pageCount} elements`, errors.length)
    }
    domainId(domain)
    if (isPageList(frames)) for (const frame of frames) guestFrame(frame)
    else if (pageCount >= 1) {
      guestFrame(frames.first)
      guestFrame(frames.first + pageCount - 1)
    }
    return pageCount
  }

  /** Maps a request; `statuses` gets 0 or a negative errno for each frame, and the failed have anonymous pages. */
  #mapAll(request: ForeignMapRequest, statuses: Int32Array): void {
    const { window, errors } = request
    const runs: Run[] = [{ start: 0, count: statuses.length }]
    for (let run = runs.pop(); run !== undefined; run = runs.pop()) {
      if (this.#mapRun(request, run, statuses) === 0) continue
      const status = decisive(statuses, errors === undefined)
      if (status !== 0) {
        throw refusedMap(request, -status, errors === undefined ? 'and no errors array' : '')
      }
      // What was mapped goes too: it is one mapping, which cannot be patched.
      window.reset(windowPage(request.windowPage + run.start), run.count)
      runs.push(...goodRuns(statuses, run))
    }
  }

  /** Maps consecutive frames of a request as one mapping; returns how many failed. */
  #mapRun(request: ForeignMapRequest, { start, count }: Run, statuses: Int32Array): number {
    const { domain, window, frames, writable } = request
    const first = windowPage(request.windowPage + start)
    const hostAddress = window.hostAddress + first * 4096
    const batch: MapBatch = { domain, hostAddress, frames, start, count }
    const bytes = mapBatchBytes(count)
    const view = this.#scratch.take(bytes)
    writeMapBatch(view, this.#scratch.address, batch)
    try {
      window.map(first, count, this.#device.descriptor, 0, writable)
    } catch (error) {
      const errno = errnoOf(error)
      if (errno === undefined) throw error
      throw refusedMap(request, errno, 'no room for the mapping', error)
    }
    const result = this.#device.ioctl(MAP_BATCH, new Uint8Array(view.buffer, 0, bytes))
    // With ENOENT for the call, frames are paged out and the others are mapped.
    if (result < 0 && result !== -ENOENT) throw refusedMap(request, -result)
    return readErrors(view, batch, statuses)
  }

  /** The mappings in a range. @throws XenCallError `EINVAL` when the range would split one */
  #coveredBy(
    operation: 'foreign map' | 'foreign unmap',
    window: TargetWindow,
    first: WindowPage,
    pageCount: number,
  ): ForeignMapping[] {
    const covered = this.#mappings.inRange(window, first, pageCount)
    for (const [mapping, pages] of covered) {
      if (pages === mapping.mappedPages) continue
      const detail = `${pageCount} pages at window page ${first} cover a part of the mapping of ${mapping.pageCount} pages at ${mapping.windowPage}`
      throw new XenCallError({ operation, pageCount, detail }, EINVAL)
    }
    return [...covered.keys()]
  }

  #requireOpen(): void {
    if (this.#device.isClosed) throw new ClosedError(`foreign memory device ${this.name}`)
  }
}

/**
 * The status that fails a whole request, or 0: the first one when a single one does, else the one that
 * says there is no such domain, which no frame can do anything about.
 */
function decisive(statuses: Int32Array, single: boolean): number {
  if (statuses.includes(-ESRCH)) return -ESRCH
  return single ? (statuses.find((status) => status !== 0) ?? 0) : 0
}

function countMapped(statuses: Int32Array): number {
  let count = 0
  for (const status of statuses) if (status === 0) count++
  return count
}

function refusedMap(
  { domain, frames, writable }: ForeignMapRequest,
  errno: number,
  addition = '',
  cause?: unknown,
): SystemCallError {
  const pageCount = countPages(frames)
  const firstPage = isPageList(frames) ? frames[0] : frames.first
  const from = firstPage === undefined ? '' : ` from frame 0x${firstPage.toString(16)}`
  const access = writable ? 'writable' : 'read-only'
  const detail = `${pageCount} frames of domain ${domain}${from}, ${access}${addition === '' ? '' : `, ${addition}`}`
  const call = { operation: 'foreign map', domain, firstPage, pageCount, detail } as const
  return new XenCallError(call, errno, { cause })
}
