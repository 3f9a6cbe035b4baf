import type { TargetWindow } from '@xmc/interface'

/** A window that nothing can really be mapped into: the tests look at the calls, not at memory. */
export function plainWindow(pageCount = 1024): TargetWindow {
  const buffer = new ArrayBuffer(pageCount * 4096)
  return {
    buffer,
    byteOffset: 0,
    pageCount,
    hostAddress: 0x7f00_0000_0000,
    reset(page, count) {
      new Uint8Array(buffer, page * 4096, count * 4096).fill(0)
    },
    map() {
      throw new Error('this window maps no files')
    },
  }
}
