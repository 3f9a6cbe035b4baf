import { type BucketRequest, noMissing, REMOVED } from './bucket-table.ts'

/** What to do about pages that were missing when their bucket was last mapped. */
export type MissingAnswer = 'refuse' | 'ask-pages' | 'ask-bucket'

/** Linux's number for a frame that is paged out: it comes when it is asked for. */
const ENOENT = 2

/** Pages of all buckets that are remembered; the oldest bucket goes first. */
const MOST_PAGES = 2 ** 20

interface Bucket {
  /** Errno by page, as the map of the bucket gave it. */
  readonly errors: Int32Array
  /** When that was. */
  readonly askedAt: number
  /** 1 for each page that an access was refused for since: the next access to it asks. */
  readonly refused: Uint8Array
}

/**
 * Which pages were missing when their buckets were mapped, for passes over memory with holes: an access
 * to each page of a bucket must not be a call for each page that is missing.
 *
 * Memory comes and goes without a word, so this holds for a pass only: while accesses without a lock keep
 * being refused, for pages that none was refused for since the bucket was asked for, and for a time. A
 * guest that touches no holes is never refused by it.
 */
export class KnownHoles {
  private readonly milliseconds: number
  private readonly buckets: Map<number, Bucket> = new Map()
  private pages = 0
  /** When an access without a lock was last refused. */
  private refusedAt = Number.NEGATIVE_INFINITY
  /** For which bucket and page. */
  private refusedIndex = -1
  private refusedPage = -1

  /** @param milliseconds how long what is known holds; 0 for not at all */
  constructor(milliseconds: number) {
    this.milliseconds = milliseconds
  }

  /** Notes what a map of the bucket `index` has given. */
  asked(index: number, holes: Int32Array | undefined): void {
    if (this.milliseconds === 0) return
    this.forget(index)
    if (holes === undefined) return
    const { length } = holes
    if (length > MOST_PAGES) return
    for (const oldest of this.buckets.keys()) {
      if (this.pages + length <= MOST_PAGES) break
      this.forget(oldest)
    }
    const refused = new Uint8Array(length)
    this.buckets.set(index, { errors: holes, askedAt: performance.now(), refused })
    this.pages += length
  }

  /** What to do about a request for missing pages, of a bucket with these `holes`, or of none that is mapped. */
  consult(request: BucketRequest, holes: Int32Array | undefined): MissingAnswer {
    const bucket = this.buckets.get(request.index)
    const now = performance.now()
    if (bucket === undefined || now - this.refusedAt >= this.milliseconds) return 'ask-pages'
    // Another mapping of the bucket has its own.
    if (holes !== undefined && holes !== bucket.errors) return 'ask-pages'
    // Not every page is missing of a bucket that was mapped and given up.
    if (noMissing(bucket.errors, request)) return 'ask-bucket'
    const { missingErrno, missingPage } = request
    if (missingErrno === ENOENT || missingErrno === REMOVED) return 'ask-pages'
    if (now - bucket.askedAt >= this.milliseconds) return 'ask-bucket'
    // Who asks for the same page again waits for that one; who goes through others again wants them all.
    const isSame = request.index === this.refusedIndex && missingPage === this.refusedPage
    if (isSame) return 'ask-pages'
    if (bucket.refused[missingPage] === 1) return 'ask-bucket'
    this.note(request, now)
    return 'refuse'
  }

  /** Notes that a request was refused after its pages were asked for. */
  refused(request: BucketRequest, isAccess: boolean): void {
    if (isAccess) this.note(request, performance.now())
    else this.markRefused(request)
  }

  /** Forgets everything: the guest has changed. */
  clear(): void {
    this.buckets.clear()
    this.pages = 0
  }

  private note(request: BucketRequest, now: number): void {
    this.refusedAt = now
    this.refusedIndex = request.index
    this.refusedPage = request.missingPage
    this.markRefused(request)
  }

  private markRefused({ index, missingPage }: BucketRequest): void {
    const bucket = this.buckets.get(index)
    if (bucket !== undefined) bucket.refused[missingPage] = 1
  }

  private forget(index: number): void {
    const bucket = this.buckets.get(index)
    if (bucket === undefined) return
    this.buckets.delete(index)
    this.pages -= bucket.errors.length
  }
}
