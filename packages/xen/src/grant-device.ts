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
  domainId,
  errnoOf,
  type GrantCopySegment,
  type GrantMapRequest,
  grantReference,
  InvalidArgumentError,
  isPageList,
  MAX_REFERENCES_PER_MAP,
  PAGE_SIZE,
  type SystemCallError,
  type TargetWindow,
  type UnmapNotify,
  type WindowPage,
} from '@xmc/interface'
import { XenCallError } from './errors.ts'
import { Device } from './internal/device.ts'
import {
  bytesOfSegment,
  GNTDEV_PATH,
  GRANT_COPY,
  GRANT_COPY_BYTES,
  indexOf,
  MAP_GRANT_REFERENCES,
  mapGrantReferences,
  SEGMENTS_PER_COPY,
  SET_UNMAP_NOTIFY,
  setUnmapNotify,
  statusOfSegment,
  UNMAP_GRANT_REFERENCES,
  unmapGrantReferences,
  writeGrantCopy,
} from './internal/gntdev.ts'
import { Scratch } from './internal/scratch.ts'
import type { SystemCalls } from './internal/system-calls.ts'

interface GrantMapping {
  readonly window: TargetWindow
  readonly windowPage: WindowPage
  readonly pageCount: number
  readonly writable: boolean
  readonly domain: DomainId
  /** Where the kernel keeps the references: an offset of the device. */
  readonly index: number
}

const { EINVAL, ENOENT } = constants.errno

/** References that the asynchronous form announces on its own thread: fewer are quicker than another thread. */
const ANNOUNCED_AT_ONCE = 256

const MAXIMUM_UINT16 = 0xffff

/** `GNTST_bad_copy_arg`: the copy goes over the end of a page. */
const BAD_COPY_ARGUMENT = -10

/**
 * Access to pages that other domains granted: one open of `/dev/xen/gntdev`. Made by
 * `Hypervisor.grantTable`; meets the port `GrantTable` of `@xmc/grants`.
 *
 * The pins of a mapping last until `unmap` or `close`, whatever the window shows by then. When the
 * process ends, however it does, the kernel unmaps everything and does what `setUnmapNotify` arranged.
 *
 * # Limitations
 *
 * Never make a read-only mapping writable by mprotect: the store would spin in the kernel for ever.
 * Mappings are not inherited by child processes.
 */
export class GrantDevice {
  /** Name of the device in messages. */
  readonly name: string
  readonly #device: Device
  readonly #scratch: Scratch
  readonly #placed = new WindowMappings<GrantMapping>()
  /** Mappings whose place another one has taken, and those that the kernel would not unmap. */
  readonly #displaced = new Set<GrantMapping>()
  readonly #onClose: (device: GrantDevice) => void

  /** @internal */
  constructor(calls: SystemCalls, name: string, onClose: (device: GrantDevice) => void = () => {}) {
    this.#device = new Device(calls, GNTDEV_PATH)
    this.#scratch = new Scratch(calls)
    this.name = name
    this.#onClose = onClose
  }

  /**
   * Maps references in one attempt, all or none; after an error anonymous pages are in the target. A
   * live mapping in the target is displaced: it keeps its pins until `close`.
   *
   * May block for about half a minute where a page is paged out: the kernel waits for it.
   *
   * @throws XenCallError `ERR_XMC_SYSTEM_CALL`: `EINVAL` for no references or more than 65,536, and for
   * every refusal of Xen's, without saying which or why; `ENOMEM` where memory or memory areas run out
   * @throws InvalidArgumentError `ERR_XMC_ARGUMENT` for a target outside the window, or a domain or reference
   * that is none; nothing is changed
   * @throws ClosedError `ERR_XMC_CLOSED`
   */
  map(request: GrantMapRequest): void {
    const { window, windowPage, writable } = request
    const pageCount = this.#prepare(request)
    let index: number | undefined
    try {
      index = this.#announce(request, pageCount)
      window.map(windowPage, pageCount, this.#device.descriptor, index, writable)
      this.#keepFromChildren(request, pageCount)
    } catch (error) {
      throw this.#refuse(request, pageCount, index, error)
    }
    this.#place(request, pageCount, index)
  }

  /**
   * As `map`, on another thread. A page fault of this thread waits until the call comes back, as the kernel
   * has it, so a page that is paged out can still hold the event loop up.
   */
  async mapAsync(request: GrantMapRequest): Promise<void> {
    const { window, windowPage, writable } = request
    const pageCount = this.#prepare(request)
    const call = async (descriptor: number): Promise<void> => {
      let index: number | undefined
      try {
        index = await this.#announceAsync(request, pageCount, descriptor)
        if (window.mapAsync === undefined) {
          window.map(windowPage, pageCount, descriptor, index, writable)
        } else {
          await window.mapAsync(windowPage, pageCount, descriptor, index, writable)
        }
        this.#requireOpen()
        this.#keepFromChildren(request, pageCount)
      } catch (error) {
        throw this.#refuse(request, pageCount, index, error, descriptor)
      }
      this.#place(request, pageCount, index)
    }
    await whileHeld(window, () => this.#device.during(call))
  }

  /**
   * Removes one mapping and its pins, puts anonymous pages in its place, and does what
   * `setUnmapNotify` arranged.
   *
   * @throws XenCallError `ERR_XMC_SYSTEM_CALL`: `EINVAL` for another start or count than the mapping's, also
   * when it was unmapped before: the mapping stays. Another errno when the kernel keeps the pins, which
   * then last until `close`; the window shows anonymous pages
   * @throws SystemCallError `ERR_XMC_SYSTEM_CALL` when the pages cannot be replaced: the mapping stays
   * @throws ClosedError `ERR_XMC_CLOSED`
   */
  unmap(window: TargetWindow, windowPage: WindowPage, pageCount: number): void {
    const mapping = this.#take(window, windowPage, pageCount)
    const argument = unmapGrantReferences(mapping.index, pageCount)
    this.#unmapped(mapping, this.#device.ioctl(UNMAP_GRANT_REFERENCES, argument))
  }

  /** As `unmap`, on another thread. The place is free when the promise settles. */
  async unmapAsync(window: TargetWindow, windowPage: WindowPage, pageCount: number): Promise<void> {
    const mapping = this.#take(window, windowPage, pageCount)
    const argument = unmapGrantReferences(mapping.index, pageCount)
    const { calls } = this.#device
    const result = await whileHeld(window, () =>
      this.#device.during((descriptor) =>
        calls.ioctlAsync(descriptor, UNMAP_GRANT_REFERENCES, argument),
      ),
    )
    this.#unmapped(mapping, result)
  }

  /**
   * Arranges what happens when the mapping that starts at `windowPage` goes, by `unmap`, by `close` or
   * with the process: a byte of its first page is cleared, an event channel is signalled, or both. The
   * last call counts; `{}` arranges nothing.
   *
   * @throws XenCallError `ERR_XMC_SYSTEM_CALL`: `ENOENT` when no mapping starts there, `EINVAL` for a byte of
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
    if (eventChannel !== undefined && eventChannel >>> 0 !== eventChannel) {
      throw new InvalidArgumentError('eventChannel', 'a port', eventChannel)
    }
    const mapping = this.#placed.at(window, windowPage)
    const operation = 'grant unmap notify'
    if (mapping?.windowPage !== windowPage) {
      const detail = `no mapping starts at window page ${windowPage}`
      throw new XenCallError({ operation, detail }, ENOENT)
    }
    const argument = setUnmapNotify(mapping.index, notify)
    const result = this.#device.ioctl(SET_UNMAP_NOTIFY, argument)
    if (result >= 0) return
    const { domain, pageCount } = mapping
    const detail = `the mapping of domain ${domain}'s grants at window page ${windowPage}`
    throw new XenCallError({ operation, domain, pageCount, detail }, -result)
  }

  /**
   * Copies each segment and returns a GNTST status for each, 0 or negative. A refused segment moves
   * nothing; the others are still done. May block as `map` does.
   *
   * @throws XenCallError `ERR_XMC_SYSTEM_CALL` when the kernel refuses; earlier segments may be done
   * @throws InvalidArgumentError `ERR_XMC_ARGUMENT` for an offset or a length that has not 16 bits, or a
   * domain or reference that is none; nothing was copied
   * @throws ClosedError `ERR_XMC_CLOSED`
   */
  copy(segments: readonly GrantCopySegment[]): Int16Array {
    this.#requireOpen()
    for (const segment of segments) checkSegment(segment)
    const statuses = new Int16Array(segments.length)
    // gntdev refuses a whole call for one segment that goes over its page; the others are to be done.
    const fitting: number[] = []
    for (const [index, { offset, bytes }] of segments.entries()) {
      if (offset + bytes.length > PAGE_SIZE) statuses[index] = BAD_COPY_ARGUMENT
      else fitting.push(index)
    }
    for (let start = 0; start < fitting.length; start += SEGMENTS_PER_COPY) {
      this.#copy(segments, fitting.slice(start, start + SEGMENTS_PER_COPY), statuses)
    }
    return statuses
  }

  /** Granted pages that are mapped now; each pins its reference. */
  get mappedPages(): number {
    const mappings = [...this.#placed.all(), ...this.#displaced]
    return mappings.reduce((sum, { pageCount }) => sum + pageCount, 0)
  }

  /**
   * Removes every mapping with its pins and refuses further calls. A second call does nothing. Calls
   * that are under way on another thread end first; theirs are not kept.
   */
  close(): void {
    if (this.#device.isClosed) return
    this.#onClose(this)
    try {
      for (const mapping of this.#placed.all()) {
        resetUnlessClosed(mapping)
        this.#placed.remove(mapping)
      }
      this.#displaced.clear()
    } finally {
      // The kernel unpins what no memory area shows any more with the descriptor.
      this.#device.close()
    }
  }

  /** The same as {@link GrantDevice.close}. */
  [Symbol.dispose](): void {
    this.close()
  }

  /** Checks a request and clears its place; returns its pages. */
  #prepare(request: GrantMapRequest): number {
    this.#requireOpen()
    const { domain, references, window, windowPage } = request
    const pageCount = countPages(references)
    checkTarget(window, windowPage, pageCount)
    domainId(domain)
    if (pageCount < 1) throw refusedMap(request, EINVAL)
    if (isPageList(references)) for (const reference of references) grantReference(reference)
    else {
      grantReference(references.first)
      grantReference(references.first + pageCount - 1)
    }
    for (const mapping of this.#placed.inRange(window, windowPage, pageCount).keys()) {
      // All of it goes, so that none of its memory areas outlives the device.
      window.reset(mapping.windowPage, mapping.pageCount)
      this.#placed.remove(mapping)
      this.#displaced.add(mapping)
    }
    return pageCount
  }

  /** Tells the kernel the references; returns the offset of the device that maps them. */
  #announce(request: GrantMapRequest, pageCount: number): number {
    if (pageCount > MAX_REFERENCES_PER_MAP) throw refusedMap(request, EINVAL)
    const argument = mapGrantReferences(request)
    const result = this.#device.ioctl(MAP_GRANT_REFERENCES, new Uint8Array(argument.buffer))
    if (result < 0) throw refusedMap(request, -result)
    return indexOf(argument)
  }

  /** As `#announce`; the kernel takes pages for the references, so that many take their time. */
  async #announceAsync(
    request: GrantMapRequest,
    pageCount: number,
    descriptor: number,
  ): Promise<number> {
    if (pageCount <= ANNOUNCED_AT_ONCE || pageCount > MAX_REFERENCES_PER_MAP) {
      return this.#announce(request, pageCount)
    }
    const argument = mapGrantReferences(request)
    const bytes = new Uint8Array(argument.buffer)
    const { calls } = this.#device
    const result = await calls.ioctlAsync(descriptor, MAP_GRANT_REFERENCES, bytes)
    if (result < 0) throw refusedMap(request, -result)
    return indexOf(argument)
  }

  /** A process that forks off would hold the grants until it runs its program. */
  #keepFromChildren(request: GrantMapRequest, pageCount: number): void {
    const address = request.window.hostAddress + request.windowPage * PAGE_SIZE
    const result = this.#device.calls.dontFork(address, pageCount * PAGE_SIZE)
    if (result < 0) throw refusedMap(request, -result)
  }

  #place(request: GrantMapRequest, pageCount: number, index: number): void {
    const { domain, window, windowPage, writable } = request
    const mapping = { window, windowPage, pageCount, writable, domain, index }
    this.#placed.add(mapping, new Uint8Array(pageCount))
  }

  /** What is to be thrown for a map that failed, after everything of it was taken back. */
  #refuse(
    request: GrantMapRequest,
    pageCount: number,
    index: number | undefined,
    error: unknown,
    descriptor?: number,
  ): unknown {
    const { window, windowPage } = request
    const thrown = error instanceof ClosedError ? error : asRefusedMap(request, error)
    const afterReset =
      error instanceof ClosedError && this.#device.isClosed
        ? resetAfterClose(thrown, window, windowPage, pageCount)
        : errorAfterReset(thrown, window, windowPage, pageCount)
    if (index === undefined) return afterReset
    const argument = unmapGrantReferences(index, pageCount)
    const { calls } = this.#device
    const open = descriptor ?? this.#device.descriptor
    const result = calls.ioctl(open, UNMAP_GRANT_REFERENCES, argument)
    if (result >= 0) return afterReset
    const call = { operation: 'grant unmap', domain: request.domain, pageCount } as const
    const detail = 'the references of a map that failed stay announced until the device is closed'
    return new XenCallError({ ...call, detail }, -result, { cause: afterReset })
  }

  /** Takes a mapping out of the window. */
  #take(window: TargetWindow, windowPage: WindowPage, pageCount: number): GrantMapping {
    this.#requireOpen()
    const mapping = this.#placed.at(window, windowPage)
    if (mapping?.windowPage !== windowPage || mapping.pageCount !== pageCount) {
      const detail = `no mapping of ${pageCount} pages starts at window page ${windowPage}`
      throw new XenCallError({ operation: 'grant unmap', pageCount, detail }, EINVAL)
    }
    window.reset(windowPage, pageCount)
    this.#placed.remove(mapping)
    return mapping
  }

  #unmapped(mapping: GrantMapping, result: number): void {
    if (result >= 0) return
    this.#displaced.add(mapping)
    const { domain, pageCount } = mapping
    const detail = `${pageCount} grants of domain ${domain} stay pinned until the device is closed`
    throw new XenCallError({ operation: 'grant unmap', domain, pageCount, detail }, -result)
  }

  /** Copies the segments at `indexes`, and notes their statuses. */
  #copy(
    segments: readonly GrantCopySegment[],
    indexes: readonly number[],
    statuses: Int16Array,
  ): void {
    const batch = indexes.flatMap((index) => segments[index] ?? [])
    // The bytes go through memory of the device: the kernel cannot take them from every kind of memory
    // (not from a foreign mapping), and a page of its own makes each segment one operation.
    const view = this.#scratch.take(GRANT_COPY_BYTES)
    const { address } = this.#scratch
    writeGrantCopy(view, address, batch)
    const result = this.#device.ioctl(GRANT_COPY, new Uint8Array(view.buffer))
    if (result < 0) {
      const [first] = batch
      const detail = `${batch.length} segments${first === undefined ? '' : `, the first of domain ${first.domain}, reference ${first.reference}`}`
      const call = { operation: 'grant copy', domain: first?.domain, detail } as const
      throw new XenCallError({ ...call, firstPage: first?.reference }, -result)
    }
    for (const [at, { bytes, direction }] of batch.entries()) {
      const status = statusOfSegment(view, at)
      statuses[indexes[at] ?? 0] = status
      if (status !== 0 || direction !== 'from-grant') continue
      bytes.set(new Uint8Array(view.buffer, bytesOfSegment(view, address, at), bytes.length))
    }
  }

  #requireOpen(): void {
    if (this.#device.isClosed) throw new ClosedError(`grant device ${this.name}`)
  }
}

function resetAfterClose(
  error: unknown,
  window: TargetWindow,
  windowPage: WindowPage,
  pageCount: number,
): unknown {
  try {
    resetUnlessClosed({ window, windowPage, pageCount })
    return error
  } catch (resetError) {
    return resetError
  }
}

function asRefusedMap(request: GrantMapRequest, error: unknown): unknown {
  const errno = errnoOf(error)
  if (errno === undefined || error instanceof XenCallError) return error
  return refusedMap(request, errno, error)
}

function refusedMap(request: GrantMapRequest, errno: number, cause?: unknown): SystemCallError {
  const { domain, references, writable } = request
  const pageCount = countPages(references)
  const firstPage = isPageList(references) ? references[0] : references.first
  const from = firstPage === undefined ? '' : `, the first ${firstPage}`
  const access = writable ? 'writable' : 'read-only'
  const detail = `${pageCount} references of domain ${domain}${from}, ${access}; gntdev does not say which is refused or why`
  const call = { operation: 'grant map', domain, firstPage, pageCount, detail } as const
  return new XenCallError(call, errno, { cause })
}

function checkSegment({ domain, reference, offset, bytes }: GrantCopySegment): void {
  domainId(domain)
  grantReference(reference)
  if ((offset & MAXIMUM_UINT16) !== offset) {
    throw new InvalidArgumentError('offset', 'an integer from 0 to 4095', offset)
  }
  if (bytes.length > MAXIMUM_UINT16) {
    throw new InvalidArgumentError('bytes', 'at most 4096 bytes', bytes.length)
  }
}
