import { type HostMemoryWindow, openWindow } from '@xmc/hostmem'
import {
  domainId,
  type GrantReference,
  grantReference,
  InvalidArgumentError,
  PAGE_SIZE,
  windowPage,
} from '@xmc/interface'
import { XenCallError } from './errors.ts'
import type { Device } from './internal/device.ts'
import {
  ALLOCATE_GRANTS,
  allocateGrants,
  FREE_GRANTS,
  freeGrants,
  indexOfGrants,
  referencesOfGrants,
} from './internal/gntalloc.ts'

/** What to share, and with whom. */
export interface SharePagesOptions {
  /** The grantee: a domain, or this program's own. */
  readonly to: number
  /** Pages of 4,096 bytes, at least 1. gntalloc allows 1,024 in all unless set otherwise. */
  readonly pageCount: number
  /** Whether the grantee may only read. Default false. */
  readonly readonly?: boolean | undefined
}

/**
 * Pages of this domain, made for the purpose and granted to another one. Made by
 * `Hypervisor.sharePages`.
 */
export class SharedPages {
  /** The reference of each page, in the order of the pages; not consecutive as a rule. */
  readonly references: readonly GrantReference[]
  /** The pages, zeros at first. After `close` they read as zeros, and stores go nowhere. */
  readonly bytes: Uint8Array
  readonly #window: HostMemoryWindow
  readonly #onClose: (pages: SharedPages) => void
  #closed = false

  /** @internal */
  constructor(
    device: Device,
    options: SharePagesOptions,
    onClose: (pages: SharedPages) => void = () => {},
  ) {
    const { to, pageCount, readonly = false } = options
    if (!Number.isInteger(pageCount) || pageCount < 1 || pageCount > MAXIMUM_PAGES) {
      throw new InvalidArgumentError(
        'pageCount',
        `an integer from 1 to ${MAXIMUM_PAGES}`,
        pageCount,
      )
    }
    const domain = domainId(to)
    const window = openWindow({ pageCount, minimumPages: pageCount })
    const argument = allocateGrants(domain, !readonly, pageCount)
    const result = device.ioctl(ALLOCATE_GRANTS, new Uint8Array(argument.buffer))
    if (result < 0) {
      window.close()
      throw refused('share pages', domain, pageCount, -result)
    }
    const index = indexOfGrants(argument)
    try {
      window.map(windowPage(0), pageCount, device.descriptor, index, true)
      const forked = device.calls.dontFork(window.hostAddress, pageCount * PAGE_SIZE)
      if (forked < 0) throw refused('share pages', domain, pageCount, -forked)
    } catch (error) {
      window.close()
      const freed = device.ioctl(FREE_GRANTS, freeGrants(index, pageCount))
      if (freed >= 0) throw error
      throw new XenCallError(call('unshare pages', domain, pageCount), -freed, { cause: error })
    }
    // From here on the mapping alone holds the grants, so that they end with it, however that goes.
    const freed = device.ioctl(FREE_GRANTS, freeGrants(index, pageCount))
    if (freed < 0) {
      window.close()
      throw refused('unshare pages', domain, pageCount, -freed)
    }
    this.references = referencesOfGrants(argument, pageCount).map((each) => grantReference(each))
    this.bytes = new Uint8Array(window.buffer, window.byteOffset, pageCount * PAGE_SIZE)
    this.#window = window
    this.#onClose = onClose
  }

  /**
   * Ends the grants and gives the pages back. A page that the grantee still has mapped stays its until it
   * unmaps it, and can be mapped until then. A second call does nothing.
   *
   * @throws SystemCallError `ERR_XMC_SYSTEM_CALL` when the kernel refuses: close it again
   */
  close(): void {
    if (this.#closed) return
    this.#window.close()
    this.#closed = true
    this.#onClose(this)
  }

  /** The same as {@link SharedPages.close}. */
  [Symbol.dispose](): void {
    this.close()
  }
}

/** More would not fit the structure's own size. */
const MAXIMUM_PAGES = 65_536

function call(operation: 'share pages' | 'unshare pages', domain: number, pageCount: number) {
  return { operation, domain, pageCount, detail: `${pageCount} pages with domain ${domain}` }
}

function refused(
  operation: 'share pages' | 'unshare pages',
  domain: number,
  pageCount: number,
  errno: number,
): XenCallError {
  return new XenCallError(call(operation, domain, pageCount), errno)
}
