import type { HostMemoryWindow } from '@xmc/hostmem'

/** A view of pages of a window. */
export function bytesOf(window: HostMemoryWindow, page: number, pageCount = 1): Uint8Array {
  return new Uint8Array(window.buffer, window.byteOffset + page * 4096, pageCount * 4096)
}

/** The first byte of each page. */
export function firstBytes(window: HostMemoryWindow, page: number, pageCount: number): number[] {
  return Array.from({ length: pageCount }, (_, index) => bytesOf(window, page + index)[0] ?? -1)
}
