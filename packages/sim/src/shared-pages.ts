import { type GrantReference, InvalidArgumentError } from '@xmc/interface'
import type { Domain } from './domain.ts'

/** What to share, and with whom. */
export interface SharePagesOptions {
  /** The grantee: a domain, or the granting one itself. */
  readonly to: number
  /** Pages of 4,096 bytes, at least 1. */
  readonly pageCount: number
  /** Whether the grantee may only read. Default false. */
  readonly readonly?: boolean | undefined
}

/**
 * Pages of a domain, made for the purpose and granted to another one, as gntalloc gives them to a
 * program. Made by `Hypervisor.sharePages`.
 */
export class SharedPages {
  /** The reference of each page, in the order of the pages. */
  readonly references: readonly GrantReference[]
  /** The pages, zeros at first. */
  readonly bytes: Uint8Array
  readonly #domain: Domain
  readonly #frames: SharedFrames
  readonly #first: number
  #closed = false

  constructor(domain: Domain, frames: SharedFrames, options: SharePagesOptions) {
    const { to, pageCount, readonly = false } = options
    if (!Number.isInteger(pageCount) || pageCount < 1 || pageCount > MAXIMUM_PAGES) {
      throw new InvalidArgumentError(
        'pageCount',
        `an integer from 1 to ${MAXIMUM_PAGES}`,
        pageCount,
      )
    }
    const first = frames.take(pageCount)
    domain.populate(first, pageCount)
    try {
      this.references = domain.grants.share({ first, count: pageCount }, { to, readonly })
    } catch (error) {
      domain.depopulate(first, pageCount)
      frames.giveBack(first, pageCount)
      throw error
    }
    this.bytes = domain.memory.view(first, pageCount)
    this.#domain = domain
    this.#frames = frames
    this.#first = first
  }

  /**
   * Ends the grants and gives the pages back; `bytes` reads as zeros then. Where the grantee still has one
   * mapped, its reference stays, and can be mapped, and all pages stay. A second call does nothing.
   */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    if (this.#domain.isDying) return
    if (this.#domain.grants.unshare(this.references).length > 0) return
    this.#domain.depopulate(this.#first, this.references.length)
    this.#frames.giveBack(this.#first, this.references.length)
  }

  /** The same as {@link SharedPages.close}. */
  [Symbol.dispose](): void {
    this.close()
  }
}

/** Frames of a domain that lie outside of its RAM, for pages to share. */
export class SharedFrames {
  /** Frames that were given back, by the length of their run: each length has its own. */
  readonly #free = new Map<number, number[]>()
  #next = FIRST_FRAME

  /** Takes a run of frames. */
  take(count: number): number {
    const again = this.#free.get(count)?.pop()
    if (again !== undefined) return again
    const first = this.#next
    this.#next += count
    return first
  }

  /** Gives a run back that was taken. */
  giveBack(first: number, count: number): void {
    const runs = this.#free.get(count) ?? []
    runs.push(first)
    this.#free.set(count, runs)
  }
}

/** Beyond every RAM, and within the 32 bits of a grant entry. */
const FIRST_FRAME = 0x8000_0000

/** As gntalloc's structure allows. */
const MAXIMUM_PAGES = 65_536
