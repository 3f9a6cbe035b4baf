import { endianness } from 'node:os'
import { RefusedError } from '@xmc/core/errors'
import { VirtqueueError } from './errors.ts'
import type { GuestRange } from './guest-memory.ts'
import { type DeviceAddress, fits, formatAddress } from './internal/device-address.ts'
import { messageOf } from './internal/error-parts.ts'
import type { GuestMapper } from './internal/guest-mapper.ts'
import {
  availableEventOffset,
  availableRingSize,
  descriptorTableSize,
  eventPassed,
  usedEventOffset,
  usedRingSize,
  VIRTQ_AVAIL_ALIGN,
  VIRTQ_AVAIL_F_NO_INTERRUPT,
  VIRTQ_AVAIL_FLAGS,
  VIRTQ_AVAIL_INDEX,
  VIRTQ_AVAIL_RING,
  VIRTQ_DESC_ALIGN,
  VIRTQ_USED_ALIGN,
  VIRTQ_USED_ELEMENT_ID,
  VIRTQ_USED_ELEMENT_LENGTH,
  VIRTQ_USED_ELEMENT_SIZE,
  VIRTQ_USED_INDEX,
  VIRTQ_USED_RING,
} from './ring-layout.ts'

/** Where a driver put a split virtqueue, and how it is used. */
export interface SplitQueueLayout {
  /** Index of the queue. */
  readonly queue: number
  /** Elements, a power of 2. */
  readonly size: number
  /** Descriptor table. */
  readonly descriptorArea: DeviceAddress
  /** Available ring. */
  readonly driverArea: DeviceAddress
  /** Used ring. */
  readonly deviceArea: DeviceAddress
  /** Whether VIRTIO_F_EVENT_IDX was negotiated. */
  readonly eventIndex: boolean
}

/**
 * The device's end of a split virtqueue (virtio 1.2, 2.7): takes heads from the available ring,
 * publishes used elements, and knows when either side wants to be notified.
 *
 * The three parts stay mapped from `map` to `release`: descriptors and available ring for reading, the
 * used ring for writing (S75). Indexes are read and written by atomic operations, which order them
 * against the plain accesses to the entries, so that a guest on another processor sees an entry
 * before its index.
 */
export class SplitQueue {
  /** Elements of the rings. */
  readonly size: number
  /** The descriptor table. */
  readonly descriptors: DataView

  private readonly queue: number
  private readonly eventIndex: boolean
  private readonly ranges: readonly GuestRange[]
  private readonly available: DataView
  private readonly availableWords: Uint16Array
  private readonly used: DataView
  private readonly usedWords: Uint16Array
  // Free-running 16-bit counters (2.7.6, 2.7.8).
  private nextAvailable = 0
  private seenAvailable = 0
  private nextUsed = 0

  /**
   * Maps the parts of a ring.
   *
   * @throws VirtqueueError `ERR_XMC_VIRTQUEUE`, reason `ring-unmapped`; nothing stays mapped then
   * @throws RefusedError `ERR_XMC_REFUSED` on a big-endian host
   * @internal
   */
  static map(layout: SplitQueueLayout, mapper: GuestMapper): SplitQueue {
    const ranges: GuestRange[] = []
    try {
      for (const part of partsOf(layout)) {
        const { page, offset } = part.address
        ranges.push(mapper.map(page, offset, part.length, part.write))
        checkWhole(part, ranges)
      }
      return new SplitQueue(layout, ranges)
    } catch (error) {
      throw unmapped(layout, ranges, mapper, error)
    }
  }

  /** As `map`, with `mapAsync`. @internal */
  static async mapAsync(layout: SplitQueueLayout, mapper: GuestMapper): Promise<SplitQueue> {
    const ranges: GuestRange[] = []
    try {
      for (const part of partsOf(layout)) {
        const { page, offset } = part.address
        // A failure stops it, with little to undo
        ranges.push(await mapper.mapAsync(page, offset, part.length, part.write))
        checkWhole(part, ranges)
      }
      return new SplitQueue(layout, ranges)
    } catch (error) {
      throw unmapped(layout, ranges, mapper, error)
    }
  }

  private constructor(layout: SplitQueueLayout, ranges: readonly GuestRange[]) {
    if (endianness() !== 'LE') {
      throw new RefusedError('virtqueues need a little-endian host: run on x64 or arm64')
    }
    const [descriptors, used, available] = ranges.map((range) => range.bytes)
    if (descriptors === undefined || used === undefined || available === undefined) {
      throw new RefusedError('a split virtqueue has three parts')
    }
    this.size = layout.size
    this.queue = layout.queue
    this.eventIndex = layout.eventIndex
    this.ranges = ranges
    for (const range of ranges) range.keep?.()
    this.descriptors = viewOf(descriptors)
    this.available = viewOf(available)
    this.availableWords = wordsOf(available)
    this.used = viewOf(used)
    this.usedWords = wordsOf(used)
  }

  /**
   * Takes the next head from the available ring; -1 when there is none.
   *
   * @throws VirtqueueError `ERR_XMC_VIRTQUEUE`, reason `available-index`
   */
  next(): number {
    if (this.nextAvailable === this.seenAvailable && !this.hasNext()) return -1
    const slot = this.nextAvailable & (this.size - 1)
    this.nextAvailable = (this.nextAvailable + 1) & 0xffff
    return this.available.getUint16(VIRTQ_AVAIL_RING + 2 * slot, true)
  }

  /**
   * Whether the available ring holds a head that was not taken.
   *
   * @throws VirtqueueError `ERR_XMC_VIRTQUEUE`, reason `available-index`
   */
  hasNext(): boolean {
    const index = Atomics.load(this.availableWords, VIRTQ_AVAIL_INDEX / 2)
    const ahead = (index - this.nextAvailable) & 0xffff
    if (ahead > this.size) {
      throw new VirtqueueError(
        this.queue,
        'available-index',
        `the available index ${index} is ${ahead} ahead in a queue of ${this.size}`,
      )
    }
    this.seenAvailable = index
    return ahead > 0
  }

  /**
   * Asks the driver to notify when it makes the next head available; without EVENT_IDX it always
   * does (2.7.10.2).
   *
   * @returns whether a head came in before the driver could see that
   * @throws VirtqueueError `ERR_XMC_VIRTQUEUE`, reason `available-index`
   */
  rearm(): boolean {
    if (this.eventIndex) {
      Atomics.store(this.usedWords, availableEventOffset(this.size) / 2, this.nextAvailable)
    }
    return this.hasNext()
  }

  /**
   * Publishes a used element: the chain of `head`, with `written` bytes from its first writable one
   * on. Its memory must be released already (S62).
   *
   * @returns whether the driver wants a notification (2.7.7.2)
   */
  publish(head: number, written: number): boolean {
    const before = this.nextUsed
    const at = VIRTQ_USED_RING + (before & (this.size - 1)) * VIRTQ_USED_ELEMENT_SIZE
    this.used.setUint32(at + VIRTQ_USED_ELEMENT_ID, head, true)
    this.used.setUint32(at + VIRTQ_USED_ELEMENT_LENGTH, written, true)
    this.nextUsed = (before + 1) & 0xffff
    Atomics.store(this.usedWords, VIRTQ_USED_INDEX / 2, this.nextUsed)
    if (this.eventIndex) {
      const event = Atomics.load(this.availableWords, usedEventOffset(this.size) / 2)
      return eventPassed(event, this.nextUsed, before)
    }
    const flags = Atomics.load(this.availableWords, VIRTQ_AVAIL_FLAGS / 2)
    return (flags & VIRTQ_AVAIL_F_NO_INTERRUPT) === 0
  }

  /** Releases the parts; the queue must not be used after that. @internal */
  release(mapper: GuestMapper): Error | undefined {
    return releaseAll(this.ranges, mapper)
  }
}

/**
 * What is wrong with the size and addresses of a queue, if anything.
 *
 * @param maximum the largest size that the device takes
 */
export function checkLayout(layout: SplitQueueLayout, maximum: number): VirtqueueError | undefined {
  const { queue, size } = layout
  if (size < 1 || size > maximum || (size & (size - 1)) !== 0) {
    return new VirtqueueError(
      queue,
      'queue-size',
      `a size of ${size}: a power of 2 up to ${maximum} is allowed`,
    )
  }
  for (const { name, address, length, alignment } of partsOf(layout)) {
    const { page, offset } = address
    if (offset % alignment !== 0 || !fits(page, offset, length)) {
      return new VirtqueueError(
        queue,
        'ring-address',
        `the ${name} at ${formatAddress(page, offset)}: a multiple of ${alignment} with ${length} bytes behind it is needed`,
      )
    }
  }
  return undefined
}

interface RingPart {
  readonly name: string
  readonly address: DeviceAddress
  readonly length: number
  readonly alignment: number
  readonly write: boolean
}

function partsOf(layout: SplitQueueLayout): readonly RingPart[] {
  const { size } = layout
  return [
    {
      name: 'descriptor table',
      address: layout.descriptorArea,
      length: descriptorTableSize(size),
      alignment: VIRTQ_DESC_ALIGN,
      write: false,
    },
    {
      name: 'used ring',
      address: layout.deviceArea,
      length: usedRingSize(size),
      alignment: VIRTQ_USED_ALIGN,
      write: true,
    },
    {
      name: 'available ring',
      address: layout.driverArea,
      length: availableRingSize(size),
      alignment: VIRTQ_AVAIL_ALIGN,
      write: false,
    },
  ]
}

function checkWhole(part: RingPart, ranges: readonly GuestRange[]): void {
  const got = ranges.at(-1)?.bytes.length ?? 0
  if (got === part.length) return
  throw new RangeError(`${part.length} bytes of ${part.name} are not contiguous: ${got} are`)
}

function unmapped(
  layout: SplitQueueLayout,
  ranges: readonly GuestRange[],
  mapper: GuestMapper,
  error: unknown,
): Error {
  const failed = releaseAll(ranges, mapper)
  if (error instanceof RefusedError) return error
  const cause = failed === undefined ? error : new AggregateError([error, failed], messageOf(error))
  return new VirtqueueError(
    layout.queue,
    'ring-unmapped',
    `the rings cannot be mapped (${messageOf(error)})`,
    { cause },
  )
}

function releaseAll(ranges: readonly GuestRange[], mapper: GuestMapper): Error | undefined {
  let failed: Error | undefined
  for (const [index, range] of ranges.entries()) {
    try {
      mapper.release(range, index === USED_PART ? range.bytes.length : 0)
    } catch (error) {
      failed ??= error instanceof Error ? error : new Error(messageOf(error))
    }
  }
  return failed
}

/** Place of the used ring among the parts. */
const USED_PART = 1

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

function wordsOf(bytes: Uint8Array): Uint16Array {
  return new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 2)
}
