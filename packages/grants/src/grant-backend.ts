import type { MapBackend } from '@xmc/core'
import {
  checkMethods,
  checkOptions,
  countPages,
  type DomainId,
  domainId,
  type GrantCopySegment,
  type GrantMapRequest,
  type GrantReference,
  grantReference,
  InvalidArgumentError,
  isPageList,
  MAX_REFERENCES_PER_MAP,
  PAGE_SHIFT,
  PAGE_SIZE,
  type Pages,
  type TargetWindow,
  type UnmapNotify,
  type WindowPage,
  XmcError,
} from '@xmc/interface'
import { GrantCopyError, GrantLimitError, GrantUnmapError } from './errors.ts'
import type { GrantTable } from './grant-table.ts'
import { MappingLedger } from './internal/mapping-ledger.ts'
import { explainRefusal } from './internal/refusal.ts'

/** What a {@link GrantBackend} is made of. */
export interface GrantBackendOptions {
  /** The provider: the simulator or real Xen. */
  readonly table: GrantTable
  /** Who granted. May be the caller's own domain, where it grants to itself. */
  readonly domain: DomainId
  /** Where to. One window serves one backend. */
  readonly window: TargetWindow
}

const TABLE_METHODS = [
  'map',
  'mapAsync',
  'unmap',
  'unmapAsync',
  'setUnmapNotify',
  'copy',
] as const satisfies readonly (keyof GrantTable)[]

/**
 * Puts granted pages of one domain into a window, for the engine of `@xmc/core`: the grant reference
 * is the page, consecutive ones or a list in any order.
 *
 * A map is all or nothing. What it throws says which reference was refused and why, as far as Xen
 * tells; that costs one grant copy call per 256 references after a failure, and nothing before one.
 *
 * A mapping pins the guest's pages, and is counted against three limits: 65,536 references in one
 * map, 128 mappings of one reference for reading and 128 for writing, and the map-track table of
 * the mapping domain (262,144 mappings of all its programs, unless Xen was started otherwise).
 */
export class GrantBackend implements MapBackend<GrantReference> {
  readonly kind = 'grants'
  /** One page: nothing beyond what was granted can be mapped. */
  readonly bucketShift: number = PAGE_SHIFT
  /** A grant may be read-only, so a mapping has the access that was asked for. */
  readonly access = 'as-requested'
  /** A guest cannot take a page back while it is mapped, so a mapping goes with its last lock. */
  readonly pinned = true
  readonly window: TargetWindow
  /** Who granted. */
  readonly domain: DomainId
  readonly #table: GrantTable
  readonly #ledger = new MappingLedger()

  /** @throws InvalidArgumentError `ERR_XMC_ARGUMENT` for a number that is no domain id, an option that there is not,
   * and without a table or a window */
  constructor(options: GrantBackendOptions) {
    checkOptions('GrantBackend', options, { table: true, domain: true, window: true })
    checkMethods('table', options.table, TABLE_METHODS)
    checkMethods('window', options.window, ['map', 'reset'])
    this.window = options.window
    this.domain = domainId(options.domain)
    this.#table = options.table
  }

  /**
   * Checks that `value` is a grant reference: an integer from 0 to 2^32 − 1.
   *
   * @throws InvalidArgumentError `ERR_XMC_ARGUMENT`
   */
  page(value: number): GrantReference {
    return grantReference(value)
  }

  /**
   * Maps `pages` contiguously from `windowPage` on, all of them or none. `errors` is set to zeros.
   *
   * May block in the kernel while Xen pages a granted page in; {@link GrantBackend.mapAtAsync} does not.
   *
   * @throws GrantMapError `ERR_XMC_GRANT_MAP` for a refused reference
   * @throws GrantLimitError `ERR_XMC_GRANT_LIMIT` for over 65,536 references, without a call, and for
   * over 128 mappings of one reference by this backend
   * @throws PagedOutError `ERR_XMC_PAGED_OUT` when a page is paged out; `page` is the first reference of
   * the request, since Xen does not say which it is
   * @throws InvalidArgumentError `ERR_XMC_ARGUMENT` for no references, or a run over reference 2^32 − 1
   */
  mapAt(
    windowPage: WindowPage,
    pages: Pages<GrantReference>,
    writable: boolean,
    errors: Int32Array,
  ): void {
    const request = this.#request(windowPage, pages, writable)
    try {
      this.#table.map(request)
    } catch (cause) {
      // The host is short of something: its error says of what, and the references have no part in it.
      if (cause instanceof XmcError && cause.shortage !== undefined) throw cause
      throw this.#explain(request, cause)
    }
    this.#mapped(request, errors)
  }

  /**
   * As {@link GrantBackend.mapAt}, without blocking the event loop; waits for paged-out pages.
   * After a refusal the references are probed by the port's grant copy, which is synchronous.
   */
  async mapAtAsync(
    windowPage: WindowPage,
    pages: Pages<GrantReference>,
    writable: boolean,
    errors: Int32Array,
  ): Promise<void> {
    const request = this.#request(windowPage, pages, writable)
    try {
      await this.#table.mapAsync(request)
    } catch (cause) {
      // The host is short of something: its error says of what, and the references have no part in it.
      if (cause instanceof XmcError && cause.shortage !== undefined) throw cause
      throw this.#explain(request, cause)
    }
    this.#mapped(request, errors)
  }

  /**
   * Removes the mapping at `windowPage`, which must be of exactly `pageCount` pages.
   *
   * @throws GrantUnmapError `ERR_XMC_GRANT_UNMAP` when the mapping may still be there
   */
  unmapAt(windowPage: WindowPage, pageCount: number): void {
    try {
      this.#table.unmap(this.window, windowPage, pageCount)
    } catch (cause) {
      throw this.#unmapError(windowPage, pageCount, cause)
    }
    this.#ledger.remove(windowPage)
  }

  /** As {@link GrantBackend.unmapAt}, without blocking the event loop. */
  async unmapAtAsync(windowPage: WindowPage, pageCount: number): Promise<void> {
    try {
      await this.#table.unmapAsync(this.window, windowPage, pageCount)
    } catch (cause) {
      throw this.#unmapError(windowPage, pageCount, cause)
    }
    this.#ledger.remove(windowPage)
  }

  /**
   * Reads `target.length` bytes of a granted page from `offset` on by grant copy, without mapping it.
   *
   * @param offset 0 to 4095; `offset + target.length` is at most 4096
   * @throws GrantCopyError `ERR_XMC_GRANT_COPY` when Xen refuses
   * @throws InvalidArgumentError `ERR_XMC_ARGUMENT` for bytes over the end of the page
   */
  copyFrom(reference: GrantReference, offset: number, target: Uint8Array): void {
    this.#copy(reference, offset, target, 'from-grant')
  }

  /**
   * Writes `source` to a granted page from `offset` on by grant copy, without mapping it.
   *
   * @param offset 0 to 4095; `offset + source.length` is at most 4096
   * @throws GrantCopyError `ERR_XMC_GRANT_COPY` when Xen refuses, as for a read-only grant
   * @throws InvalidArgumentError `ERR_XMC_ARGUMENT` for bytes over the end of the page
   */
  copyTo(reference: GrantReference, offset: number, source: Uint8Array): void {
    this.#copy(reference, offset, source, 'to-grant')
  }

  /**
   * Arranges what happens when the one-page mapping at `windowPage` goes, even if this process is
   * killed: a byte of the page is cleared, an event channel is signalled, or both. The last call counts.
   *
   * @throws InvalidArgumentError `ERR_XMC_ARGUMENT` for a byte outside the page
   * @throws SystemCallError `ERR_XMC_SYSTEM_CALL`: `ENOENT` without a mapping there, `EINVAL` for a byte of a
   * read-only mapping
   */
  setUnmapNotify(windowPage: WindowPage, notify: UnmapNotify): void {
    if (notify.clearByte !== undefined) checkRange(notify.clearByte, 1)
    this.#table.setUnmapNotify(this.window, windowPage, notify)
  }

  #request(
    windowPage: WindowPage,
    references: Pages<GrantReference>,
    writable: boolean,
  ): GrantMapRequest {
    const count = countPages(references)
    if (count > MAX_REFERENCES_PER_MAP) {
      const limit = MAX_REFERENCES_PER_MAP
      throw new GrantLimitError(this.domain, 'references-per-map', limit, count, undefined, {
        shortage: 'lasting',
      })
    }
    if (!(count >= 1)) throw new InvalidArgumentError('references', 'at least one reference', count)
    // Linux numbers a buffer's pages upwards; past the last reference it would wrap to 0.
    if (!isPageList(references)) grantReference(references.first + count - 1)
    return { domain: this.domain, window: this.window, windowPage, references, writable }
  }

  #mapped(request: GrantMapRequest, errors: Int32Array): void {
    this.#ledger.add(request.windowPage, request.references, request.writable)
    errors.fill(0, 0, countPages(request.references))
  }

  #explain(request: GrantMapRequest, cause: unknown): Error {
    return explainRefusal({ table: this.#table, ledger: this.#ledger, request, cause })
  }

  #unmapError(windowPage: WindowPage, pageCount: number, cause: unknown): GrantUnmapError {
    const mapped = this.#ledger.at(windowPage)
    return new GrantUnmapError(this.domain, windowPage, pageCount, mapped, cause)
  }

  #copy(
    reference: GrantReference,
    offset: number,
    bytes: Uint8Array,
    direction: GrantCopySegment['direction'],
  ): void {
    checkRange(offset, bytes.length)
    if (bytes.length === 0) return
    const segment: GrantCopySegment = { domain: this.domain, reference, offset, bytes, direction }
    let status: number | undefined
    try {
      status = this.#table.copy([segment])[0]
    } catch (cause) {
      throw new GrantCopyError(this.domain, reference, direction, undefined, cause)
    }
    if (status !== 0) {
      const cause = status === undefined ? 'the provider gave no status' : undefined
      throw new GrantCopyError(this.domain, reference, direction, status, cause)
    }
  }
}

function checkRange(offset: number, length: number): void {
  if (!Number.isInteger(offset) || offset < 0 || offset + length > PAGE_SIZE) {
    throw new InvalidArgumentError(
      'offset',
      `an integer from 0 to ${PAGE_SIZE - length}, with ${length} bytes in a page of ${PAGE_SIZE}`,
      offset,
    )
  }
}
