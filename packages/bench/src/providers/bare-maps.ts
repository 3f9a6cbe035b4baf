import type { HostMemoryWindow } from '@xmc/hostmem'
import koffi from 'koffi'
import type { Guest } from '../guest.ts'

const PROT_READ = 1
const PROT_WRITE = 2
const MAP_SHARED = 0x01
const MAP_PRIVATE = 0x02
const MAP_FIXED = 0x10
const MAP_ANONYMOUS = 0x20
const MAP_NORESERVE = 0x4000

const libc = koffi.load(null)
const mmap: (
  address: number,
  length: number,
  protection: number,
  flags: number,
  fd: number,
  offset: number,
) => number = libc.func(
  'int64_t mmap(uint64_t address, size_t length, int protection, int flags, int fd, int64_t offset)',
)

/** What is mapped and unmapped with nothing around the system calls. */
export interface BareMaps {
  readonly guest: Guest
  /** Pages of each mapping. */
  readonly pages: number
  /** Places that take turns, as a cache reuses the oldest. */
  readonly places: number
  /** Pages that are read in each mapping. */
  readonly touched: number
  /** Mappings that stay; the oldest is unmapped first, where there is no room. 0 by default. */
  readonly kept?: number | undefined
}

/**
 * For each operation one call that maps pages of the guest, loads from the first pages, and one call that puts
 * anonymous pages back, there or where the oldest mapping is.
 */
export function bareMaps({ guest, pages, places, touched, kept = 0 }: BareMaps) {
  const window = guest.window((places + 1) * pages * 4096)
  const view = new DataView(window.buffer, window.byteOffset, window.pageCount * 4096)
  const filePages = guest.file.size / 4096
  let filePage = 0
  let place = 0
  return (count: number): number => {
    let sum = 0
    for (let i = 0; i < count; i++) {
      const at = place * pages
      map(window, at, pages, guest.file.fd, filePage)
      for (let page = 0; page < touched; page++) {
        sum = (sum + view.getUint32((at + page) * 4096, true)) | 0
      }
      const oldest = kept === 0 ? place : (place + places - kept) % places
      fill(window, oldest * pages, pages, oldest % 2 === 0)
      place = (place + 1) % places
      filePage = (filePage + pages) % filePages
    }
    return sum
  }
}

function map(window: HostMemoryWindow, page: number, count: number, fd: number, filePage: number) {
  const address = window.hostAddress + page * 4096
  const flags = MAP_SHARED | MAP_FIXED
  if (mmap(address, count * 4096, PROT_READ | PROT_WRITE, flags, fd, filePage * 4096) < 0) refuse()
}

/** Two neighbours merge into one memory area unless they differ in `reserve`, as a window's own do. */
function fill(window: HostMemoryWindow, page: number, count: number, reserve: boolean) {
  const address = window.hostAddress + page * 4096
  const flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | (reserve ? 0 : MAP_NORESERVE)
  if (mmap(address, count * 4096, PROT_READ | PROT_WRITE, flags, -1, 0) < 0) refuse()
}

function refuse(): never {
  throw new Error(`mmap failed with errno ${koffi.errno()}`)
}
