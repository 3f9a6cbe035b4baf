import type { Pages, WindowPage } from '@xmc/interface'

/** One call to the backend that a miss needs; done at once or awaited by whoever drives the miss. */
export interface MapStep<Page extends number> {
  readonly windowPage: WindowPage
  readonly pages: Pages<Page>
  readonly writable: boolean
  readonly errors: Int32Array
}
