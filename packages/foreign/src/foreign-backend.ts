import type { MapBackend } from '@xmc/core'
import {
  checkMethods,
  checkOptions,
  countPages,
  type DomainId,
  domainId,
  type ForeignMapRequest,
  type GuestFrame,
  guestFrame,
  InvalidArgumentError,
  isPageList,
  type OptionNames,
  type Pages,
  ReadOnlyError,
  type TargetWindow,
  type WindowPage,
  XmcError,
} from '@xmc/interface'
import { ForeignMapError, ForeignUnmapError } from './errors.ts'
import type { ForeignMemory } from './foreign-memory.ts'

/** Binary logarithm of the bytes of a bucket, unless said otherwise: 1 MiB, 256 frames. */
export const DEFAULT_BUCKET_SHIFT = 20

/**
 * Bytes of the window to open for a guest's foreign memory where nothing else is known: 4 GiB of
 * address space, four times the default budget. `openWindow` takes less where that is refused.
 */
export const DEFAULT_WINDOW_BYTES: number = 2 ** 32

/** What a {@link ForeignBackend} is made of. */
export interface ForeignBackendOptions {
  /** The provider: the simulator or real Xen. */
  readonly memory: ForeignMemory
  /** Whose memory is mapped. Not the caller's own domain, which Xen refuses. */
  readonly domain: DomainId
  /** Where to. One window serves one backend. */
  readonly window: TargetWindow
  /**
   * Binary logarithm of the bytes mapped at a time, 12 to 30.
   *
   * @default 20
   */
  readonly bucketShift?: number | undefined
  /**
   * Whether mappings are all writable, all read-only, or each as it was asked for. A read-only
   * mapping and a writable one of the same frames are two mappings.
   *
   * @default 'read-write'
   */
  readonly access?: 'read-write' | 'read-only' | 'as-requested' | undefined
}

const OPTIONS: OptionNames<ForeignBackendOptions> = {
  memory: true,
  domain: true,
  window: true,
  bucketShift: true,
  access: true,
}

/**
 * Puts frames of one domain into a window, in buckets, for the engine of `@xmc/core`.
 *
 * A frame that fails among others has an errno of its own and reads as zeros: `EINVAL` for a hole,
 * `ENOENT` for a frame that is paged out. Errnos come out positive, whichever sign the provider gave
 * them (privcmd's are negative).
 */
export class ForeignBackend implements MapBackend<GuestFrame> {
  readonly kind = 'foreign'
  /** Foreign mappings take nothing from the guest, so they stay until the cache needs the room. */
  readonly pinned = false
  readonly window: TargetWindow
  readonly bucketShift: number
  readonly access: 'read-write' | 'read-only' | 'as-requested'
  /** Whose memory this backend maps. */
  readonly domain: DomainId
  readonly #memory: ForeignMemory

  /** @throws InvalidArgumentError `ERR_XMC_ARGUMENT` for another domain id, access or option than there is, and
   * without a memory or a window */
  constructor(options: ForeignBackendOptions) {
    checkOptions('ForeignBackend', options, OPTIONS)
    checkMethods('memory', options.memory, ['map', 'mapAsync', 'unmap'])
    checkMethods('window', options.window, ['map', 'reset'])
    const { access = 'read-write' } = options
    // Any other word would give read-only pages to those who ask for writable ones.
    if (!ACCESS.has(access)) {
      throw new InvalidArgumentError('access', [...ACCESS].join(', '), access)
    }
    this.window = options.window
    this.bucketShift = options.bucketShift ?? DEFAULT_BUCKET_SHIFT
    this.access = access
    this.domain = domainId(options.domain)
    this.#memory = options.memory
  }

  /**
   * Checks that `value` is a guest frame: an integer from 0 to 2^52 − 1.
   *
   * @throws InvalidArgumentError `ERR_XMC_ARGUMENT`
   */
  page(value: number): GuestFrame {
    return guestFrame(value)
  }

  /**
   * Maps `pages` contiguously from `windowPage` on, in one attempt; holes and paged-out frames are
   * positive errnos in `errors`.
   *
   * @throws ForeignMapError `ERR_XMC_FOREIGN_MAP` when nothing was mapped
   * @throws MemoryAreasError `ERR_XMC_MEMORY_AREAS` when the mapping would take too many memory areas
   * @throws InvalidArgumentError `ERR_XMC_ARGUMENT` for a run over the last frame, without a call
   * @throws ReadOnlyError `ERR_XMC_READ_ONLY` when a writable mapping is asked of a read-only backend
   */
  mapAt(
    windowPage: WindowPage,
    pages: Pages<GuestFrame>,
    writable: boolean,
    errors: Int32Array,
  ): void {
    const request = this.#request(windowPage, pages, writable, errors)
    try {
      this.#memory.map(request)
    } catch (cause) {
      if (isShortage(cause)) throw cause
      throw new ForeignMapError(this.domain, pages, writable, cause)
    }
    makePositive(errors, countPages(pages))
  }

  /** As {@link ForeignBackend.mapAt}, without blocking the event loop; waits for paged-out frames. */
  async mapAtAsync(
    windowPage: WindowPage,
    pages: Pages<GuestFrame>,
    writable: boolean,
    errors: Int32Array,
  ): Promise<void> {
    const request = this.#request(windowPage, pages, writable, errors)
    try {
      await this.#memory.mapAsync(request)
    } catch (cause) {
      if (isShortage(cause)) throw cause
      throw new ForeignMapError(this.domain, pages, writable, cause)
    }
    makePositive(errors, countPages(pages))
  }

  /**
   * Removes the mappings in `pageCount` pages from `windowPage` on and puts anonymous pages there.
   *
   * @throws ForeignUnmapError `ERR_XMC_FOREIGN_UNMAP` when a mapping may still be there
   */
  unmapAt(windowPage: WindowPage, pageCount: number): void {
    try {
      this.#memory.unmap(this.window, windowPage, pageCount)
    } catch (cause) {
      throw new ForeignUnmapError(this.domain, windowPage, pageCount, cause)
    }
  }

  /** As {@link ForeignBackend.unmapAt}: one call to the kernel, which does not wait for anything. */
  async unmapAtAsync(windowPage: WindowPage, pageCount: number): Promise<void> {
    this.unmapAt(windowPage, pageCount)
  }

  #request(
    windowPage: WindowPage,
    frames: Pages<GuestFrame>,
    writable: boolean,
    errors: Int32Array,
  ): ForeignMapRequest {
    if (writable && this.access === 'read-only') {
      throw new ReadOnlyError(`the foreign memory of domain ${this.domain}`)
    }
    // A bucket is within the frames; a run over the last would be one that no provider knows.
    if (!isPageList(frames)) guestFrame(frames.first + Math.max(frames.count, 1) - 1)
    return { domain: this.domain, window: this.window, windowPage, frames, writable, errors }
  }
}

const ACCESS: ReadonlySet<string> = new Set(['read-write', 'read-only', 'as-requested'])

/** The host is short of something: its error says of what, and the frames have no part in it. */
function isShortage(cause: unknown): boolean {
  return cause instanceof XmcError && cause.shortage !== undefined
}

function makePositive(errors: Int32Array, count: number): void {
  for (let index = 0; index < count; index++) {
    const error = errors[index]
    if (error !== undefined && error < 0) errors[index] = -error
  }
}
