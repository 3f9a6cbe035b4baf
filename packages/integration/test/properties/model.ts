/**
 * What a cache over a guest must do, told without a cache: a page holds what the guest last had
 * there, a lock shows the pages as they were when they were mapped, and every lock is given back once.
 */

/** The memory behind a guest page at one time; ballooning out and in gives another. */
export interface Incarnation {
  /** What the first 4 bytes hold. */
  value: number
}

/** A guest page as the guest has it now, and what an access to it may do. */
export interface ModelPage {
  memory: Incarnation
  /** Whether a mapping may be made for reading, and for writing. */
  readable: boolean
  writable: boolean
}

/** A lock that is outstanding. */
export interface ModelLock {
  readonly page: number
  readonly offset: number
  readonly write: boolean
  readonly windowPage: number
  /** The memory that each page of the lock shows. */
  readonly shows: readonly Incarnation[]
  /** Guest page of each page of the lock. */
  readonly pages: readonly number[]
}

/** The guest's pages and the locks on them. */
export class GuestModel {
  readonly pages: Map<number, ModelPage> = new Map()
  readonly locks: ModelLock[] = []

  /** Whether every page of an access can be mapped now. */
  allows(pages: readonly number[], write: boolean): boolean {
    return pages.every((page) => {
      const state = this.pages.get(page)
      return state !== undefined && (write ? state.writable : state.readable)
    })
  }

  /** The memory now behind each page. */
  memoryOf(pages: readonly number[]): Incarnation[] {
    return pages.map((page) => {
      const state = this.pages.get(page)
      if (state === undefined) throw new Error(`page ${page} has no memory in the model`)
      return state.memory
    })
  }

  /** Locks outstanding at exactly one pointer. */
  locksAt(windowPage: number, offset: number): number {
    return this.locks.filter((lock) => lock.windowPage === windowPage && lock.offset === offset)
      .length
  }
}

/** The pages that `length` bytes from `offset` in `page` lie in. */
export function pagesOf(page: number, offset: number, length: number): number[] {
  const count = length === 0 ? 1 : Math.floor((offset + length - 1) / 4096) + 1
  return Array.from({ length: count }, (_, nth) => page + nth)
}
