import {
  type DomainId,
  type GuestFrame,
  PAGE_SIZE,
  type TargetWindow,
  type WindowPage,
  windowPage,
} from '@xmc/interface'
import {
  type FailedPageReport,
  type FailedPageTouched,
  FailedPageTouchedError,
} from '../failed-page.ts'

/** A device that a map failed through. */
interface MappingDevice {
  readonly name: string
  readonly caller: DomainId
}

interface FailedPage {
  readonly device: MappingDevice
  readonly domain: DomainId
  readonly frame: GuestFrame
  readonly errno: number
}

const ZEROS = Buffer.alloc(PAGE_SIZE)

/**
 * The pages of all windows that failed to map and have nothing else in their place yet. They were zeros
 * when the map returned, so one that is not was stored to. A load leaves no trace.
 */
export class FailedPages {
  readonly #touched: FailedPageTouched
  readonly #windows = new Map<TargetWindow, Map<number, FailedPage>>()
  readonly #recorded: FailedPageReport[] = []

  constructor(touched: FailedPageTouched) {
    this.#touched = touched
  }

  /** Notes that a page failed. It must be zeros. */
  add(window: TargetWindow, page: number, failed: FailedPage): void {
    const pages = this.#windows.get(window) ?? new Map<number, FailedPage>()
    pages.set(page, failed)
    this.#windows.set(window, pages)
  }

  /** Those in a range that were stored to. */
  touchedIn(window: TargetWindow, first: WindowPage, pageCount: number): FailedPageReport[] {
    return this.#inRange(window, first, pageCount)
      .filter((page) => isTouched(window, page))
      .flatMap((page) => this.#report(window, page))
  }

  /** Notes that the range has something else in it from now on. */
  forget(window: TargetWindow, first: WindowPage, pageCount: number): void {
    const pages = this.#windows.get(window)
    if (pages === undefined) return
    for (const page of this.#inRange(window, first, pageCount)) pages.delete(page)
    if (pages.size === 0) this.#windows.delete(window)
  }

  /**
   * Records pages that were found touched.
   *
   * @throws FailedPageTouchedError `ERR_XMC_FAILED_PAGE_TOUCHED` for any, unless they are only recorded
   */
  found(touched: readonly FailedPageReport[]): void {
    const [first] = touched
    if (first === undefined) return
    this.#recorded.push(...touched)
    // Whatever else a caller without types may say: an error that shows is better than one that does not.
    if (this.#touched !== 'record') throw new FailedPageTouchedError(first, touched)
  }

  /** Looks at a range and forgets it. @throws FailedPageTouchedError as `found` */
  settle(window: TargetWindow, first: WindowPage, pageCount: number): void {
    const touched = this.touchedIn(window, first, pageCount)
    this.forget(window, first, pageCount)
    this.found(touched)
  }

  /** Looks at what failed through a device, and forgets it; gives those touched. */
  takeAll(device: MappingDevice): FailedPageReport[] {
    const taken: FailedPageReport[] = []
    for (const [window, pages] of this.#windows) {
      for (const [page, failed] of pages) {
        if (failed.device !== device) continue
        if (isTouched(window, page)) taken.push(...this.#report(window, page))
        pages.delete(page)
      }
      if (pages.size === 0) this.#windows.delete(window)
    }
    return taken
  }

  /** Those that were found touched so far, and those that are touched now. */
  *touched(): IterableIterator<FailedPageReport> {
    yield* this.#recorded
    for (const window of this.#windows.keys()) {
      yield* this.touchedIn(window, windowPage(0), window.pageCount)
    }
  }

  #inRange(window: TargetWindow, first: number, pageCount: number): number[] {
    const pages = this.#windows.get(window)
    if (pages === undefined) return []
    if (pages.size < pageCount) {
      return [...pages.keys()].filter((page) => page >= first && page < first + pageCount)
    }
    return Array.from({ length: pageCount }, (_, nth) => first + nth).filter((page) =>
      pages.has(page),
    )
  }

  #report(window: TargetWindow, page: number): FailedPageReport[] {
    const failed = this.#windows.get(window)?.get(page)
    if (failed === undefined) return []
    const { device, domain, frame, errno } = failed
    const at = windowPage(page)
    return [{ device: device.name, mapper: device.caller, domain, frame, errno, windowPage: at }]
  }
}

function isTouched({ buffer, byteOffset }: TargetWindow, page: number): boolean {
  return !Buffer.from(buffer, byteOffset + page * PAGE_SIZE, PAGE_SIZE).equals(ZEROS)
}
