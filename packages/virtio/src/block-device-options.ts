import type { ReportLimiterOptions } from '@xmc/interface'
import type { BlockRequestError } from './block-request-error.ts'
import type { Disk } from './disk.ts'

/** How a block device is made. */
export interface BlockDeviceOptions {
  /** What it stores its sectors in; it is not closed with the device. */
  readonly disk: Disk
  /** Largest size of its queue, a power of 2 from 4 on; by default 256. SEG_MAX is 2 less. */
  readonly queueSize?: number | undefined
  /** Most requests that it works on at a time, 1 up to the size of its queue, which is the default. */
  readonly inFlight?: number | undefined
  /** SIZE_MAX: most bytes of a segment, a multiple of 512; by default 1 MiB. */
  readonly segmentBytes?: number | undefined
  /** BLK_SIZE: bytes of a logical block, a power of 2 from 512 on; by default 512. */
  readonly blockSize?: number | undefined
  /** Logical blocks in a physical block, as exponent of 2; by default 0. */
  readonly physicalBlockExponent?: number | undefined
  /** First aligned logical block; by default 0. */
  readonly alignmentOffset?: number | undefined
  /** Smallest good request in blocks; by default 0, for no hint. */
  readonly minimumIoSize?: number | undefined
  /** Best request in blocks; by default 0, for no hint. */
  readonly optimalIoSize?: number | undefined
  /**
   * Called, after it was answered, with a request that did not succeed: with each of the first of a reason, and
   * `repeated` 0; and then with the last of several, and how many there were, since a guest can make as
   * many as it likes.
   */
  readonly onError?: ((error: BlockRequestError, repeated: number) => void) | undefined
  /** How many calls of `onError` there may be: by default 5 for a reason, and then one in 10 s. */
  readonly reports?: ReportLimiterOptions | undefined
}

/** Counts since a block device was made. */
export interface BlockStatistics {
  /** Requests of any kind. */
  readonly requests: number
  /** Reads that succeeded. */
  readonly reads: number
  /** Writes that succeeded. */
  readonly writes: number
  /** Flushes that succeeded. */
  readonly flushes: number
  /** Bytes read by the guest. */
  readonly bytesRead: number
  /** Bytes written by the guest. */
  readonly bytesWritten: number
  /** Requests answered with an error, or not supported. */
  readonly failed: number
}
