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
  readonly offset: number
  readonly write: boolean
  readonly windowPage: number
  /** The memory that each page of the lock shows. A replacement changes both. */
  shows: readonly Incarnation[]
  /** Guest page of each page of the lock. */
  pages: readonly number[]
  /** Whether it stands for memory that has not arrived. */
  dummy: boolean
  /** Whether new requests cannot find it any more, since everything was invalidated. */
  hidden: boolean
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

/** A window in slots of one bucket each, and a request for some of them. */
export interface WindowRequest {
  readonly windowPages: number
  readonly pagesPerSlot: number
  /** Slots that are asked for in one piece. */
  readonly slots: number
  /** Pages that no unmap could clear, anywhere in the window. */
  readonly lostPages: number
  /** The most slots that one mapping has, of which a lock may use any part. */
  readonly longestMapping: number
}

/**
 * Whether locks can leave no room for a request: everything else gives way. A slot is free when it is
 * farther from every lock than a mapping around that lock can reach. Lost pages lie anywhere, and each
 * lost slot can spoil one of the separate places that are free.
 */
export function canBeFull(locks: readonly ModelLock[], request: WindowRequest): boolean {
  const { windowPages, pagesPerSlot, slots, lostPages, longestMapping } = request
  const reach = longestMapping - 1
  const taken = locks.map(({ windowPage, pages }) => ({
    first: Math.floor(windowPage / pagesPerSlot) - reach,
    last: Math.floor((windowPage + pages.length - 1) / pagesPerSlot) + reach,
  }))
  let places = 0
  let run = 0
  for (let slot = 0; slot < windowPages / pagesPerSlot; slot++) {
    run = taken.some(({ first, last }) => slot >= first && slot <= last) ? 0 : run + 1
    if (run === slots) {
      places++
      run = 0
    }
  }
  return places <= lostPages / pagesPerSlot
}
