import { type GuestFrame, isPageList, type Pages } from '@xmc/interface'
import { requestNumber, setUint64 } from './layout.ts'

/** The device of foreign memory. */
export const PRIVCMD_PATH = '/dev/xen/privcmd'

/** `IOCTL_PRIVCMD_MMAPBATCH_V2`: maps frames of a domain into a mapping of the device. */
export const MAP_BATCH: number = requestNumber('P', 4, 32)

/** Bytes before the frames in the memory of {@link writeMapBatch}. */
const HEADER_BYTES = 32

/** One batch: part of a request, at a place of its own. */
export interface MapBatch {
  readonly domain: number
  /** Host virtual address of the target, which is one whole mapping of the device. */
  readonly hostAddress: number
  readonly frames: Pages<GuestFrame>
  /** First of `frames` that the batch maps, and how many. */
  readonly start: number
  readonly count: number
}

/** Bytes that a batch of `count` frames takes: its structure, the frames, the errors. */
export function mapBatchBytes(count: number): number {
  return HEADER_BYTES + 12 * count
}

/**
 * Writes `struct privcmd_mmapbatch_v2`, the frames it points to, and room for the errors, which the
 * kernel clears: num, dom, addr, arr, err.
 */
export function writeMapBatch(view: DataView, address: number, batch: MapBatch): void {
  const { domain, hostAddress, frames, start, count } = batch
  view.setUint32(0, count, true)
  view.setUint16(4, domain, true)
  view.setUint16(6, 0, true)
  setUint64(view, 8, hostAddress)
  setUint64(view, 16, address + HEADER_BYTES)
  setUint64(view, 24, address + HEADER_BYTES + 8 * count)
  const list = isPageList(frames)
  for (let i = 0; i < count; i++) {
    const frame = list ? (frames[start + i] ?? 0) : frames.first + start + i
    setUint64(view, HEADER_BYTES + 8 * i, frame)
  }
}

/** Copies the errors of a batch, 0 or a negative errno for each frame; returns how many are not 0. */
export function readErrors(view: DataView, batch: MapBatch, statuses: Int32Array): number {
  const { start, count } = batch
  const offset = HEADER_BYTES + 8 * count
  let failed = 0
  for (let i = 0; i < count; i++) {
    const status = view.getInt32(offset + 4 * i, true)
    statuses[start + i] = status
    if (status !== 0) failed++
  }
  return failed
}
