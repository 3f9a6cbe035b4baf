import { constants } from 'node:os'
import {
  checkTarget,
  errorAfterReset,
  resetUnlessClosed,
  WindowMappings,
  whileHeld,
} from '@xmc/hostmem'
import {
  ClosedError,
  countPages,
  type DomainId,
  type ForeignMapRequest,
  type GuestFrame,
  guestFrame,
  InvalidArgumentError,
  isPageList,
  type Pages,
  SystemCallError,
  type TargetWindow,
  type WindowPage,
} from '@xmc/interface'
import type { MappingReport } from './accounting.ts'
import type { InjectedFault } from './faults.ts'
import type { MappedDomain, Parts } from './internal/parts.ts'
import {
  errnoOfError,
  injectedError,
  mapMachinePages,
  portCall,
  resetMissing,
  resetPages,
  retryPagedOut,
} from './internal/port-call.ts'
import { rangesOf } from './internal/ranges.ts'
import type { Hold } from './machine-memory.ts'

interface ForeignMapping {
  readonly window: TargetWindow
  readonly windowPage: WindowPage
  readonly pageCount: number
  readonly domain: MappedDomain
  readonly hold: Hold
  readonly report: MappingReport
}

const { EINVAL, ENOENT, ESRCH } = constants.errno

/**
 * A domain's access to the memory of others, as one open of `/dev/xen/privcmd` gives it.
 * Made by `Hypervisor.foreignMemory`; meets the port `ForeignMemory` of `@xmc/foreign`.
 *
 * One request is one mapping, holes or not: a later map or unmap covers it wholly or not at all.
 */
export class ForeignDevice {
  /** Name of the device in reports. */
  readonly name: string
  /** The domain that maps. */
  readonly caller: DomainId
  readonly #parts: Parts
  readonly #mappings = new WindowMappings<ForeignMapping>()
  #closed = false

  constructor(parts: Parts, caller: DomainId, name: string) {
    this.#parts = parts
    this.caller = caller
    this.name = name
    parts.devices.add(this)
  }

  /**
   * Maps frames in one attempt, over whatever the target held. With `errors`, the call returns even if
   * every frame is bad: `EINVAL` for a hole and for every frame of a domain that is dying, `ENOENT` for a
   * frame that is paged out.
   *
   * @throws SystemCallError `ERR_XMC_SYSTEM_CALL`: `ESRCH` for the caller's own domain or one that does not
   * exist (Xen gives this errno for each frame, and `errors` holds it); the errno of the first bad frame when there is no `errors`; `EINVAL` for no frames, or (nothing is
   * changed then) for a target that covers a part of a mapping. After any other error anonymous pages are
   * in the target
   * @throws FailedPageTouchedError `ERR_XMC_FAILED_PAGE_TOUCHED` when somebody stored to a page of the target
   * that an earlier map said has failed
   * @throws InvalidArgumentError `ERR_XMC_ARGUMENT` for a target outside the window, `errors` too short, or a
   * frame that is none, as those after the last are; nothing is changed
   * @throws ClosedError `ERR_XMC_CLOSED`
   */
  map(request: ForeignMapRequest): void {
    this.#check(request)
    const { domain, frames, windowPage, writable } = request
    const pageCount = countPages(frames)
    const call = {
      site: 'foreign.map',
      device: this.name,
      domain,
      pages: frames,
      pageCount,
      windowPage,
      writable,
    } as const
    portCall(this.#parts, call, (fault) => this.#map(request, pageCount, fault))
  }

  /**
   * As `map`, in a later turn of the event loop, and again by timers while a frame is paged out, as the
   * hypervisor's option `pagingRetry` says. A frame that stays paged out gets `ENOENT`. Each attempt is a
   * call of its own; between two of them the target holds anonymous pages.
   */
  async mapAsync(request: ForeignMapRequest): Promise<void> {
    const attempts = (): Promise<void> =>
      retryPagedOut(this.#parts.pagingRetry, (last) => {
        try {
          this.map(request)
        } catch (error) {
          if (last || errnoOfError(error) !== ENOENT) throw error
          return false
        }
        if (last || !someArePagedOut(request)) return true
        this.#drop(request.window, request.windowPage, countPages(request.frames))
        return false
      })
    await whileHeld(request.window, attempts)
  }

  /**
   * Removes every mapping in `pageCount` pages from `windowPage` on and puts anonymous pages there.
   *
   * @throws SystemCallError `ERR_XMC_SYSTEM_CALL`: `EINVAL` for a range that covers a part of a mapping, or
   * no pages; nothing is changed
   * @throws FailedPageTouchedError `ERR_XMC_FAILED_PAGE_TOUCHED` when somebody stored to a page of the range
   * that failed to map; everything is removed all the same
   * @throws InvalidArgumentError `ERR_XMC_ARGUMENT` for a range outside the window
   * @throws ClosedError `ERR_XMC_CLOSED`
   */
  unmap(window: TargetWindow, windowPage: WindowPage, pageCount: number): void {
    this.#requireOpen()
    checkTarget(window, windowPage, pageCount)
    const { failedPages } = this.#parts
    const touched = failedPages.touchedIn(window, windowPage, pageCount)
    const call = { site: 'foreign.unmap', device: this.name, pageCount, windowPage } as const
    portCall(this.#parts, call, (fault) => {
      if (fault !== undefined) throw injectedError('munmap', fault)
      if (!(pageCount >= 1)) throw new SystemCallError('munmap', EINVAL, 'no pages')
      const covered = this.#coveredBy('munmap', window, windowPage, pageCount)
      resetPages(this.#parts, window, windowPage, pageCount)
      for (const mapping of covered) this.#forget(mapping)
      failedPages.forget(window, windowPage, pageCount)
      return 0
    })
    failedPages.found(touched)
  }

  /**
   * Removes every mapping and refuses further calls. A second call does nothing.
   *
   * @throws FailedPageTouchedError `ERR_XMC_FAILED_PAGE_TOUCHED` when somebody stored to a page that failed to
   * map; the device is closed all the same
   */
  close(): void {
    this.#closed = true
    this.#parts.devices.delete(this)
    const touched = this.#parts.failedPages.takeAll(this)
    for (const mapping of this.#mappings.all()) {
      resetUnlessClosed(mapping)
      this.#forget(mapping)
    }
    this.#parts.failedPages.found(touched)
  }

  /** The same as {@link ForeignDevice.close}. */
  [Symbol.dispose](): void {
    this.close()
  }

  #check(request: ForeignMapRequest): void {
    this.#requireOpen()
    const pageCount = countPages(request.frames)
    checkTarget(request.window, request.windowPage, pageCount)
    if (request.errors !== undefined && request.errors.length < pageCount) {
      throw new InvalidArgumentError('errors', `${pageCount} elements`, request.errors.length)
    }
    const { frames } = request
    if (isPageList(frames)) for (const frame of frames) guestFrame(frame)
    else if (pageCount >= 1) {
      guestFrame(frames.first)
      guestFrame(frames.first + pageCount - 1)
    }
  }

  #map(request: ForeignMapRequest, pageCount: number, fault: InjectedFault | undefined): number {
    const { window, windowPage, frames, writable } = request
    if (pageCount < 1) throw new SystemCallError('foreign map', EINVAL, 'no frames')
    const covered = this.#coveredBy('foreign map', window, windowPage, pageCount)
    try {
      this.#parts.failedPages.settle(window, windowPage, pageCount)
      if (fault !== undefined && fault.pages === undefined)
        throw injectedError('foreign map', fault)
      const machines = new Float64Array(pageCount).fill(-1)
      const errors = request.errors ?? new Int32Array(pageCount)
      const domain = this.#mappedDomain(request, errors)
      if (domain.isDying) errors.fill(EINVAL, 0, pageCount)
      else lookUp(domain, frames, machines, errors)
      for (const page of fault?.pages ?? []) {
        machines[page] = -1
        errors[page] = fault?.errno ?? EINVAL
      }
      const failed = countErrors(errors, pageCount)
      if (failed > 0 && request.errors === undefined) throw firstError(request, errors)
      mapMachinePages(this.#parts, window, windowPage, machines, writable)
      resetMissing(window, windowPage, machines)
      for (const mapping of covered) this.#forget(mapping)
      if (failed < pageCount) {
        const hold = domain.hold(rangesOf(machines))
        const report = this.#parts.accounting.added({
          kind: 'foreign',
          device: this.name,
          mapper: this.caller,
          domain: request.domain,
          pages: frames,
          window,
          windowPage,
          pageCount,
          mappedPages: pageCount - failed,
          writable,
        })
        this.#mappings.add({ window, windowPage, pageCount, domain, hold, report }, machines)
      }
      if (failed > 0) this.#noteFailed(request, errors, pageCount)
      return failed
    } catch (error) {
      for (const mapping of covered) this.#forget(mapping)
      throw errorAfterReset(error, window, windowPage, pageCount)
    }
  }

  /** The domain whose frames are to be mapped. */
  #mappedDomain(request: ForeignMapRequest, errors: Int32Array): MappedDomain {
    const domain = this.#parts.domain(request.domain)
    if (domain !== undefined && domain.id !== this.caller) return domain
    errors.fill(ESRCH, 0, countPages(request.frames))
    const state = domain === undefined ? 'does not exist' : 'is the caller’s'
    throw new SystemCallError('foreign map', ESRCH, `domain ${request.domain} ${state}`)
  }

  /** The mappings in a range. @throws SystemCallError `EINVAL` when the range would split one */
  #coveredBy(
    call: string,
    window: TargetWindow,
    windowPage: WindowPage,
    pageCount: number,
  ): ForeignMapping[] {
    const covered = this.#mappings.inRange(window, windowPage, pageCount)
    for (const [mapping, pages] of covered) {
      if (pages === mapping.report.mappedPages) continue
      const detail = `${pageCount} pages at window page ${windowPage} cover a part of the mapping of ${mapping.pageCount} pages at ${mapping.windowPage}: a foreign mapping cannot be split`
      throw new SystemCallError(call, EINVAL, detail)
    }
    return [...covered.keys()]
  }

  #noteFailed(request: ForeignMapRequest, errors: Int32Array, pageCount: number): void {
    const { domain, frames, window, windowPage } = request
    for (let i = 0; i < pageCount; i++) {
      const frame = isPageList(frames) ? frames[i] : guestFrame(frames.first + i)
      const errno = errors[i] ?? 0
      if (errno === 0 || frame === undefined) continue
      this.#parts.failedPages.add(window, windowPage + i, { device: this, domain, frame, errno })
    }
  }

  /** Takes back an attempt that is going to be repeated. */
  #drop(window: TargetWindow, windowPage: WindowPage, pageCount: number): void {
    const covered = this.#coveredBy('munmap', window, windowPage, pageCount)
    this.#parts.failedPages.forget(window, windowPage, pageCount)
    window.reset(windowPage, pageCount)
    for (const mapping of covered) this.#forget(mapping)
  }

  #forget(mapping: ForeignMapping): void {
    this.#mappings.remove(mapping)
    mapping.domain.release(mapping.hold)
    this.#parts.accounting.removed(mapping.report)
  }

  #requireOpen(): void {
    if (this.#closed) throw new ClosedError(`foreign memory device ${this.name}`)
  }
}

function lookUp(
  domain: MappedDomain,
  frames: Pages<GuestFrame>,
  machines: Float64Array,
  errors: Int32Array,
): void {
  const { p2m } = domain
  const list = isPageList(frames)
  if (!list) p2m.resolve(frames.first, frames.count, machines)
  for (let i = 0; i < machines.length; i++) {
    errors[i] = 0
    const frame = list ? (frames[i] ?? -1) : frames.first + i
    if (list) machines[i] = p2m.machineOf(frame)
    if ((machines[i] ?? -1) < 0) errors[i] = EINVAL
    else if (p2m.isPagedOut(frame)) {
      machines[i] = -1
      errors[i] = ENOENT
    }
  }
}

function countErrors(errors: Int32Array, pageCount: number): number {
  let count = 0
  for (let i = 0; i < pageCount; i++) if (errors[i] !== 0) count++
  return count
}

function firstError(request: ForeignMapRequest, errors: Int32Array): SystemCallError {
  const errno = errors.find((error) => error !== 0) ?? EINVAL
  const detail = (): string =>
    `${countPages(request.frames)} frames of domain ${request.domain}, and no errors array`
  return new SystemCallError('foreign map', errno, detail)
}

function someArePagedOut({ frames, errors }: ForeignMapRequest): boolean {
  return errors?.subarray(0, countPages(frames)).includes(ENOENT) ?? false
}
