import { VirtqueueError } from '../errors.ts'
import {
  VIRTQ_DESC_ADDRESS,
  VIRTQ_DESC_F_INDIRECT,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_F_WRITE,
  VIRTQ_DESC_FLAGS,
  VIRTQ_DESC_LENGTH,
  VIRTQ_DESC_SIZE,
} from '../ring-layout.ts'
import type { TurnBudget } from '../turn-budget.ts'
import { BufferPart } from './buffer-part.ts'
import { fits, formatAddress, pageOf } from './device-address.ts'
import type { QueueRequest } from './queue-request.ts'

/** Most bytes of a chain (2.7.5.2). */
const CHAIN_BYTES = 2 ** 32

/** What bounds the chains of a queue. */
export interface ChainLimits {
  readonly queue: number
  /** Most buffers of a chain, in an indirect table or not: the queue's maximum size (2.7.5.3.1). */
  readonly descriptors: number
  /** Whether VIRTIO_F_INDIRECT_DESC was negotiated. */
  readonly indirect: boolean
}

/** Where the rest of a chain is: a table of descriptors in guest memory. */
export interface IndirectTable {
  readonly page: number
  readonly offset: number
  /** Descriptors. */
  readonly count: number
}

/** A table of descriptors; its fields are read as little-endian numbers. */
interface DescriptorTable {
  getUint32(byteOffset: number, littleEndian: boolean): number
}

/** Descriptors of a table that can be read: those from `first` up to, but not, `end`. */
export interface DescriptorBlock {
  readonly view: DescriptorTable
  readonly first: number
  readonly end: number
}

/**
 * Why a walk stopped: at the end of the chain; at an indirect descriptor, so that it goes on in a table; at a
 * descriptor outside the block; or since the budget of the turn is spent.
 */
export type WalkResult = 'end' | 'table' | 'block' | 'spent'

/** Descriptors between two looks at the budget. */
const BATCH = 16

/** Most descriptors of an indirect table: what a u16 `next` reaches. */
const TABLE_DESCRIPTORS = 65_536

/**
 * Appends the buffers of a chain to `request`, from its `descriptor` on, in a table of `count`. Each field
 * is read once; nothing is mapped.
 *
 * @throws VirtqueueError
 */
export function walk(
  request: QueueRequest,
  block: DescriptorBlock,
  count: number,
  limits: ChainLimits,
  budget: TurnBudget,
): WalkResult {
  const { queue } = limits
  const { view: table, first, end } = block
  const nested = request.table !== undefined
  for (let units = 1; ; units += 1) {
    const index = request.descriptor
    if (index >= count) {
      const reason = request.steps === 0 && !nested ? 'head-index' : 'next-index'
      throw new VirtqueueError(
        queue,
        reason,
        `descriptor ${index} does not exist in a table of ${count}`,
      )
    }
    if (request.steps >= count) {
      throw new VirtqueueError(
        queue,
        'chain-length',
        `the chain of descriptor ${request.head} is a loop in a table of ${count}`,
      )
    }
    if (index < first || index >= end) return 'block'
    // Counted by the batch: a call for each descriptor would cost as much as the descriptor.
    if (units === BATCH) {
      units = 0
      if (budget.spend(BATCH)) return 'spent'
    }
    request.steps += 1
    const at = (index - first) * VIRTQ_DESC_SIZE
    const low = table.getUint32(at + VIRTQ_DESC_ADDRESS, true)
    const high = table.getUint32(at + VIRTQ_DESC_ADDRESS + 4, true)
    const length = table.getUint32(at + VIRTQ_DESC_LENGTH, true)
    const flagsAndNext = table.getUint32(at + VIRTQ_DESC_FLAGS, true)
    const page = pageOf(low, high)
    const offset = low & 0xfff

    if ((flagsAndNext & VIRTQ_DESC_F_INDIRECT) !== 0) {
      checkIndirect(limits, flagsAndNext, length, nested)
      checkAddress(queue, page, offset, length)
      request.table = { page, offset, count: length / VIRTQ_DESC_SIZE }
      request.descriptor = 0
      request.steps = 0
      return 'table'
    }
    if (length === 0) {
      throw new VirtqueueError(queue, 'zero-length', `descriptor ${index} has no bytes`)
    }
    checkAddress(queue, page, offset, length)
    append(request, limits, page, offset, length, (flagsAndNext & VIRTQ_DESC_F_WRITE) !== 0)
    if ((flagsAndNext & VIRTQ_DESC_F_NEXT) === 0) {
      budget.spend(units)
      return 'end'
    }
    request.descriptor = flagsAndNext >>> 16
  }
}

function append(
  chain: QueueRequest,
  limits: ChainLimits,
  page: number,
  offset: number,
  length: number,
  writable: boolean,
): void {
  const { queue } = chain
  if (!writable && chain.writableLength > 0) {
    throw new VirtqueueError(
      queue,
      'write-order',
      `the chain of descriptor ${chain.head} has a device-readable buffer behind a device-writable one`,
    )
  }
  chain.add(new BufferPart(queue, page, offset, length, writable))
  if (chain.bufferCount > limits.descriptors) {
    throw new VirtqueueError(
      queue,
      'chain-length',
      `the chain of descriptor ${chain.head} has over ${limits.descriptors} buffers`,
    )
  }
  const total = chain.readableLength + chain.writableLength
  if (total > CHAIN_BYTES) {
    throw new VirtqueueError(
      queue,
      'total-length',
      `the chain of descriptor ${chain.head} has over 2^32 bytes`,
    )
  }
}

function checkAddress(queue: number, page: number, offset: number, length: number): void {
  if (fits(page, offset, length)) return
  throw new VirtqueueError(
    queue,
    'address-overflow',
    `${length} bytes at ${formatAddress(page, offset)} run over 2^64`,
  )
}

function checkIndirect(limits: ChainLimits, flags: number, length: number, nested: boolean): void {
  const { queue } = limits
  if (!limits.indirect || nested || (flags & VIRTQ_DESC_F_NEXT) !== 0) {
    const why = !limits.indirect
      ? 'VIRTIO_F_INDIRECT_DESC was not negotiated'
      : nested
        ? 'a table may not hold another'
        : 'it may not go on with NEXT'
    throw new VirtqueueError(queue, 'indirect-refused', `an indirect descriptor: ${why}`)
  }
  const most = TABLE_DESCRIPTORS * VIRTQ_DESC_SIZE
  if (length === 0 || length % VIRTQ_DESC_SIZE !== 0 || length > most) {
    throw new VirtqueueError(
      queue,
      'indirect-length',
      `an indirect table of ${length} bytes: a multiple of 16 up to ${most} is allowed`,
    )
  }
}
