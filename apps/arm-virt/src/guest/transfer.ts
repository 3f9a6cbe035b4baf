import { InvalidArgumentError } from '@xmc/interface'
import { type BlockDriver, type GuestBuffer, type GuestSegment } from '@xmc/virtio/driver'

const SECTOR_BYTES = 512

/** How a guest moves the contents of a disk. */
export interface TransferOptions {
  /** Bytes of a request, a multiple of 512; 1 MiB by default. */
  readonly blockBytes?: number | undefined
  /** Requests under way at a time; 16 by default. */
  readonly inFlight?: number | undefined
  /** Ends the work when it aborts: requests that are under way are waited for, and its reason is thrown. */
  readonly signal?: AbortSignal | undefined
  /** Is told how many bytes of how many are done, whenever some more are. */
  readonly onProgress?: ((bytes: number, total: number) => void) | undefined
}

/** Bytes of a request where nothing is said. */
export const DEFAULT_BLOCK_BYTES: number = 2 ** 20

/** Requests under way where nothing is said. */
export const DEFAULT_IN_FLIGHT = 16

/** Most bytes of a request: what a block device of this package takes in one segment. */
const MAXIMUM_BLOCK_BYTES = 2 ** 20

/** A transfer as it is carried out: blocks in order, each in a buffer of guest memory. */
export interface TransferPlan {
  readonly blockBytes: number
  readonly inFlight: number
  readonly blocks: number
  readonly bytes: number
}

/**
 * Divides `bytes` bytes into blocks.
 *
 * @throws InvalidArgumentError `ERR_XMC_ARGUMENT` for a block size or a number of requests out of range
 */
export function planTransfer(bytes: number, options: TransferOptions): TransferPlan {
  const { blockBytes = DEFAULT_BLOCK_BYTES, inFlight = DEFAULT_IN_FLIGHT } = options
  if (blockBytes % SECTOR_BYTES !== 0 || !(blockBytes >= 512 && blockBytes <= 2 ** 20)) {
    const expected = `a multiple of 512 from 512 to ${MAXIMUM_BLOCK_BYTES}`
    throw new InvalidArgumentError('blockBytes', expected, blockBytes)
  }
  if (!Number.isInteger(inFlight) || inFlight < 1 || inFlight > 4096) {
    throw new InvalidArgumentError('inFlight', 'an integer from 1 to 4096', inFlight)
  }
  const blocks = Math.ceil(bytes / blockBytes)
  return { blockBytes, inFlight: Math.min(inFlight, blocks), blocks, bytes }
}

/** Bytes of a block of a plan: the last one may be shorter. */
export function blockLength(plan: TransferPlan, block: number): number {
  return Math.min(plan.blockBytes, plan.bytes - block * plan.blockBytes)
}

/** First sector of a block of a plan. */
export function blockSector(plan: TransferPlan, block: number): number {
  return (block * plan.blockBytes) / SECTOR_BYTES
}

/** The part of a buffer that a request for a block moves: whole sectors. */
export function blockSegment(plan: TransferPlan, block: number, buffer: GuestBuffer): GuestSegment {
  const length = blockLength(plan, block)
  return buffer.slice(0, Math.ceil(length / SECTOR_BYTES) * SECTOR_BYTES)
}

/** Takes one buffer for each request under way, calls `use`, and gives the buffers back. */
export async function withBuffers<Result>(
  driver: BlockDriver,
  plan: TransferPlan,
  use: (buffers: readonly GuestBuffer[]) => Promise<Result>,
): Promise<Result> {
  const buffers: GuestBuffer[] = []
  try {
    for (let index = 0; index < plan.inFlight; index++) {
      buffers.push(driver.allocateBuffer(plan.blockBytes))
    }
    return await use(buffers)
  } finally {
    for (const buffer of buffers) buffer.release()
  }
}
