import { createRequire } from 'node:module'
import { PAGE_SIZE, XmcError } from '@xmc/interface'

/** Platforms that the package works on, as `process.platform` and `process.arch` joined by a hyphen. */
export const SUPPORTED_PLATFORMS: readonly string[] = ['linux-x64', 'linux-arm64']

/**
 * Checks that the system calls of this package exist as it calls them. Everything in the package
 * that needs the kernel does this itself when it is first used; importing it needs no support.
 *
 * @param platform as `process.platform`
 * @param arch as `process.arch`
 * @param pageSize bytes of a page of the running kernel; a window is laid out in pages of 4096 bytes,
 * and a kernel with larger ones cannot replace them singly
 * @throws UnsupportedPlatformError `ERR_XMC_UNSUPPORTED_PLATFORM`
 */
export function requireSupportedPlatform(
  platform: string = process.platform,
  arch: string = process.arch,
  pageSize: number = PAGE_SIZE,
): void {
  if (!SUPPORTED_PLATFORMS.includes(`${platform}-${arch}`) || pageSize !== PAGE_SIZE) {
    throw new UnsupportedPlatformError(platform, arch, pageSize)
  }
}

/**
 * The library through which C functions are called (koffi), loaded when it is first asked for. For
 * packages beside this one that call the kernel.
 *
 * @throws NativeLibraryError `ERR_XMC_NATIVE_LIBRARY`
 */
export function loadNativeInterface(): typeof import('koffi') {
  try {
    return createRequire(import.meta.url)('koffi')
  } catch (error) {
    throw new NativeLibraryError(error)
  }
}

/** `ERR_XMC_UNSUPPORTED_PLATFORM`: host memory was to be used where the package cannot do so. */
export class UnsupportedPlatformError extends XmcError {
  /** The platform that was found, as `darwin`. */
  readonly platform: string
  /** The architecture that was found, as `ia32`. */
  readonly arch: string
  /** Bytes of a page of the kernel that was found. */
  readonly pageSize: number

  constructor(platform: string, arch: string, pageSize: number) {
    super(
      'ERR_XMC_UNSUPPORTED_PLATFORM',
      `host memory is not supported on ${platform}-${arch} with pages of ${pageSize} bytes: ` +
        `run on ${SUPPORTED_PLATFORMS.join(' or ')} with pages of ${PAGE_SIZE} bytes`,
    )
    this.platform = platform
    this.arch = arch
    this.pageSize = pageSize
  }
}

/** `ERR_XMC_NATIVE_LIBRARY`: koffi, or its binary for this platform, is not installed. */
export class NativeLibraryError extends XmcError {
  constructor(cause: unknown) {
    super(
      'ERR_XMC_NATIVE_LIBRARY',
      `koffi cannot be loaded on ${process.platform}-${process.arch}: ` +
        'install it with its optional dependencies, which hold the binary',
      { cause },
    )
  }
}
