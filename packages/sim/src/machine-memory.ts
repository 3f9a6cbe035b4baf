import { constants } from 'node:os'
import { createMemoryFile, type HostMemoryWindow, type MemoryFile, openWindow } from '@xmc/hostmem'
import { PAGE_SIZE, SystemCallError, type WindowPage, windowPage } from '@xmc/interface'
import { intersect, type Range, subtract } from './internal/ranges.ts'

/** Pages of the memory file: 4 TiB, of which only touched pages cost anything. */
const MACHINE_PAGES = 2 ** 30

/** How many pages {@link MachineMemory.bytesOf} keeps mapped. */
const PAGE_VIEWS = 64

/** A claim on machine pages by somebody who maps them; they are not freed while it lasts. */
export interface Hold {
  /** The pages. */
  readonly ranges: readonly Range[]
}

/**
 * The machine's memory: pages of one sparse memory file, which every window maps.
 *
 * A page is given out once and never again, so a mapping that outlives its page's place in a guest
 * shows the old bytes and nobody else's. A freed page is cut out of the file, unless somebody still
 * holds it: then that happens with the last hold.
 */
export class MachineMemory {
  readonly #file: MemoryFile
  readonly #holds = new Set<Hold>()
  #next = 0
  #orphans: Range[] = []
  #allocated = 0
  #window: HostMemoryWindow | undefined
  /** Place in the window of each page that is mapped there, the longest unused first. */
  readonly #views = new Map<number, WindowPage>()

  /** `name` shows in `/proc/self/maps`. */
  constructor(name: string) {
    this.#file = createMemoryFile({ name, size: MACHINE_PAGES * PAGE_SIZE })
  }

  /** Descriptor of the memory file; page `n` is at byte `n * 4096`. */
  get fd(): number {
    return this.#file.fd
  }

  /** Pages that are given out and not freed, those that only a hold keeps included. */
  get allocatedPages(): number {
    return this.#allocated
  }

  /** Pages that were freed by their domain and live on because somebody maps them. */
  get orphanedPages(): number {
    return this.#orphans.reduce((sum, range) => sum + range.count, 0)
  }

  /**
   * Gives out `count` consecutive pages of zeros; returns the number of the first.
   *
   * @throws SystemCallError `ERR_XMC_SYSTEM_CALL` (`ENOMEM`) after 2^30 pages in all
   */
  allocate(count: number): number {
    if (this.#next + count > MACHINE_PAGES) {
      throw new SystemCallError(
        'populate',
        constants.errno.ENOMEM,
        `the simulator gives out ${MACHINE_PAGES} machine pages in all, ${this.#next} are gone: open a new hypervisor`,
      )
    }
    const first = this.#next
    this.#next += count
    this.#allocated += count
    return first
  }

  /** Frees pages; those that somebody holds stay until the last hold goes. */
  free(range: Range): void {
    const claims = [...this.#holds].flatMap((hold) => hold.ranges)
    const unheld = subtract(range, claims)
    for (const part of unheld) this.#punch(part)
    this.#orphans.push(...subtract(range, unheld))
  }

  /** Claims pages. */
  hold(ranges: readonly Range[]): Hold {
    const hold: Hold = { ranges }
    this.#holds.add(hold)
    return hold
  }

  /** Gives a claim up, and frees what only it kept. */
  release(hold: Hold): void {
    if (!this.#holds.delete(hold) || this.#orphans.length === 0) return
    const orphans = this.#orphans
    this.#orphans = []
    for (const orphan of orphans) {
      if (hold.ranges.some((range) => intersect(range, orphan) !== undefined)) this.free(orphan)
      else this.#orphans.push(orphan)
    }
  }

  /** Whether somebody holds `page`. */
  isHeld(page: number): boolean {
    for (const hold of this.#holds) {
      for (const range of hold.ranges) {
        if (page >= range.first && page < range.first + range.count) return true
      }
    }
    return false
  }

  /**
   * The bytes of one page, shared with everybody who maps it. They show something else after 64
   * other pages were asked for.
   */
  bytesOf(page: number): Uint8Array {
    this.#window ??= openWindow({ pageCount: PAGE_VIEWS })
    const known = this.#views.get(page)
    const place = known ?? this.#placeForView()
    if (known === undefined) this.#window.map(place, 1, this.fd, page * PAGE_SIZE, true)
    this.#views.delete(page)
    this.#views.set(page, place)
    const { buffer, byteOffset } = this.#window
    return new Uint8Array(buffer, byteOffset + place * PAGE_SIZE, PAGE_SIZE)
  }

  /** Closes the memory file. What windows still map stays readable until they are reset. */
  close(): void {
    this.#holds.clear()
    this.#orphans = []
    this.#views.clear()
    this.#window?.close()
    this.#file.close()
  }

  #placeForView(): WindowPage {
    if (this.#views.size < PAGE_VIEWS) return windowPage(this.#views.size)
    for (const [page, place] of this.#views) {
      this.#views.delete(page)
      return place
    }
    return windowPage(0)
  }

  #punch(range: Range): void {
    this.#file.punchHole(range.first * PAGE_SIZE, range.count * PAGE_SIZE)
    this.#allocated -= range.count
  }
}
