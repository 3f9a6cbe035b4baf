import { getUint64, requestNumber, setUint64 } from './layout.ts'

/** The device that grants pages of this domain. */
export const GNTALLOC_PATH = '/dev/xen/gntalloc'

/** `IOCTL_GNTALLOC_ALLOC_GREF`: makes pages and grants them. */
export const ALLOCATE_GRANTS: number = requestNumber('G', 5, 24)

/** `IOCTL_GNTALLOC_DEALLOC_GREF`: ends the grants, with the last mapping of their pages. */
export const FREE_GRANTS: number = requestNumber('G', 6, 16)

const FLAG_WRITABLE = 1

/** `struct ioctl_gntalloc_alloc_gref`: domain, flags, count, index and references (answers). */
export function allocateGrants(
  to: number,
  writable: boolean,
  pageCount: number,
): DataView<ArrayBuffer> {
  // The structure has room for one reference and ends at a multiple of 8.
  const view = new DataView(new ArrayBuffer(Math.max(24, 16 + 4 * pageCount)))
  view.setUint16(0, to, true)
  view.setUint16(2, writable ? FLAG_WRITABLE : 0, true)
  view.setUint32(4, pageCount, true)
  return view
}

/** The index that the kernel gave: an offset of the device, in bytes. */
export function indexOfGrants(allocated: DataView): number {
  return getUint64(allocated, 8)
}

/** The references that the kernel gave. */
export function referencesOfGrants(allocated: DataView, pageCount: number): number[] {
  return Array.from({ length: pageCount }, (_, index) => allocated.getUint32(16 + 4 * index, true))
}

/** `struct ioctl_gntalloc_dealloc_gref`: index, count. */
export function freeGrants(index: number, pageCount: number): Uint8Array {
  const view = new DataView(new ArrayBuffer(16))
  setUint64(view, 0, index)
  view.setUint32(8, pageCount, true)
  return new Uint8Array(view.buffer)
}
