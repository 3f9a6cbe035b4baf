/**
 * Feature bits (virtio 1.2, 2.2 and 6) by number, and sets of them.
 *
 * A set is a bigint, bit n for feature n: sets are handled during negotiation only.
 */

/** Ring feature: descriptors may point to a table of descriptors (2.7.5.3). */
export const VIRTIO_F_INDIRECT_DESC = 28
/** Ring feature: `used_event` and `avail_event` say when to notify (2.7.7, 2.7.10). */
export const VIRTIO_F_EVENT_IDX = 29
/** The device is not legacy. */
export const VIRTIO_F_VERSION_1 = 32
/** Addresses are the platform's, as grant addresses, not plain guest-physical ones. */
export const VIRTIO_F_ACCESS_PLATFORM = 33
/** Ring feature: packed virtqueues. */
export const VIRTIO_F_RING_PACKED = 34
/** Ring feature: buffers are used in the order in which they were made available. */
export const VIRTIO_F_IN_ORDER = 35
/** Memory accesses are ordered as the platform describes. */
export const VIRTIO_F_ORDER_PLATFORM = 36
/** Single root I/O virtualization. */
export const VIRTIO_F_SR_IOV = 37
/** The driver passes extra data in its notifications. */
export const VIRTIO_F_NOTIFICATION_DATA = 38
/** The driver uses the device's data as queue identifier in its notifications. */
export const VIRTIO_F_NOTIF_CONFIG_DATA = 39
/** Queues can be reset one by one. */
export const VIRTIO_F_RING_RESET = 40

/** Block device (5.2.3): the longest segment is in `size_max`. */
export const VIRTIO_BLK_F_SIZE_MAX = 1
/** Block device (5.2.3): the largest number of segments is in `seg_max`. */
export const VIRTIO_BLK_F_SEG_MAX = 2
/** Block device (5.2.3): disk-style geometry is in `geometry`. */
export const VIRTIO_BLK_F_GEOMETRY = 4
/** Block device (5.2.3): the disk is read-only. */
export const VIRTIO_BLK_F_RO = 5
/** Block device (5.2.3): block size of the disk is in `blk_size`. */
export const VIRTIO_BLK_F_BLK_SIZE = 6
/** Block device (5.2.3): flush requests. */
export const VIRTIO_BLK_F_FLUSH = 9
/** Block device (5.2.3): optimal alignment is in `topology`. */
export const VIRTIO_BLK_F_TOPOLOGY = 10
/** Block device (5.2.3): the cache can be switched between write-back and write-through. */
export const VIRTIO_BLK_F_CONFIG_WCE = 11
/** Block device (5.2.3): several queues. */
export const VIRTIO_BLK_F_MQ = 12
/** Block device (5.2.3): discard requests. */
export const VIRTIO_BLK_F_DISCARD = 13
/** Block device (5.2.3): write-zeroes requests. */
export const VIRTIO_BLK_F_WRITE_ZEROES = 14
/** Block device (5.2.3): lifetime requests. */
export const VIRTIO_BLK_F_LIFETIME = 15
/** Block device (5.2.3): secure-erase requests. */
export const VIRTIO_BLK_F_SECURE_ERASE = 16

/** Console (5.3.3): columns and rows are in the configuration space. */
export const VIRTIO_CONSOLE_F_SIZE = 0
/** Console (5.3.3): several ports and control queues. */
export const VIRTIO_CONSOLE_F_MULTIPORT = 1
/** Console (5.3.3): emergency write through the configuration space. */
export const VIRTIO_CONSOLE_F_EMERG_WRITE = 2

/** The set of the given feature numbers, 0–63 each. */
export function featureSet(...features: readonly number[]): bigint {
  let set = 0n
  for (const feature of features) set |= 1n << BigInt(feature)
  return set
}

/** Whether `feature`, a number, is in `set`. */
export function hasFeature(set: bigint, feature: number): boolean {
  return ((set >> BigInt(feature)) & 1n) === 1n
}
