import { loadNativeInterface, requireSupportedPlatform } from '../platform.ts'

// Linux gives these numbers to x64 and arm64 alike: both take them from its generic headers.
export const PROT_READ = 1
export const PROT_WRITE = 2
export const MAP_SHARED = 0x01
export const MAP_PRIVATE = 0x02
export const MAP_FIXED = 0x10
export const MAP_ANONYMOUS = 0x20
export const MAP_NORESERVE = 0x4000
export const MADV_DONTNEED = 4
export const MADV_DONTDUMP = 16
export const MADV_DODUMP = 17
export const MFD_CLOEXEC = 1
export const FALLOC_FL_KEEP_SIZE = 1
export const FALLOC_FL_PUNCH_HOLE = 2
export const RLIMIT_AS = 9
export const ENOMEM = 12

/**
 * The C functions that the package calls. Nothing is checked here: koffi ends the process on a null
 * pointer or an oversized number, so a caller checks every argument first.
 */
export interface SystemCalls {
  /** Returns the address, or −1. */
  readonly mmap: (
    address: number,
    length: number,
    protection: number,
    flags: number,
    fd: number,
    fileOffset: number,
  ) => number
  /** As `mmap`, on another thread. Resolves with 0, or the errno. */
  readonly mmapAsync: (
    address: number,
    length: number,
    protection: number,
    flags: number,
    fd: number,
    fileOffset: number,
  ) => Promise<number>
  readonly madvise: (address: number, length: number, advice: number) => number
  /** Returns the address of `target`: with a length of 0, the way to learn where a buffer lies. */
  readonly memcpy: (target: Uint8Array, source: Uint8Array, length: number) => number
  readonly memfdCreate: (name: string, flags: number) => number
  readonly fallocate: (fd: number, mode: number, offset: number, length: number) => number
  /** As `fallocate`, on another thread. Resolves with 0, or the errno. */
  readonly fallocateAsync: (
    fd: number,
    mode: number,
    offset: number,
    length: number,
  ) => Promise<number>
  /** Fills in the soft and the hard limit. */
  readonly getrlimit: (resource: number, limits: BigUint64Array) => number
  /** Takes the soft and the hard limit. */
  readonly setrlimit: (resource: number, limits: BigUint64Array) => number
  /** errno of the call before, on this thread. */
  readonly errno: () => number
}

let loaded: SystemCalls | undefined

/**
 * The system calls, bound when they are first asked for.
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
  // The C library is part of the process already, under whatever name it has.
  const libc = koffi.load(null)
  const getpagesize: () => number = libc.func('int getpagesize()')
  requireSupportedPlatform(process.platform, process.arch, getpagesize())
  // Addresses are declared as integers so that plain numbers go in and out: a pointer type would
  // cost a BigInt for each call.
  const mmap = libc.func(
    'int64_t mmap(uint64_t address, size_t length, int protection, int flags, int fd, int64_t offset)',
  )
  const fallocate = libc.func('int fallocate(int fd, int mode, int64_t offset, int64_t length)')
  return {
    mmap,
    mmapAsync: (...parameters) =>
      new Promise((resolve, reject) => {
        mmap.async(...parameters, (error: unknown, address: number) => {
          // koffi keeps the errno of the other thread for the time of this callback.
          if (error === null) resolve(address === -1 ? koffi.errno() : 0)
          else reject(error)
        })
      }),
    madvise: libc.func('int madvise(uint64_t address, size_t length, int advice)'),
    memcpy: libc.func('uint64_t memcpy(void *target, const void *source, size_t length)'),
    memfdCreate: libc.func('memfd_create', 'int', ['const char *', 'unsigned int']),
    fallocate,
    fallocateAsync: (...parameters) =>
      new Promise((resolve, reject) => {
        fallocate.async(...parameters, (error: unknown, result: number) => {
          // koffi keeps the errno of the other thread for the time of this callback.
          if (error === null) resolve(result === 0 ? 0 : koffi.errno())
          else reject(error)
        })
      }),
    getrlimit: libc.func('int getrlimit(int resource, void *limits)'),
    setrlimit: libc.func('int setrlimit(int resource, const void *limits)'),
    errno: () => koffi.errno(),
  }
}
