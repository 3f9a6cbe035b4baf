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
  GRANT_STATUS,
  type GrantCopySegment,
  type GrantMapRequest,
  grantReference,
  InvalidArgumentError,
  isPageList,
  MAX_REFERENCES_PER_MAP,
  PAGE_SIZE,
  SystemCallError,
  type TargetWindow,
  type UnmapNotify,
  type WindowPage,
} from '@xmc/interface'
import type { MappingReport } from './accounting.ts'
import type { InjectedFault } from './faults.ts'
import { GRANT_MAP_FLAGS, type GrantCopyEnd } from './grant-table.ts'
import type { MappedDomain, Parts } from './internal/parts.ts'
import {
  errnoOfError,
  injectedError,
  laterTurn,
  mapMachinePages,
  portCall,
  resetPages,
  retryPagedOut,
} from './internal/port-call.ts'
import { rangesOf } from './internal/ranges.ts'
import type { Hold } from './machine-memory.ts'

interface PinnedPage {
  readonly handle: number
  readonly address: number
}

interface GrantMapping {
  readonly window: TargetWindow
  readonly windowPage: WindowPage
  readonly pageCount: number
  readonly writable: boolean
  readonly domain: MappedDomain
  readonly pins: readonly PinnedPage[]
  readonly firstMachinePage: number
  readonly hold: Hold
  report: MappingReport
  notify: UnmapNotify
}

const { EAGAIN, EINVAL, ENOENT } = constants.errno

const MAXIMUM_UINT16 = 0xffff

/**
 * A domain's access to pages that others granted it, as one open of `/dev/xen/gntdev` gives it.
 * Made by `Hypervisor.grantTable`; meets the port `GrantTable` of `@xmc/grants`.
 *
 * As in a translated kernel (HVM, PVH, Arm), the pins of a mapping last until `unmap` or `close`, whatever
 * the window shows by then.
 */
export class GrantDevice {
  /** Name of the device in reports. */
  readonly name: string
  /** The domain that maps. */
  readonly caller: DomainId
  readonly #parts: Parts
  readonly #placed = new WindowMappings<GrantMapping>()
  /** Mappings whose place another one has taken. */
  readonly #displaced = new Set<GrantMapping>()
  #closed = false

  constructor(parts: Parts, caller: DomainId, name: string) {
    this.#parts = parts
    this.caller = caller
    this.name = name
    parts.devices.add(this)
  }

  /**
   * Maps references in one attempt, all or none; after an error anonymous pages are in the target. A
   * live mapping in the target is displaced: it keeps its pins until `close`.
   *
   * @throws SystemCallError `ERR_XMC_SYSTEM_CALL`: `EINVAL` for no references or more than 65,536, and for
   * every refusal of Xen's, without saying which or why; `EAGAIN` when nothing else is wrong than a
   * page that is paged out
   * @throws FailedPageTouchedError `ERR_XMC_FAILED_PAGE_TOUCHED` when somebody stored to a page of the target
   * that a foreign map said has failed
   * @throws InvalidArgumentError `ERR_XMC_ARGUMENT` for a target outside the window, or a reference that is
   * none, as those after the last are; nothing is changed
   * @throws ClosedError `ERR_XMC_CLOSED`
   */
  map(request: GrantMapRequest): void {
    this.#requireOpen()
    const { domain, references, window, windowPage, writable } = request
    const pageCount = countPages(references)
    checkTarget(window, windowPage, pageCount)
    if (isPageList(references)) for (const reference of references) grantReference(reference)
    else if (pageCount >= 1) {
      grantReference(references.first)
      grantReference(references.first + pageCount - 1)
    }
    const call = {
      site: 'grant.map',
      device: this.name,
      domain,
      pages: references,
      pageCount,
      windowPage,
      writable,
    } as const
    portCall(this.#parts, call, (fault) => {
      this.#map(request, pageCount, fault)
      return 0
    })
  }

  /**
   * As `map`, in a later turn of the event loop, and again by timers while a page is paged out, as the
   * hypervisor's option `pagingRetry` says; then it is a bad page (`EINVAL`). Each attempt is a call of
   * its own.
   */
  async mapAsync(request: GrantMapRequest): Promise<void> {
    const attempts = (): Promise<void> =>
      retryPagedOut(this.#parts.pagingRetry, (last) => {
        try {
          this.map(request)
          return true
        } catch (error) {
          if (errnoOfError(error) !== EAGAIN) throw error
          if (last) throw refusedMap(request, EINVAL, error)
          return false
        }
      })
    await whileHeld(request.window, attempts)
  }

  /**
   * Removes one mapping and its pins, puts anonymous pages in its place, and does what
   * `setUnmapNotify` arranged.
   *
   * @throws SystemCallError `ERR_XMC_SYSTEM_CALL`: `EINVAL` for another start or count than the mapping's, also
   * when it was unmapped before; the mapping stays
   * @throws ClosedError `ERR_XMC_CLOSED`
   */
  unmap(window: TargetWindow, windowPage: WindowPage, pageCount: number): void {
    this.#requireOpen()
    const call = { site: 'grant.unmap', device: this.name, pageCount, windowPage } as const
    portCall(this.#parts, call, (fault) => {
      if (fault !== undefined) throw injectedError('grant unmap', fault)
      const mapping = this.#placed.at(window, windowPage)
      if (mapping?.windowPage !== windowPage || mapping.pageCount !== pageCount) {
        const detail = `no mapping of ${pageCount} pages starts at window page ${windowPage}`
        throw new SystemCallError('grant unmap', EINVAL, detail)
      }
      resetPages(this.#parts, window, windowPage, pageCount)
      this.#placed.remove(mapping)
      this.#release(mapping)
      return 0
    })
  }

  /** As `unmap`, in a later turn of the event loop. */
  async unmapAsync(window: TargetWindow, windowPage: WindowPage, pageCount: number): Promise<void> {
    await whileHeld(window, laterTurn)
    this.unmap(window, windowPage, pageCount)
  }

  /**
   * Arranges what happens when the mapping that starts at `windowPage` goes, by `unmap` or `close`: the
   * byte of its first page is cleared, then it is unmapped, then the event channel is signalled. The
   * last call counts; `{}` arranges nothing.
   *
   * @throws SystemCallError `ERR_XMC_SYSTEM_CALL`: `ENOENT` when no mapping starts there, `EINVAL` for a byte of
   * a read-only mapping or a port that is not open
   * @throws InvalidArgumentError `ERR_XMC_ARGUMENT` for a `clearByte` outside the page
   * @throws ClosedError `ERR_XMC_CLOSED`
   */
  setUnmapNotify(window: TargetWindow, windowPage: WindowPage, notify: UnmapNotify): void {
    this.#requireOpen()
    const { clearByte, eventChannel } = notify
    if (clearByte !== undefined && (clearByte & 0xfff) !== clearByte) {
      throw new InvalidArgumentError('clearByte', 'an integer from 0 to 4095', clearByte)
    }
    const call = { site: 'grant.notify', device: this.name, pageCount: 1, windowPage } as const
    portCall(this.#parts, call, (fault) => {
      if (fault !== undefined) throw injectedError('grant unmap notify', fault)
      const mapping = this.#placed.at(window, windowPage)
      if (mapping?.windowPage !== windowPage) {
        throw refusedNotify(ENOENT, `no mapping starts at window page ${windowPage}`)
      }
      if (clearByte !== undefined && !mapping.writable) {
        throw refusedNotify(EINVAL, 'a byte of a read-only mapping cannot be cleared')
      }
      if (eventChannel !== undefined && !this.#parts.isBound(this.caller, eventChannel)) {
        throw refusedNotify(EINVAL, `port ${eventChannel} is not open`)
      }
      mapping.notify = { clearByte, eventChannel }
      return 0
    })
  }

  /**
   * Copies each segment and returns a GNTST status for each, 0 or negative. A refused segment moves
   * nothing; the others are still done.
   *
   * @throws InvalidArgumentError `ERR_XMC_ARGUMENT` for an offset or a length that has not 16 bits;
   * nothing was copied
   * @throws ClosedError `ERR_XMC_CLOSED`
   */
  copy(segments: readonly GrantCopySegment[]): Int16Array {
    this.#requireOpen()
    for (const segment of segments) checkSegment(segment)
    const statuses = new Int16Array(segments.length)
    const call = { site: 'grant.copy', device: this.name, pageCount: segments.length } as const
    portCall(this.#parts, call, (fault) => {
      if (fault !== undefined && fault.pages === undefined) throw injectedError('grant copy', fault)
      const faulty = new Set(fault?.pages)
      let failed = 0
      for (const [i, segment] of segments.entries()) {
        const status = faulty.has(i) ? (fault?.status ?? 0) : this.#copySegment(segment)
        statuses[i] = status
        if (status !== 0) failed++
      }
      return failed
    })
    return statuses
  }

  /**
   * Removes every mapping with its pins, as closing `/dev/xen/gntdev` does, and refuses further calls.
   * A second call does nothing.
   */
  close(): void {
    this.#closed = true
    this.#parts.devices.delete(this)
    for (const mapping of this.#placed.all()) {
      resetUnlessClosed(mapping)
      this.#placed.remove(mapping)
      this.#release(mapping)
    }
    for (const mapping of this.#displaced) this.#release(mapping)
    this.#displaced.clear()
  }

  /** The same as {@link GrantDevice.close}. */
  [Symbol.dispose](): void {
    this.close()
  }

  #map(request: GrantMapRequest, pageCount: number, fault: InjectedFault | undefined): void {
    const { window, windowPage, references, writable } = request
    if (pageCount < 1) throw refusedMap(request, EINVAL)
    this.#displace(window, windowPage, pageCount)
    const machines = new Float64Array(pageCount)
    const pins: PinnedPage[] = []
    try {
      this.#parts.failedPages.settle(window, windowPage, pageCount)
      if (fault !== undefined) throw injectedError('grant map', fault)
      if (pageCount > MAX_REFERENCES_PER_MAP) throw refusedMap(request, EINVAL)
      this.#pin(request, machines, pins)
      mapMachinePages(this.#parts, window, windowPage, machines, writable)
    } catch (error) {
      this.#unpin(pins)
      throw errorAfterReset(error, window, windowPage, pageCount)
    }
    const domain = this.#parts.domain(request.domain)
    if (domain === undefined) throw refusedMap(request, EINVAL)
    const mapping: GrantMapping = {
      window,
      windowPage,
      pageCount,
      writable,
      domain,
      pins,
      firstMachinePage: machines[0] ?? 0,
      hold: domain.hold(rangesOf(machines)),
      report: this.#parts.accounting.added({
        kind: 'grant',
        device: this.name,
        mapper: this.caller,
        domain: request.domain,
        pages: references,
        window,
        windowPage,
        pageCount,
        mappedPages: pageCount,
        writable,
      }),
      notify: {},
    }
    this.#placed.add(mapping, machines)
  }

  /** Maps each reference at the hypervisor. As the batch hypercall does, it goes on after a refusal. */
  #pin(request: GrantMapRequest, machines: Float64Array, pins: PinnedPage[]): void {
    const { domain, references, writable } = request
    const flags = GRANT_MAP_FLAGS.host_map | (writable ? 0 : GRANT_MAP_FLAGS.readonly)
    let refused = false
    let pagedOut = false
    for (let i = 0; i < machines.length; i++) {
      const reference = isPageList(references)
        ? references[i]
        : grantReference(references.first + i)
      if (reference === undefined) throw refusedMap(request, EINVAL)
      const address = this.#parts.nextAddress()
      const result = this.#parts.grantTables.map({
        mapper: this.caller,
        granter: domain,
        reference,
        flags,
        address,
      })
      if (result.status === GRANT_STATUS.okay) {
        pins.push({ handle: result.handle, address })
        machines[i] = result.machinePage
      } else if (result.status === GRANT_STATUS.eagain) pagedOut = true
      else refused = true
    }
    if (refused) throw refusedMap(request, EINVAL)
    if (pagedOut) throw refusedMap(request, EAGAIN)
  }

  #unpin(pins: readonly PinnedPage[]): void {
    for (const { handle, address } of pins) {
      const status = this.#parts.grantTables.unmap({ mapper: this.caller, handle, address })
      if (status !== GRANT_STATUS.okay) {
        throw new SystemCallError('grant unmap', EINVAL, `handle ${handle} was refused: ${status}`)
      }
    }
  }

  #copySegment(segment: GrantCopySegment): number {
    const { domain, reference, offset, bytes, direction } = segment
    // gntdev looks at the range before Xen looks at the grant.
    if (offset + bytes.length > PAGE_SIZE) return GRANT_STATUS.bad_copy_arg
    const granted: GrantCopyEnd = { domain, reference, offset }
    const local: GrantCopyEnd = { bytes, offset: 0 }
    const [source, target] = direction === 'from-grant' ? [granted, local] : [local, granted]
    const { length } = bytes
    return this.#parts.grantTables.copy({ caller: this.caller, source, target, length })
  }

  #displace(window: TargetWindow, windowPage: WindowPage, pageCount: number): void {
    for (const mapping of this.#placed.inRange(window, windowPage, pageCount).keys()) {
      this.#placed.remove(mapping)
      this.#displaced.add(mapping)
      mapping.report = this.#parts.accounting.displaced(mapping.report)
    }
  }

  /** Gives up the pins of a mapping that the window does not show any more. */
  #release(mapping: GrantMapping): void {
    const { clearByte, eventChannel } = mapping.notify
    if (clearByte !== undefined) {
      this.#parts.machine.bytesOf(mapping.firstMachinePage)[clearByte] = 0
    }
    this.#unpin(mapping.pins)
    mapping.domain.release(mapping.hold)
    this.#parts.accounting.removed(mapping.report)
    // The port may have been closed since: the kernel ignores that, too.
    if (eventChannel !== undefined && this.#parts.isBound(this.caller, eventChannel)) {
      this.#parts.notify(this.caller, eventChannel)
    }
  }

  #requireOpen(): void {
    if (this.#closed) throw new ClosedError(`grant device ${this.name}`)
  }
}

function refusedMap(request: GrantMapRequest, errno: number, cause?: unknown): SystemCallError {
  const { domain, references, writable } = request
  const detail = (): string => {
    if (errno === EAGAIN) {
      return `a page of domain ${domain} is paged out: use the asynchronous form, which waits for it`
    }
    const access = writable ? 'writable' : 'read-only'
    return `${countPages(references)} references of domain ${domain}, ${access}; gntdev does not say which or why: not granted to this domain, not granted for writing, beyond the table, 128 mappings of one already, no map-track left, no such domain, or not 1 to ${MAX_REFERENCES_PER_MAP} references`
  }
  return new SystemCallError('grant map', errno, detail, { cause })
}

function refusedNotify(errno: number, detail: string): SystemCallError {
  return new SystemCallError('grant unmap notify', errno, detail)
}

function checkSegment({ offset, bytes }: GrantCopySegment): void {
  if ((offset & MAXIMUM_UINT16) !== offset) {
    throw new InvalidArgumentError('offset', 'an integer from 0 to 4095', offset)
  }
  if (bytes.length > MAXIMUM_UINT16) {
    throw new InvalidArgumentError('bytes', 'at most 4096 bytes', bytes.length)
  }
}
