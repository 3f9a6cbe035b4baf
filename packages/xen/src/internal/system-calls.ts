import { closeSync, openSync, readSync, writeSync } from 'node:fs'
import { loadNativeInterface, requireSupportedPlatform } from '@xmc/hostmem'
import { errnoOf } from '@xmc/interface'

// Linux gives these numbers to x64 and arm64 alike: both take them from its generic headers.
const MADV_DONTFORK = 10
const F_SETFL = 4
const F_SETOWN = 8
const O_RDWR = 0o2
export const O_NONBLOCK = 0o4000
const O_ASYNC = 0o20000

/**
 * The system calls that the devices stand on. What fails gives a negative errno. Nothing is checked
 * here: a caller checks its arguments first.
 */
export interface SystemCalls {
  /** Opens a device for reading and writing, so that no child process gets it. Returns the descriptor. */
  open(path: string, flags?: number): number
  close(descriptor: number): void
  /** `argument` may be written to. */
  ioctl(descriptor: number, request: number, argument: Uint8Array): number
  /** As `ioctl`, on another thread. `argument` is nobody else's until the promise settles. */
  ioctlAsync(descriptor: number, request: number, argument: Uint8Array): Promise<number>
  /** Reads what is there, at most `target.length` bytes; returns their number. */
  read(descriptor: number, target: Uint8Array): number
  write(descriptor: number, source: Uint8Array): number
  /** Keeps whole mappings from a process that forks off. */
  dontFork(address: number, length: number): number
  /** Whether the kernel sends this process SIGIO when there is something to read. */
  signalInput(descriptor: number, signal: boolean): number
  /** Host virtual address of a buffer; it stays as long as the buffer lives. */
  addressOf(buffer: ArrayBuffer): number
}

let loaded: SystemCalls | undefined

/**
 * The system calls of this process, bound when they are first asked for.
 *
 * @throws UnsupportedPlatformError `ERR_XMC_UNSUPPORTED_PLATFORM`
 * @throws NativeLibraryError `ERR_XMC_NATIVE_LIBRARY`
 */
export function systemCalls(): SystemCalls {
  loaded ??= load()
  return loaded
}

function load(): SystemCalls {
  requireSupportedPlatform()
  const koffi = loadNativeInterface()
  const libc = koffi.load(null)
  const getpagesize: () => number = libc.func('int getpagesize()')
  requireSupportedPlatform(process.platform, process.arch, getpagesize())
  const ioctl = libc.func('int ioctl(int descriptor, unsigned long request, void *argument)')
  const fcntl: (descriptor: number, command: number, argument: number) => number = libc.func(
    'int fcntl(int descriptor, int command, int64_t argument)',
  )
  const madvise: (address: number, length: number, advice: number) => number = libc.func(
    'int madvise(uint64_t address, size_t length, int advice)',
  )
  const memcpy: (target: Uint8Array, source: Uint8Array, length: number) => number = libc.func(
    'uint64_t memcpy(void *target, const void *source, size_t length)',
  )
  const result = (value: number): number => (value < 0 ? -koffi.errno() : value)
  return {
    open: (path, flags = 0) => attempt(() => openSync(path, O_RDWR | flags)),
    close: (descriptor) => closeSync(descriptor),
    ioctl: (descriptor, request, argument) => result(ioctl(descriptor, request, argument)),
    ioctlAsync: (descriptor, request, argument) =>
      new Promise((resolve, reject) => {
        ioctl.async(descriptor, request, argument, (error: unknown, value: number) => {
          // koffi keeps the errno of the other thread for the time of this callback.
          if (error === null) resolve(result(value))
          else reject(error)
        })
      }),
    read: (descriptor, target) => attempt(() => readSync(descriptor, target)),
    write: (descriptor, source) => attempt(() => writeSync(descriptor, source)),
    dontFork: (address, length) => result(madvise(address, length, MADV_DONTFORK)),
    signalInput: (descriptor, signal) => {
      const owned = signal ? result(fcntl(descriptor, F_SETOWN, process.pid)) : 0
      if (owned < 0) return owned
      const flags = O_RDWR | O_NONBLOCK | (signal ? O_ASYNC : 0)
      return result(fcntl(descriptor, F_SETFL, flags))
    },
    addressOf: (buffer) => {
      const bytes = new Uint8Array(buffer)
      return memcpy(bytes, bytes, 0)
    },
  }
}

function attempt(action: () => number): number {
  try {
    return action()
  } catch (error) {
    const errno = errnoOf(error)
    if (errno === undefined) throw error
    return -errno
  }
}
