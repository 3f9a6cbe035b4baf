import {
  type DomainId,
  type GuestFrame,
  nameOfErrno,
  type WindowPage,
  XmcError,
} from '@xmc/interface'

/**
 * What happens when a store to a page that failed to map is found, where real Xen would have killed
 * the process: the call that finds it throws a {@link FailedPageTouchedError}, or it is only recorded.
 */
export type FailedPageTouched = 'throw' | 'record'

/** A page of a foreign map that failed, so that nobody may touch its place in the window. */
export interface FailedPageReport {
  /** Name of the device. */
  readonly device: string
  /** The domain that mapped. */
  readonly mapper: DomainId
  /** Whose memory it was to be. */
  readonly domain: DomainId
  /** The frame that failed. */
  readonly frame: GuestFrame
  /** Positive errno that it failed with. */
  readonly errno: number
  /** Where, in the window of the request. */
  readonly windowPage: WindowPage
}

/**
 * `ERR_XMC_FAILED_PAGE_TOUCHED`: somebody stored to a page that failed to map, which on real Xen is a
 * SIGKILL for the process. Nothing is mapped in the range of the call that throws this, or through a
 * device that was being closed.
 */
export class FailedPageTouchedError extends XmcError {
  /** Whose memory it was to be. */
  readonly domain: DomainId
  /** The frame that failed to map. */
  readonly frame: GuestFrame
  /** The page of the window that was touched. */
  readonly windowPage: WindowPage
  /** Every page that was found touched; the other fields are of the first. */
  readonly pages: readonly FailedPageReport[]

  constructor(first: FailedPageReport, pages: readonly FailedPageReport[]) {
    const others = pages.length > 1 ? ` (and ${pages.length - 1} more)` : ''
    super(
      'ERR_XMC_FAILED_PAGE_TOUCHED',
      `${describeFailedPage(first)}${others} was stored to: real Xen would have killed the process: look at the errors of a map before touching its pages`,
    )
    this.domain = first.domain
    this.frame = first.frame
    this.windowPage = first.windowPage
    this.pages = pages
  }
}

/** A failed page in words. */
export function describeFailedPage({ domain, frame, errno, windowPage }: FailedPageReport): string {
  return `window page ${windowPage}, where frame 0x${frame.toString(16)} of domain ${domain} failed to map (${nameOfErrno(errno)}),`
}
