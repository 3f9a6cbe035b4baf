import { createRequire } from 'node:module'
import type { GuestSide } from '@xmc/contract'

const READ_WRITE = 3

/**
 * Reads and writes the memory of a guest through libxenforeignmemory, a page at a time: another road
 * than that of the port under test.
 */
export function guestMemory(domain: number): GuestSide & { close(): void } {
  const koffi: typeof import('koffi') = createRequire(import.meta.url)('koffi')
  const library = koffi.load('libxenforeignmemory.so.1')
  const open = library.func('void *xenforeignmemory_open(void *logger, unsigned int flags)')
  const close = library.func('int xenforeignmemory_close(void *handle)')
  const map = library.func(
    'void *xenforeignmemory_map(void *handle, uint32_t domain, int protection, size_t pages, void *frames, void *errors)',
  )
  const unmap = library.func(
    'int xenforeignmemory_unmap(void *handle, void *address, size_t pages)',
  )
  const handle: unknown = open(null, 0)
  if (handle === null) throw new Error('xenforeignmemory_open failed')

  const withPage = <Result>(frame: number, action: (bytes: Uint8Array) => Result): Result => {
    const errors = new Int32Array(1)
    const address: unknown = map(
      handle,
      domain,
      READ_WRITE,
      1,
      BigUint64Array.of(BigInt(frame)),
      errors,
    )
    if (address === null || errors[0] !== 0) {
      throw new Error(`frame 0x${frame.toString(16)} of domain ${domain}: error ${errors[0]}`)
    }
    try {
      return action(new Uint8Array(koffi.view(address, 4096)))
    } finally {
      unmap(handle, address, 1)
    }
  }

  return {
    read: (frame, offset, length) => withPage(frame, (page) => page.slice(offset, offset + length)),
    write: (frame, offset, bytes) => withPage(frame, (page) => page.set(bytes, offset)),
    close: () => void close(handle),
  }
}
