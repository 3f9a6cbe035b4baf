import { endianness } from 'node:os'
import { RefusedError } from '@xmc/interface'
import { VirtqueueError } from './errors.ts'
import type { DescriptorBlock } from './internal/chain-walk.ts'
import { type DeviceAddress, fits, formatAddress } from './internal/device-address.ts'
import { messageOf } from './internal/error-parts.ts'
import type { GuestMapper } from './internal/guest-mapper.ts'
import { RingPart, type RingPlace } from './internal/ring-part.ts'
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
 * used ring for writing. Each may lie over borders of memory regions. Indexes are read and written
 * by atomic operations, which order them against the plain accesses to the entries, so that a guest
 * on another processor sees an entry before its index. What is stored is reported to whoever listens to the memory.
 */
export class SplitQueue {
  /** Elements of the rings. */
  readonly size: number
  /** The descriptor table, all of it. */
  readonly descriptors: DescriptorBlock

  private readonly queue: number
  private readonly eventIndex: boolean
  private readonly parts: readonly RingPart[]
  private readonly available: RingPart
  private readonly used: RingPart
  // Free-running 16-bit counters (2.7.6, 2.7.8).
  private nextAvailable = 0
  private seenAvailable = 0
  private nextUsed = 0
  private released = false

  /**
   * Maps the parts of a ring.
   *
   * @throws VirtqueueError `ERR_XMC_VIRTQUEUE`, reason `ring-unmapped`; nothing stays mapped then
   * @throws RefusedError `ERR_XMC_REFUSED` on a big-endian host
   * @internal
   */
  static map(layout: SplitQueueLayout, mapper: GuestMapper): SplitQueue {
    checkHost()
    const parts = partsOf(layout)
    for (const part of parts) {
      try {
        while (part.missing > 0) {
          const { page, offset } = part.next
          part.add(mapper.map(page, offset, part.missing, part.place.write))
        }
      } catch (error) {
        throw unmapped(layout, part, parts, mapper, error)
      }
    }
    return new SplitQueue(layout, parts)
  }

  /** As `map`, with `mapAsync`. @internal */
  static async mapAsync(layout: SplitQueueLayout, mapper: GuestMapper): Promise<SplitQueue> {
    checkHost()
    const parts = partsOf(layout)
    for (const part of parts) {
      try {
        while (part.missing > 0) {
          const { page, offset } = part.next
          // A failure stops it, with little to undo
          part.add(await mapper.mapAsync(page, offset, part.missing, part.place.write))
        }
      } catch (error) {
        throw unmapped(layout, part, parts, mapper, error)
      }
    }
    return new SplitQueue(layout, parts)
  }

  private constructor(layout: SplitQueueLayout, parts: RingParts) {
    const [descriptors, used, available] = parts
    this.size = layout.size
    this.queue = layout.queue
    this.eventIndex = layout.eventIndex
    this.parts = parts
    this.descriptors = { view: descriptors, first: 0, end: layout.size }
    this.available = available
    this.used = used
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
    return this.available.getUint16(VIRTQ_AVAIL_RING + 2 * slot)
  }

  /**
   * Whether the available ring holds a head that was not taken.
   *
   * @throws VirtqueueError `ERR_XMC_VIRTQUEUE`, reason `available-index`
   */
  hasNext(): boolean {
    const index = this.available.load(VIRTQ_AVAIL_INDEX)
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
   * does (2.7.10.2). Whoever follows what is written is called, and may have the queue released.
   *
   * @returns whether a head came in before the driver could see that
   * @throws VirtqueueError `ERR_XMC_VIRTQUEUE`, reason `available-index`
   */
  rearm(): boolean {
    if (this.eventIndex) {
      const at = availableEventOffset(this.size)
      this.used.store(at, this.nextAvailable)
      this.used.wrote(at, 2)
      if (this.released) return false
    }
    return this.hasNext()
  }

  /**
   * Publishes a used element: the chain of `head`, with `written` bytes from its first writable one
   * on. Its memory must be released already. Whoever follows what is written is called, and may
   * have the queue released.
   *
   * @returns whether the driver wants a notification (2.7.7.2)
   */
  publish(head: number, written: number): boolean {
    const before = this.nextUsed
    const at = VIRTQ_USED_RING + (before & (this.size - 1)) * VIRTQ_USED_ELEMENT_SIZE
    this.used.setUint32(at + VIRTQ_USED_ELEMENT_ID, head)
    this.used.setUint32(at + VIRTQ_USED_ELEMENT_LENGTH, written)
    this.nextUsed = (before + 1) & 0xffff
    this.used.store(VIRTQ_USED_INDEX, this.nextUsed)
    // Before anybody is called.
    const wanted = this.wantsInterrupt(before)
    // The fields of an element may lie on both sides of a border.
    this.reportStore(at + VIRTQ_USED_ELEMENT_ID, 4)
    this.reportStore(at + VIRTQ_USED_ELEMENT_LENGTH, 4)
    this.reportStore(VIRTQ_USED_INDEX, 2)
    return wanted
  }

  /** Releases the parts; the queue must not be used after that. @internal */
  release(mapper: GuestMapper): Error | undefined {
    this.released = true
    return releaseAll(this.parts, mapper)
  }

  private wantsInterrupt(before: number): boolean {
    if (this.eventIndex) {
      const event = this.available.load(usedEventOffset(this.size))
      return eventPassed(event, this.nextUsed, before)
    }
    const flags = this.available.load(VIRTQ_AVAIL_FLAGS)
    return (flags & VIRTQ_AVAIL_F_NO_INTERRUPT) === 0
  }

  private reportStore(offset: number, length: number): void {
    if (!this.released) this.used.wrote(offset, length)
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
  for (const { name, address, length, alignment } of placesOf(layout)) {
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

/** Descriptor table, used ring and available ring. */
type RingParts = readonly [descriptors: RingPart, used: RingPart, available: RingPart]

function checkHost(): void {
  if (endianness() === 'LE') return
  throw new RefusedError('virtqueues need a little-endian host: run on x64 or arm64')
}

function partsOf(layout: SplitQueueLayout): RingParts {
  const [descriptors, used, available] = placesOf(layout)
  return [new RingPart(descriptors), new RingPart(used), new RingPart(available)]
}

function placesOf(
  layout: SplitQueueLayout,
): readonly [descriptors: RingPlace, used: RingPlace, available: RingPlace] {
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

function unmapped(
  layout: SplitQueueLayout,
  part: RingPart,
  parts: readonly RingPart[],
  mapper: GuestMapper,
  error: unknown,
): Error {
  const { mapped, missing, place } = part
  const failed = releaseAll(parts, mapper)
  const cause = failed === undefined ? error : new AggregateError([error, failed], messageOf(error))
  const reason =
    mapped > 0 && missing > 0
      ? `${place.length} bytes of ${place.name} are not contiguous: ${mapped} are, then ${messageOf(error)}`
      : messageOf(error)
  return new VirtqueueError(
    layout.queue,
    'ring-unmapped',
    `the rings cannot be mapped (${reason})`,
    { cause },
  )
}

function releaseAll(parts: readonly RingPart[], mapper: GuestMapper): Error | undefined {
  let failed: unknown
  for (const part of parts) {
    const error = part.release(mapper)
    failed ??= error
  }
  if (failed === undefined) return undefined
  return failed instanceof Error ? failed : new Error(messageOf(failed))
}
