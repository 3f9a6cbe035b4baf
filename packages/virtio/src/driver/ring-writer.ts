import { InvalidArgumentError, PAGE_SIZE } from '@xmc/interface'
import { pageOf } from '../internal/device-address.ts'
import {
  availableEventOffset,
  availableRingSize,
  descriptorTableSize,
  usedEventOffset,
  usedRingSize,
  VIRTQ_AVAIL_FLAGS,
  VIRTQ_AVAIL_INDEX,
  VIRTQ_AVAIL_RING,
  VIRTQ_DESC_ADDRESS,
  VIRTQ_DESC_FLAGS,
  VIRTQ_DESC_LENGTH,
  VIRTQ_DESC_NEXT,
  VIRTQ_DESC_SIZE,
  VIRTQ_SIZE_MAX,
  VIRTQ_USED_ELEMENT_ID,
  VIRTQ_USED_ELEMENT_LENGTH,
  VIRTQ_USED_ELEMENT_SIZE,
  VIRTQ_USED_FLAGS,
  VIRTQ_USED_INDEX,
  VIRTQ_USED_RING,
} from '../ring-layout.ts'
import { addressHigh, addressLow } from './device-address.ts'

/** A descriptor (virtio 1.2, 2.7.5). */
export interface Descriptor {
  /** Number of the page that the address lies in, below 2^52. */
  readonly page: number
  /** Offset of the address in its page. */
  readonly offset: number
  /** Bytes of the buffer. */
  readonly length: number
  /** `VIRTQ_DESC_F_*`. */
  readonly flags: number
  /** Index of the next descriptor, with VIRTQ_DESC_F_NEXT. */
  readonly next: number
}

/** Where the parts of a split queue lie in memory that starts at a page, in bytes. */
export interface RingLayout {
  /** Start of the available ring; the descriptor table starts at 0. */
  readonly available: number
  /** Start of the used ring, in a page of its own. */
  readonly used: number
  /** Pages of the whole. */
  readonly pageCount: number
}

/**
 * The memory of one split queue, field by field, as either side may read and write it (virtio 1.2, 2.7).
 *
 * Nothing is checked but that fields lie in the queue, and no index is masked but by the queue's size:
 * a test of a device can write here whatever a guest can. Numbers are cut to the width of the field.
 * Both sides run in one thread, or meet at register accesses and interrupts only: there are no barriers.
 */
export class RingWriter {
  /** Elements, a power of 2. */
  readonly queueSize: number
  /** The descriptor table. */
  readonly descriptors: Uint8Array
  /** The available ring with `used_event`. */
  readonly available: Uint8Array
  /** The used ring with `avail_event`. */
  readonly used: Uint8Array
  readonly #mask: number
  readonly #descriptorView: DataView
  readonly #availableView: DataView
  readonly #usedView: DataView

  /**
   * @param memory - the queue's memory, laid out as {@link ringLayout} says
   * @throws InvalidArgumentError `ERR_XMC_ARGUMENT` for a queue size that is no power of 2 up to 32,768, or
   * memory that is too short
   */
  constructor(memory: Uint8Array, queueSize: number) {
    const layout = ringLayout(queueSize)
    const end = layout.used + usedRingSize(queueSize)
    if (memory.length < end) {
      throw new InvalidArgumentError('memory', `${end} bytes`, memory.length)
    }
    this.queueSize = queueSize
    this.#mask = queueSize - 1
    this.descriptors = memory.subarray(0, descriptorTableSize(queueSize))
    this.available = memory.subarray(
      layout.available,
      layout.available + availableRingSize(queueSize),
    )
    this.used = memory.subarray(layout.used, end)
    this.#descriptorView = viewOf(this.descriptors)
    this.#availableView = viewOf(this.available)
    this.#usedView = viewOf(this.used)
  }

  /** Writes descriptor `index`, 0 to the queue's size − 1. Addresses are page number and offset. */
  writeDescriptor(
    index: number,
    page: number,
    offset: number,
    length: number,
    flags: number,
    next: number,
  ): void {
    writeDescriptor(this.#descriptorView, index, page, offset, length, flags, next)
  }

  /** Reads descriptor `index`. */
  readDescriptor(index: number): Descriptor {
    return readDescriptor(this.#descriptorView, index)
  }

  /** Flags of the available ring. */
  get availableFlags(): number {
    return this.#availableView.getUint16(VIRTQ_AVAIL_FLAGS, true)
  }

  set availableFlags(flags: number) {
    this.#availableView.setUint16(VIRTQ_AVAIL_FLAGS, flags, true)
  }

  /** Index of the available ring: entries before it, counted without end, are available. */
  get availableIndex(): number {
    return this.#availableView.getUint16(VIRTQ_AVAIL_INDEX, true)
  }

  set availableIndex(index: number) {
    this.#availableView.setUint16(VIRTQ_AVAIL_INDEX, index, true)
  }

  /** The head in the available ring at `position`, counted without end. */
  availableHead(position: number): number {
    return this.#availableView.getUint16(VIRTQ_AVAIL_RING + 2 * (position & this.#mask), true)
  }

  /** Writes a head into the available ring at `position`, counted without end. */
  setAvailableHead(position: number, head: number): void {
    this.#availableView.setUint16(VIRTQ_AVAIL_RING + 2 * (position & this.#mask), head, true)
  }

  /** `used_event`: the driver wants an interrupt when the used index passes it. */
  get usedEvent(): number {
    return this.#availableView.getUint16(usedEventOffset(this.queueSize), true)
  }

  set usedEvent(index: number) {
    this.#availableView.setUint16(usedEventOffset(this.queueSize), index, true)
  }

  /** Flags of the used ring. */
  get usedFlags(): number {
    return this.#usedView.getUint16(VIRTQ_USED_FLAGS, true)
  }

  set usedFlags(flags: number) {
    this.#usedView.setUint16(VIRTQ_USED_FLAGS, flags, true)
  }

  /** Index of the used ring: elements before it, counted without end, are used. */
  get usedIndex(): number {
    return this.#usedView.getUint16(VIRTQ_USED_INDEX, true)
  }

  set usedIndex(index: number) {
    this.#usedView.setUint16(VIRTQ_USED_INDEX, index, true)
  }

  /** Head of the chain in the used element at `position`, counted without end. */
  usedId(position: number): number {
    return this.#usedView.getUint32(this.#usedElement(position) + VIRTQ_USED_ELEMENT_ID, true)
  }

  /** Bytes written, of the used element at `position`, counted without end. */
  usedLength(position: number): number {
    return this.#usedView.getUint32(this.#usedElement(position) + VIRTQ_USED_ELEMENT_LENGTH, true)
  }

  /** Writes the used element at `position`, counted without end. */
  setUsedElement(position: number, id: number, length: number): void {
    const element = this.#usedElement(position)
    this.#usedView.setUint32(element + VIRTQ_USED_ELEMENT_ID, id, true)
    this.#usedView.setUint32(element + VIRTQ_USED_ELEMENT_LENGTH, length, true)
  }

  /** `avail_event`: the device wants a notification when the available index passes it. */
  get availableEvent(): number {
    return this.#usedView.getUint16(availableEventOffset(this.queueSize), true)
  }

  set availableEvent(index: number) {
    this.#usedView.setUint16(availableEventOffset(this.queueSize), index, true)
  }

  #usedElement(position: number): number {
    return VIRTQ_USED_RING + VIRTQ_USED_ELEMENT_SIZE * (position & this.#mask)
  }
}

/**
 * How the driver lays a queue out: table and available ring together, and the used ring, which the
 * device writes, from the next page on.
 *
 * @throws InvalidArgumentError `ERR_XMC_ARGUMENT` for a size that is no power of 2 up to 32,768
 */
export function ringLayout(queueSize: number): RingLayout {
  if (!isQueueSize(queueSize)) {
    throw new InvalidArgumentError('queueSize', `a power of 2 up to ${VIRTQ_SIZE_MAX}`, queueSize)
  }
  const available = descriptorTableSize(queueSize)
  const used = Math.ceil((available + availableRingSize(queueSize)) / PAGE_SIZE) * PAGE_SIZE
  const pageCount = Math.ceil((used + usedRingSize(queueSize)) / PAGE_SIZE)
  return { available, used, pageCount }
}

/** Whether a split queue may have `size` elements (virtio 1.2, 2.7). */
export function isQueueSize(size: number): boolean {
  return size >= 1 && size <= VIRTQ_SIZE_MAX && (size & (size - 1)) === 0 && Number.isInteger(size)
}

/** Writes descriptor `index` of a table, the queue's or an indirect one (2.7.5.3). */
export function writeDescriptor(
  table: DataView,
  index: number,
  page: number,
  offset: number,
  length: number,
  flags: number,
  next: number,
): void {
  const at = index * VIRTQ_DESC_SIZE
  table.setUint32(at + VIRTQ_DESC_ADDRESS, addressLow(page, offset), true)
  table.setUint32(at + VIRTQ_DESC_ADDRESS + 4, addressHigh(page), true)
  table.setUint32(at + VIRTQ_DESC_LENGTH, length, true)
  table.setUint16(at + VIRTQ_DESC_FLAGS, flags, true)
  table.setUint16(at + VIRTQ_DESC_NEXT, next, true)
}

/** Reads descriptor `index` of a table. */
export function readDescriptor(table: DataView, index: number): Descriptor {
  const at = index * VIRTQ_DESC_SIZE
  const low = table.getUint32(at + VIRTQ_DESC_ADDRESS, true)
  const high = table.getUint32(at + VIRTQ_DESC_ADDRESS + 4, true)
  return {
    page: pageOf(low, high),
    offset: low & (PAGE_SIZE - 1),
    length: table.getUint32(at + VIRTQ_DESC_LENGTH, true),
    flags: table.getUint16(at + VIRTQ_DESC_FLAGS, true),
    next: table.getUint16(at + VIRTQ_DESC_NEXT, true),
  }
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
