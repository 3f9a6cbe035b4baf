import {
  VIRTIO_BLK_CONFIG_ALIGNMENT_OFFSET,
  VIRTIO_BLK_CONFIG_BLOCK_SIZE,
  VIRTIO_BLK_CONFIG_CAPACITY,
  VIRTIO_BLK_CONFIG_DISCARD_SECTOR_ALIGNMENT,
  VIRTIO_BLK_CONFIG_MAX_DISCARD_SECTORS,
  VIRTIO_BLK_CONFIG_MAX_DISCARD_SEGMENTS,
  VIRTIO_BLK_CONFIG_MAX_WRITE_ZEROES_SECTORS,
  VIRTIO_BLK_CONFIG_MAX_WRITE_ZEROES_SEGMENTS,
  VIRTIO_BLK_CONFIG_MINIMUM_IO_SIZE,
  VIRTIO_BLK_CONFIG_OPTIMAL_IO_SIZE,
  VIRTIO_BLK_CONFIG_PHYSICAL_BLOCK_EXPONENT,
  VIRTIO_BLK_CONFIG_SEG_MAX,
  VIRTIO_BLK_CONFIG_SIZE,
  VIRTIO_BLK_CONFIG_SIZE_MAX,
  VIRTIO_BLK_CONFIG_WRITE_ZEROES_MAY_UNMAP,
  VIRTIO_BLK_SECTOR_SIZE,
} from '../block-protocol.ts'
import type { Disk } from '../disk.ts'

/** What a block device tells its driver beside what the disk says. */
export interface BlockConfiguration {
  readonly segmentBytes: number
  readonly segments: number
  readonly blockSize: number
  readonly physicalBlockExponent: number
  readonly alignmentOffset: number
  readonly minimumIoSize: number
  readonly optimalIoSize: number
}

/** Most sectors in a segment of a discard: as many as fit in 2 GiB. */
export const DISCARD_SECTORS = 0x3f_ffff
/** Most segments of a discard. */
export const DISCARD_SEGMENTS = 16
/** Most sectors in the segment of a write-zeroes, 32 MiB: they may have to be written as bytes. */
export const WRITE_ZEROES_SECTORS = 0x1_0000
/** Most segments of a write-zeroes. */
export const WRITE_ZEROES_SEGMENTS = 1

/** The configuration space (5.2.4); what a feature gates is 0 without the feature. */
export function blockConfiguration(disk: Disk, settings: BlockConfiguration): Uint8Array {
  const bytes = new Uint8Array(VIRTIO_BLK_CONFIG_SIZE)
  const view = new DataView(bytes.buffer)
  writeCapacity(bytes, disk, settings.blockSize)
  view.setUint32(VIRTIO_BLK_CONFIG_SIZE_MAX, settings.segmentBytes, true)
  view.setUint32(VIRTIO_BLK_CONFIG_SEG_MAX, settings.segments, true)
  view.setUint32(VIRTIO_BLK_CONFIG_BLOCK_SIZE, settings.blockSize, true)
  view.setUint8(VIRTIO_BLK_CONFIG_PHYSICAL_BLOCK_EXPONENT, settings.physicalBlockExponent)
  view.setUint8(VIRTIO_BLK_CONFIG_ALIGNMENT_OFFSET, settings.alignmentOffset)
  view.setUint16(VIRTIO_BLK_CONFIG_MINIMUM_IO_SIZE, settings.minimumIoSize, true)
  view.setUint32(VIRTIO_BLK_CONFIG_OPTIMAL_IO_SIZE, settings.optimalIoSize, true)
  if (disk.readOnly) return bytes
  if (disk.discard !== undefined) {
    view.setUint32(VIRTIO_BLK_CONFIG_MAX_DISCARD_SECTORS, DISCARD_SECTORS, true)
    view.setUint32(VIRTIO_BLK_CONFIG_MAX_DISCARD_SEGMENTS, DISCARD_SEGMENTS, true)
    view.setUint32(
      VIRTIO_BLK_CONFIG_DISCARD_SECTOR_ALIGNMENT,
      settings.blockSize / VIRTIO_BLK_SECTOR_SIZE,
      true,
    )
  }
  if (disk.writeZeroes !== undefined) {
    view.setUint32(VIRTIO_BLK_CONFIG_MAX_WRITE_ZEROES_SECTORS, WRITE_ZEROES_SECTORS, true)
    view.setUint32(VIRTIO_BLK_CONFIG_MAX_WRITE_ZEROES_SEGMENTS, WRITE_ZEROES_SEGMENTS, true)
    view.setUint8(VIRTIO_BLK_CONFIG_WRITE_ZEROES_MAY_UNMAP, disk.discard === undefined ? 0 : 1)
  }
  return bytes
}

/** Writes the size of the disk as it is now, in sectors, as many as make whole blocks. */
export function writeCapacity(configuration: Uint8Array, disk: Disk, blockSize: number): void {
  const view = new DataView(configuration.buffer)
  const sectors = Math.floor(disk.size / blockSize) * (blockSize / VIRTIO_BLK_SECTOR_SIZE)
  view.setUint32(VIRTIO_BLK_CONFIG_CAPACITY, sectors % 2 ** 32, true)
  view.setUint32(VIRTIO_BLK_CONFIG_CAPACITY + 4, Math.floor(sectors / 2 ** 32), true)
}
