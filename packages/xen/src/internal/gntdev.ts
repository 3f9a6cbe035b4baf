import {
  countPages,
  type GrantCopySegment,
  type GrantMapRequest,
  isPageList,
  PAGE_SIZE,
  type UnmapNotify,
} from '@xmc/interface'
import { getUint64, requestNumber, setUint64 } from './layout.ts'

/** The device of granted pages. */
export const GNTDEV_PATH = '/dev/xen/gntdev'

/** `IOCTL_GNTDEV_MAP_GRANT_REF`: announces references, which a mmap at the index then maps. */
export const MAP_GRANT_REFERENCES: number = requestNumber('G', 0, 24)

/** `IOCTL_GNTDEV_UNMAP_GRANT_REF`: takes the references of an index back. */
export const UNMAP_GRANT_REFERENCES: number = requestNumber('G', 1, 16)

/** `IOCTL_GNTDEV_SET_UNMAP_NOTIFY`: what happens when a mapping goes. */
export const SET_UNMAP_NOTIFY: number = requestNumber('G', 7, 16)

/** `IOCTL_GNTDEV_GRANT_COPY`: copies between granted pages and memory of the process. */
export const GRANT_COPY: number = requestNumber('G', 8, 16)

const NOTIFY_CLEAR_BYTE = 1
const NOTIFY_SEND_EVENT = 2
const COPY_SOURCE_IS_GRANT = 1
const COPY_TARGET_IS_GRANT = 2
const COPY_HEADER_BYTES = 16
const SEGMENT_BYTES = 24

/** `struct ioctl_gntdev_map_grant_ref`: count, index (an answer), and domain and reference of each page. */
export function mapGrantReferences(request: GrantMapRequest): DataView<ArrayBuffer> {
  const { domain, references } = request
  const count = countPages(references)
  const view = new DataView(new ArrayBuffer(16 + 8 * count))
  view.setUint32(0, count, true)
  const list = isPageList(references)
  for (let i = 0; i < count; i++) {
    view.setUint32(16 + 8 * i, domain, true)
    view.setUint32(20 + 8 * i, list ? (references[i] ?? 0) : references.first + i, true)
  }
  return view
}

/** The index that the kernel gave: an offset of the device, in bytes. */
export function indexOf(mapped: DataView): number {
  return getUint64(mapped, 8)
}

/** `struct ioctl_gntdev_unmap_grant_ref`: index, count. */
export function unmapGrantReferences(index: number, count: number): Uint8Array {
  const view = new DataView(new ArrayBuffer(16))
  setUint64(view, 0, index)
  view.setUint32(8, count, true)
  return new Uint8Array(view.buffer)
}

/** `struct ioctl_gntdev_unmap_notify`: index of the byte, action, event channel port. */
export function setUnmapNotify(index: number, notify: UnmapNotify): Uint8Array {
  const { clearByte, eventChannel } = notify
  const view = new DataView(new ArrayBuffer(16))
  setUint64(view, 0, index + (clearByte ?? 0))
  const clear = clearByte === undefined ? 0 : NOTIFY_CLEAR_BYTE
  view.setUint32(8, clear | (eventChannel === undefined ? 0 : NOTIFY_SEND_EVENT), true)
  view.setUint32(12, eventChannel ?? 0, true)
  return new Uint8Array(view.buffer)
}

/** Most segments of one call: their bytes go through memory of their own, a page for each. */
export const SEGMENTS_PER_COPY = 64

/** Bytes for {@link writeGrantCopy}, wherever in a page they start. */
export const GRANT_COPY_BYTES: number = (SEGMENTS_PER_COPY + 2) * PAGE_SIZE

/** Where in its memory a copy keeps the bytes of segment `index`: a page of the host that it does not share. */
export function bytesOfSegment(view: DataView, address: number, index: number): number {
  const headerEnd = address + COPY_HEADER_BYTES + SEGMENT_BYTES * SEGMENTS_PER_COPY
  const start = Math.ceil(headerEnd / PAGE_SIZE) * PAGE_SIZE - address + PAGE_SIZE * index
  if (start + PAGE_SIZE > view.byteLength) throw new RangeError('a copy has too many segments')
  return start
}

/**
 * Writes `struct ioctl_gntdev_grant_copy` (count, address of the segments), the segments (source and
 * target of 8 bytes each, length, flags, status), and the bytes that go to granted pages.
 */
export function writeGrantCopy(
  view: DataView<ArrayBuffer>,
  address: number,
  segments: readonly GrantCopySegment[],
): void {
  view.setUint32(0, segments.length, true)
  view.setUint32(4, 0, true)
  setUint64(view, 8, address + COPY_HEADER_BYTES)
  for (const [index, segment] of segments.entries()) {
    const { bytes, direction } = segment
    const local = bytesOfSegment(view, address, index)
    const at = COPY_HEADER_BYTES + SEGMENT_BYTES * index
    const fromGrant = direction === 'from-grant'
    writeGrantEnd(view, fromGrant ? at : at + 8, segment)
    setUint64(view, fromGrant ? at + 8 : at, address + local)
    view.setUint16(at + 16, bytes.length, true)
    view.setUint16(at + 18, fromGrant ? COPY_SOURCE_IS_GRANT : COPY_TARGET_IS_GRANT, true)
    view.setInt16(at + 20, 0, true)
    view.setUint16(at + 22, 0, true)
    if (!fromGrant) new Uint8Array(view.buffer).set(bytes, local)
  }
}

/** The status of segment `index` after the call. */
export function statusOfSegment(view: DataView, index: number): number {
  return view.getInt16(COPY_HEADER_BYTES + SEGMENT_BYTES * index + 20, true)
}

function writeGrantEnd(view: DataView, at: number, segment: GrantCopySegment): void {
  view.setUint32(at, segment.reference, true)
  view.setUint16(at + 4, segment.offset, true)
  view.setUint16(at + 6, segment.domain, true)
}
