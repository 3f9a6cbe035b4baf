import { type ErrorText, XmcError } from '@xmc/interface'
import { formatAddress } from './internal/device-address.ts'
import { messageOf, shortageOf, textOf } from './internal/error-parts.ts'

/**
 * What a driver did wrong with a queue.
 *
 * | reason | condition |
 * |---|---|
 * | `queue-size` | the size is 0, no power of 2, or over the maximum (2.7) |
 * | `ring-address` | a part of the ring is misaligned or runs over 2^64 (2.7) |
 * | `ring-unmapped` | a part of the ring is not memory, was withdrawn, or has a field over the border of two regions |
 * | `available-index` | the available index is further ahead than the queue is long (2.7.6) |
 * | `head-index` | the available ring names a descriptor that does not exist (2.7.6) |
 * | `next-index` | a descriptor's `next` names one that does not exist (2.7.5) |
 * | `chain-length` | a chain is a loop, or has more descriptors than the queue (2.7.5.3.1) |
 * | `total-length` | the buffers of a chain are over 2^32 bytes in total (2.7.5.2) |
 * | `zero-length` | a buffer has no bytes |
 * | `address-overflow` | a buffer runs over 2^64 |
 * | `write-order` | a device-readable buffer follows a device-writable one (2.7.4.2) |
 * | `indirect-refused` | an indirect descriptor without the feature, inside a table, or with NEXT (2.7.5.3.1) |
 * | `indirect-length` | an indirect table is empty, no multiple of 16 bytes, or over 65,536 descriptors |
 * | `indirect-unmapped` | an indirect table is not memory, or was withdrawn |
 * | `short-buffer` | a chain has fewer bytes than the device's protocol needs |
 */
export type VirtqueueReason =
  | 'queue-size'
  | 'ring-address'
  | 'ring-unmapped'
  | 'available-index'
  | 'head-index'
  | 'next-index'
  | 'chain-length'
  | 'total-length'
  | 'zero-length'
  | 'address-overflow'
  | 'write-order'
  | 'indirect-refused'
  | 'indirect-length'
  | 'indirect-unmapped'
  | 'short-buffer'

/**
 * `ERR_XMC_VIRTQUEUE`: the driver broke a rule of virtqueues, or, where `shortage` is set, the host has no room
 * for a ring or an indirect table; the device stops until it is reset.
 */
export class VirtqueueError extends XmcError {
  /** Index of the queue. */
  readonly queue: number
  /** Which rule. */
  readonly reason: VirtqueueReason

  constructor(queue: number, reason: VirtqueueReason, detail: ErrorText, options?: ErrorOptions) {
    const shortage = shortageOf(options?.cause)
    super(
      'ERR_XMC_VIRTQUEUE',
      () =>
        `queue ${queue}: ${textOf(detail)}: ` +
        (shortage === undefined
          ? 'the driver has to reset the device'
          : 'give the host more room, and let the driver reset the device'),
      { ...options, shortage },
    )
    this.queue = queue
    this.reason = reason
  }
}

/**
 * `ERR_XMC_GUEST_BUFFER`: a buffer of a request could not be mapped or copied: the guest does not keep the memory,
 * or, where `shortage` is set, the host has no room for it.
 */
export class GuestBufferError extends XmcError {
  /** Index of the queue. */
  readonly queue: number
  /** 4 KiB page of the buffer's device address. */
  readonly page: number
  /** Byte offset in that page. */
  readonly offset: number
  /** Bytes. */
  readonly length: number
  /** Whether the device was to write it. */
  readonly writable: boolean

  constructor(
    queue: number,
    buffer: { page: number; offset: number; length: number; writable: boolean },
    cause: unknown,
  ) {
    const shortage = shortageOf(cause)
    // Not the buffer itself, which an error would keep with its memory.
    const { page, offset, length, writable } = buffer
    super(
      'ERR_XMC_GUEST_BUFFER',
      () =>
        `queue ${queue}: ${length} bytes at ${formatAddress(page, offset)} cannot be ` +
        `${writable ? 'written' : 'read'} (${messageOf(cause)}): ` +
        (shortage === undefined
          ? 'the driver has to hand out memory that it keeps until the request is used'
          : 'the request waited for room of the host in vain'),
      { cause, shortage },
    )
    this.queue = queue
    this.page = page
    this.offset = offset
    this.length = length
    this.writable = writable
  }
}
