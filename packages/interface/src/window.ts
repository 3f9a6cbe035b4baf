import type { WindowPage } from './page.ts'
import type { WindowAreas } from './window-areas.ts'

/**
 * What the engine needs of a window of host memory: one buffer, made once, whose pages a backend
 * replaces in place. Met by `@xmc/hostmem`.
 */
export interface HostWindow {
  /** The buffer that the window lies in. It never moves and is never detached. */
  readonly buffer: ArrayBuffer | SharedArrayBuffer
  /** Where window page 0 starts in `buffer`, in bytes. */
  readonly byteOffset: number
  /** Pages of the window, 4 KiB each. */
  readonly pageCount: number
  /**
   * The account of memory areas that the window's mappings take. Absent where nobody counts them; where
   * it is there, a map that would exceed it throws `ERR_XMC_MEMORY_AREAS` and leaves anonymous pages.
   */
  readonly areas?: WindowAreas | undefined
  /**
   * Puts anonymous zero pages at `page` and the `pageCount - 1` that follow, whatever was there.
   *
   * @throws XmcError when the pages lie outside the window or the kernel refuses
   */
  reset(page: WindowPage, pageCount: number): void
  /**
   * Notes that calls are under way that map or unmap here, until {@link HostWindow.letGo} was called as often:
   * a window that can be closed refuses that meanwhile.
   */
  hold?(): void
  /** Ends a {@link HostWindow.hold}. */
  letGo?(): void
}

/** What providers of foreign memory and of grants need besides: a place to map a device's pages. */
export interface TargetWindow extends HostWindow {
  /** Host virtual address of window page 0; below 2^52, so it is exact. */
  readonly hostAddress: number
  /**
   * Maps `pageCount` pages of the file `fd` from byte `fileOffset` at `page`, shared and in place.
   * When the kernel refuses, anonymous pages are back in place before the error is thrown.
   *
   * @throws XmcError when an argument is out of range or the kernel refuses
   */
  map(page: WindowPage, pageCount: number, fd: number, fileOffset: number, writable: boolean): void
  /**
   * As `map`, on another thread, for a device whose map waits. The pages are nobody's until the promise
   * settles. Providers use `map` where a window has no such form.
   *
   * @throws XmcError as `map`
   */
  mapAsync?(
    page: WindowPage,
    pageCount: number,
    fd: number,
    fileOffset: number,
    writable: boolean,
  ): Promise<void>
}
