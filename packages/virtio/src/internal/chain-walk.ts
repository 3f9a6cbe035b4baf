import type { DescriptorChain } from '../descriptor-chain.ts'
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
import type { DescriptorTable } from '../split-queue.ts'
import { BufferPart } from './buffer-part.ts'
import { fits, formatAddress, pageOf } from './device-address.ts'

/** Most bytes of a chain (2.7.5.2). */
const CHAIN_BYTES = 2 ** 32

/** What bounds the chains of a queue. */
export interface ChainLimits {
  readonly queue: number
  /** Most descriptors of a chain with an indirect table: the queue's maximum size. */
  readonly descriptors: number
  /** Whether VIRTIO_F_INDIRECT_DESC was negotiated. */
  readonly indirect: boolean
}

/** Where the rest of a chain is: a table of descriptors in guest memory. */
export interface IndirectTable {
  readonly page: number
  readonly offset: number
  /** Bytes. */
  readonly length: number
}

/**
 * Appends the buffers of the chain that starts at descriptor `start` of a table of `count` to
 * `chain`. Each field is read once; nothing is mapped.
 *
 * @param nested whether the table is an indirect one already
 * @returns where the chain goes on, or undefined at its end
 * @throws VirtqueueError
 */
export function walk(
  table: DescriptorTable,
  count: number,
  start: number,
  chain: DescriptorChain,
  limits: ChainLimits,
  nested: boolean,
): IndirectTable | undefined {
  const { queue } = limits
  let index = start
  for (let step = 0; ; step += 1) {
    if (index >= count) {
      const reason = step === 0 && !nested ? 'head-index' : 'next-index'
      throw new VirtqueueError(
        queue,
        reason,
        `descriptor ${index} does not exist in a table of ${count}`,
      )
    }
    if (step >= count) {
      throw new VirtqueueError(
        queue,
        'chain-length',
        `the chain of descriptor ${chain.head} is a loop in a table of ${count}`,
      )
    }
    const at = index * VIRTQ_DESC_SIZE
    const low = table.getUint32(at + VIRTQ_DESC_ADDRESS, true)
    const high = table.getUint32(at + VIRTQ_DESC_ADDRESS + 4, true)
    const length = table.getUint32(at + VIRTQ_DESC_LENGTH, true)
    const flagsAndNext = table.getUint32(at + VIRTQ_DESC_FLAGS, true)
    const page = pageOf(low, high)
    const offset = low & 0xfff

    if ((flagsAndNext & VIRTQ_DESC_F_INDIRECT) !== 0) {
      checkIndirect(limits, flagsAndNext, length, nested)
      checkAddress(queue, page, offset, length)
      return { page, offset, length }
    }
    if (length === 0) {
      throw new VirtqueueError(queue, 'zero-length', `descriptor ${index} has no bytes`)
    }
    checkAddress(queue, page, offset, length)
    append(chain, limits, page, offset, length, (flagsAndNext & VIRTQ_DESC_F_WRITE) !== 0)
    if ((flagsAndNext & VIRTQ_DESC_F_NEXT) === 0) return undefined
    index = flagsAndNext >>> 16
  }
}

function append(
  chain: DescriptorChain,
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
  const { queue, descriptors } = limits
  if (!limits.indirect || nested || (flags & VIRTQ_DESC_F_NEXT) !== 0) {
    const why = !limits.indirect
      ? 'VIRTIO_F_INDIRECT_DESC was not negotiated'
      : nested
        ? 'a table may not hold another'
        : 'it may not go on with NEXT'
    throw new VirtqueueError(queue, 'indirect-refused', `an indirect descriptor: ${why}`)
  }
  if (length === 0 || length % VIRTQ_DESC_SIZE !== 0 || length / VIRTQ_DESC_SIZE > descriptors) {
    throw new VirtqueueError(
      queue,
      'indirect-length',
      `an indirect table of ${length} bytes: a multiple of 16 up to ${descriptors * VIRTQ_DESC_SIZE} is allowed`,
    )
  }
}
