import {
  VIRTIO_BLK_CONFIG_ALIGNMENT_OFFSET,
  VIRTIO_BLK_CONFIG_BLOCK_SIZE,
  VIRTIO_BLK_CONFIG_CAPACITY,
  VIRTIO_BLK_CONFIG_DISCARD_SECTOR_ALIGNMENT,
  VIRTIO_BLK_CONFIG_MAX_DISCARD_SECTORS,
  VIRTIO_BLK_CONFIG_MAX_WRITE_ZEROES_SECTORS,
  VIRTIO_BLK_CONFIG_MINIMUM_IO_SIZE,
  VIRTIO_BLK_CONFIG_OPTIMAL_IO_SIZE,
  VIRTIO_BLK_CONFIG_PHYSICAL_BLOCK_EXPONENT,
  VIRTIO_BLK_CONFIG_SEG_MAX,
  VIRTIO_BLK_CONFIG_SIZE_MAX,
  VIRTIO_BLK_CONFIG_WRITE_ZEROES_MAY_UNMAP,
  VIRTIO_BLK_SECTOR_SIZE,
} from '../block-protocol.ts'
import {
  featureSet,
  hasFeature,
  VIRTIO_BLK_F_BLK_SIZE,
  VIRTIO_BLK_F_DISCARD,
  VIRTIO_BLK_F_FLUSH,
  VIRTIO_BLK_F_RO,
  VIRTIO_BLK_F_SEG_MAX,
  VIRTIO_BLK_F_SIZE_MAX,
  VIRTIO_BLK_F_TOPOLOGY,
  VIRTIO_BLK_F_WRITE_ZEROES,
} from '../features.ts'
import { DeviceProtocolError } from './errors.ts'
import type { RegisterAccess } from './register-access.ts'

/** The features of a block device that the driver knows what to do with. */
export const BLOCK_FEATURES: bigint = featureSet(
  VIRTIO_BLK_F_SIZE_MAX,
  VIRTIO_BLK_F_SEG_MAX,
  VIRTIO_BLK_F_RO,
  VIRTIO_BLK_F_BLK_SIZE,
  VIRTIO_BLK_F_FLUSH,
  VIRTIO_BLK_F_TOPOLOGY,
  VIRTIO_BLK_F_DISCARD,
  VIRTIO_BLK_F_WRITE_ZEROES,
)

/** A block device's configuration (virtio 1.2, 5.2.4), as far as its features were negotiated. */
export interface BlockConfiguration {
  /** Sectors of 512 bytes. */
  readonly capacity: number
  /** Bytes of the longest segment; 2^32 − 1 where nothing is said. */
  readonly maximumSegmentSize: number
  /** Most segments of data in a request; Infinity where nothing is said. */
  readonly maximumSegments: number
  /** Bytes of a block; 512 where nothing is said. */
  readonly blockSize: number
  readonly readOnly: boolean
  /** Whether a flush is needed to make writes durable. */
  readonly flush: boolean
  readonly topology: BlockTopology | undefined
  readonly discard: BlockDiscardLimits | undefined
  readonly writeZeroes: BlockWriteZeroesLimits | undefined
}

/** How a disk wants to be used best. */
export interface BlockTopology {
  /** Bytes of a physical block. */
  readonly physicalBlockSize: number
  /** First logical block that is aligned to a physical one. */
  readonly alignmentOffset: number
  /** Logical blocks of the smallest good request; 0 where nothing is said. */
  readonly minimumIoSize: number
  /** Logical blocks of the best request; 0 where nothing is said. */
  readonly optimalIoSize: number
}

/** Limits of discard requests. */
export interface BlockDiscardLimits {
  /** Most sectors in one request. */
  readonly maximumSectors: number
  /** Sectors that a discard had better start and end at a multiple of. */
  readonly alignment: number
}

/** Limits of write-zeroes requests. */
export interface BlockWriteZeroesLimits {
  /** Most sectors in one request. */
  readonly maximumSectors: number
  /** Whether the device may deallocate the sectors. */
  readonly mayUnmap: boolean
}

/**
 * Reads the configuration, each field in its own size (virtio 1.2, 4.2.2.2). To be read under one
 * ConfigGeneration.
 *
 * @throws DeviceProtocolError `ERR_XMC_DEVICE_PROTOCOL` for a limit of 0, or a capacity of 2^53 sectors or more
 */
export async function readBlockConfiguration(
  registers: RegisterAccess,
  features: bigint,
): Promise<BlockConfiguration> {
  const has = (feature: number): boolean => hasFeature(features, feature)
  const read = async (offset: number, size: 1 | 2 | 4): Promise<number> =>
    await registers.readConfiguration(offset, size)
  const readLimit = async (offset: number, name: string): Promise<number> => {
    const limit = await read(offset, 4)
    if (limit === 0) throw new DeviceProtocolError('5.2.4', `${name} is 0`)
    return limit
  }
  const low = await read(VIRTIO_BLK_CONFIG_CAPACITY, 4)
  const capacity = (await read(VIRTIO_BLK_CONFIG_CAPACITY + 4, 4)) * 2 ** 32 + low
  if (!Number.isSafeInteger(capacity)) {
    throw new DeviceProtocolError('5.2.4', 'capacity is above what 2^64 bytes hold')
  }
  const blockSize = has(VIRTIO_BLK_F_BLK_SIZE)
    ? await readLimit(VIRTIO_BLK_CONFIG_BLOCK_SIZE, 'blk_size')
    : VIRTIO_BLK_SECTOR_SIZE
  return {
    capacity,
    maximumSegmentSize: has(VIRTIO_BLK_F_SIZE_MAX)
      ? await readLimit(VIRTIO_BLK_CONFIG_SIZE_MAX, 'size_max')
      : 0xffff_ffff,
    maximumSegments: has(VIRTIO_BLK_F_SEG_MAX)
      ? await readLimit(VIRTIO_BLK_CONFIG_SEG_MAX, 'seg_max')
      : Number.POSITIVE_INFINITY,
    blockSize,
    readOnly: has(VIRTIO_BLK_F_RO),
    flush: has(VIRTIO_BLK_F_FLUSH),
    topology: has(VIRTIO_BLK_F_TOPOLOGY)
      ? {
          physicalBlockSize:
            blockSize * 2 ** (await read(VIRTIO_BLK_CONFIG_PHYSICAL_BLOCK_EXPONENT, 1)),
          alignmentOffset: await read(VIRTIO_BLK_CONFIG_ALIGNMENT_OFFSET, 1),
          minimumIoSize: await read(VIRTIO_BLK_CONFIG_MINIMUM_IO_SIZE, 2),
          optimalIoSize: await read(VIRTIO_BLK_CONFIG_OPTIMAL_IO_SIZE, 4),
        }
      : undefined,
    discard: has(VIRTIO_BLK_F_DISCARD)
      ? {
          maximumSectors: await readLimit(
            VIRTIO_BLK_CONFIG_MAX_DISCARD_SECTORS,
            'max_discard_sectors',
          ),
          alignment: await read(VIRTIO_BLK_CONFIG_DISCARD_SECTOR_ALIGNMENT, 4),
        }
      : undefined,
    writeZeroes: has(VIRTIO_BLK_F_WRITE_ZEROES)
      ? {
          maximumSectors: await readLimit(
            VIRTIO_BLK_CONFIG_MAX_WRITE_ZEROES_SECTORS,
            'max_write_zeroes_sectors',
          ),
          mayUnmap: (await read(VIRTIO_BLK_CONFIG_WRITE_ZEROES_MAY_UNMAP, 1)) !== 0,
        }
      : undefined,
  }
}
