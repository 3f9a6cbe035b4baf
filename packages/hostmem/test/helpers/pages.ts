import type { HostMemoryWindow } from '../../src/index.ts'

/** A view of pages of a window. */
export function bytesOf(window: HostMemoryWindow, page: number, pageCount = 1): Uint8Array {
  return new Uint8Array(window.buffer, window.byteOffset + page * 4096, pageCount * 4096)
}

/** The first byte of each page. */
export function firstBytes(bytes: Uint8Array): number[] {
  return Array.from({ length: bytes.length / 4096 }, (_, page) => bytes.at(page * 4096) ?? -1)
}
