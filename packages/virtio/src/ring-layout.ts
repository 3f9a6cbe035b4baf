/**
 * Layout of a split virtqueue in guest memory (virtio 1.2, 2.7), all fields little-endian.
 *
 * Offsets are from the start of the part or element they belong to; sizes are bytes; `queueSize`
 * counts elements and is a power of 2 up to `VIRTQ_SIZE_MAX`.
 */

/** Largest size of a split queue, in elements (2.7). */
export const VIRTQ_SIZE_MAX = 32768

/** Bytes of a descriptor (2.7.5). */
export const VIRTQ_DESC_SIZE = 16
/** Descriptor: u64 address of the buffer. */
export const VIRTQ_DESC_ADDRESS = 0
/** Descriptor: u32 length of the buffer. */
export const VIRTQ_DESC_LENGTH = 8
/** Descriptor: u16 `VIRTQ_DESC_F_*`. */
export const VIRTQ_DESC_FLAGS = 12
/** Descriptor: u16 index of the next one, with VIRTQ_DESC_F_NEXT. */
export const VIRTQ_DESC_NEXT = 14
/** Descriptor flag: the chain goes on at `next`. */
export const VIRTQ_DESC_F_NEXT = 1
/** Descriptor flag: the device writes the buffer (otherwise it reads it). */
export const VIRTQ_DESC_F_WRITE = 2
/** Descriptor flag: the buffer is a table of descriptors (2.7.5.3). */
export const VIRTQ_DESC_F_INDIRECT = 4
/** Alignment of the descriptor table, bytes. */
export const VIRTQ_DESC_ALIGN = 16

/** Available ring (2.7.6): u16 flags. */
export const VIRTQ_AVAIL_FLAGS = 0
/** Available ring: u16 index of the next free place, counting without end. */
export const VIRTQ_AVAIL_INDEX = 2
/** Available ring: first of `queueSize` u16 heads of descriptor chains. */
export const VIRTQ_AVAIL_RING = 4
/** Available ring flag: the driver wants no used-buffer notifications. */
export const VIRTQ_AVAIL_F_NO_INTERRUPT = 1
/** Alignment of the available ring, bytes. */
export const VIRTQ_AVAIL_ALIGN = 2

/** Used ring (2.7.8): u16 flags. */
export const VIRTQ_USED_FLAGS = 0
/** Used ring: u16 index of the next free place, counting without end. */
export const VIRTQ_USED_INDEX = 2
/** Used ring: first of `queueSize` elements. */
export const VIRTQ_USED_RING = 4
/** Bytes of a used element. */
export const VIRTQ_USED_ELEMENT_SIZE = 8
/** Used element: u32 head of the descriptor chain. */
export const VIRTQ_USED_ELEMENT_ID = 0
/** Used element: u32 bytes that the device wrote into the chain, from its first writable byte on. */
export const VIRTQ_USED_ELEMENT_LENGTH = 4
/** Used ring flag: the device wants no available-buffer notifications. */
export const VIRTQ_USED_F_NO_NOTIFY = 1
/** Alignment of the used ring, bytes. */
export const VIRTQ_USED_ALIGN = 4

/** Bytes of a descriptor table. */
export function descriptorTableSize(queueSize: number): number {
  return VIRTQ_DESC_SIZE * queueSize
}

/** Bytes of an available ring, `used_event` included: it is there with EVENT_IDX, and room for it always (2.7). */
export function availableRingSize(queueSize: number): number {
  return VIRTQ_AVAIL_RING + 2 * queueSize + 2
}

/** Bytes of a used ring, `avail_event` included: it is there with EVENT_IDX, and room for it always (2.7). */
export function usedRingSize(queueSize: number): number {
  return VIRTQ_USED_RING + VIRTQ_USED_ELEMENT_SIZE * queueSize + 2
}

/** Offset in the available ring of u16 `used_event`: notify when this used index is passed (2.7.7). */
export function usedEventOffset(queueSize: number): number {
  return VIRTQ_AVAIL_RING + 2 * queueSize
}

/** Offset in the used ring of u16 `avail_event`: notify when this available index is passed (2.7.10). */
export function availableEventOffset(queueSize: number): number {
  return VIRTQ_USED_RING + VIRTQ_USED_ELEMENT_SIZE * queueSize
}

/**
 * Whether the other side wants a notification, with EVENT_IDX: its event index lies in the entries
 * from `oldIndex` up to but without `newIndex`. All are u16 counters that wrap (2.7.7.2).
 */
export function eventPassed(event: number, newIndex: number, oldIndex: number): boolean {
  return ((newIndex - event - 1) & 0xffff) < ((newIndex - oldIndex) & 0xffff)
}
