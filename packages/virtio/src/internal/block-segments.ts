import {
  VIRTIO_BLK_HEADER_SIZE,
  VIRTIO_BLK_SECTOR_SIZE,
  VIRTIO_BLK_SEGMENT_F_UNMAP,
  VIRTIO_BLK_SEGMENT_FLAGS,
  VIRTIO_BLK_SEGMENT_SECTOR,
  VIRTIO_BLK_SEGMENT_SECTOR_COUNT,
  VIRTIO_BLK_SEGMENT_SIZE,
} from '../block-protocol.ts'
import { BlockRequestError } from '../block-request-error.ts'
import type { DescriptorChain } from '../descriptor-chain.ts'
import {
  DISCARD_SECTORS,
  DISCARD_SEGMENTS,
  WRITE_ZEROES_SECTORS,
  WRITE_ZEROES_SEGMENTS,
} from './block-configuration.ts'

/** A range of a discard or write-zeroes, in bytes. */
export interface BlockSegment {
  readonly position: number
  readonly length: number
  readonly mayUnmap: boolean
}

/**
 * Reads the segments behind a request's header, once, and checks what does not depend on the disk.
 *
 * @throws BlockRequestError
 */
export function parseSegments(
  chain: DescriptorChain,
  kind: 'discard' | 'write-zeroes',
): BlockSegment[] {
  const limits = LIMITS[kind]
  const length = chain.readableLength - VIRTIO_BLK_HEADER_SIZE
  if (length === 0 || length % VIRTIO_BLK_SEGMENT_SIZE !== 0) {
    throw new BlockRequestError(
      'length',
      `${length} bytes of segments: a multiple of ${VIRTIO_BLK_SEGMENT_SIZE} is needed`,
    )
  }
  if (length / VIRTIO_BLK_SEGMENT_SIZE > limits.segments) {
    throw new BlockRequestError(
      'segments',
      `${length / VIRTIO_BLK_SEGMENT_SIZE} segments: up to ${limits.segments} are allowed`,
    )
  }
  const bytes = chain.read(VIRTIO_BLK_HEADER_SIZE, length)
  const view = new DataView(bytes.buffer)
  const segments: BlockSegment[] = []
  for (let at = 0; at < length; at += VIRTIO_BLK_SEGMENT_SIZE) {
    segments.push(parseSegment(view, at, limits))
  }
  return segments
}

interface SegmentLimits {
  readonly sectors: number
  readonly segments: number
  readonly flags: number
}

/** A discard takes no flag, not even UNMAP (5.2.6.2). */
const LIMITS: Readonly<Record<'discard' | 'write-zeroes', SegmentLimits>> = {
  discard: { sectors: DISCARD_SECTORS, segments: DISCARD_SEGMENTS, flags: 0 },
  'write-zeroes': {
    sectors: WRITE_ZEROES_SECTORS,
    segments: WRITE_ZEROES_SEGMENTS,
    flags: VIRTIO_BLK_SEGMENT_F_UNMAP,
  },
}

function parseSegment(view: DataView, at: number, limits: SegmentLimits): BlockSegment {
  const sector =
    view.getUint32(at + VIRTIO_BLK_SEGMENT_SECTOR, true) +
    view.getUint32(at + VIRTIO_BLK_SEGMENT_SECTOR + 4, true) * 2 ** 32
  const sectors = view.getUint32(at + VIRTIO_BLK_SEGMENT_SECTOR_COUNT, true)
  const flags = view.getUint32(at + VIRTIO_BLK_SEGMENT_FLAGS, true)
  if ((flags & ~limits.flags) !== 0) {
    throw new BlockRequestError('unsupported', `segment flags 0x${flags.toString(16)}`)
  }
  if (sectors > limits.sectors) {
    throw new BlockRequestError(
      'segments',
      `a segment of ${sectors} sectors: up to ${limits.sectors} are allowed`,
    )
  }
  return {
    position: sector * VIRTIO_BLK_SECTOR_SIZE,
    length: sectors * VIRTIO_BLK_SECTOR_SIZE,
    mayUnmap: (flags & VIRTIO_BLK_SEGMENT_F_UNMAP) !== 0,
  }
}
