/**
 * The registers of virtio over MMIO, version 2 (virtio 1.2, 4.2.2): offsets from the start of the
 * device's registers, 4 bytes each, little-endian.
 */

/** R: reads `VIRTIO_MMIO_MAGIC`. */
export const VIRTIO_MMIO_MAGIC_VALUE = 0x000
/** R: reads `VIRTIO_MMIO_VERSION_2`. */
export const VIRTIO_MMIO_VERSION = 0x004
/** R: the device's kind (section 5), 0 where there is no device. */
export const VIRTIO_MMIO_DEVICE_ID = 0x008
/** R: who made the device. */
export const VIRTIO_MMIO_VENDOR_ID = 0x00c
/** R: 32 feature bits that the device offers, the half chosen by `DEVICE_FEATURES_SEL`. */
export const VIRTIO_MMIO_DEVICE_FEATURES = 0x010
/** W: which half `DEVICE_FEATURES` shows. */
export const VIRTIO_MMIO_DEVICE_FEATURES_SEL = 0x014
/** W: 32 feature bits that the driver takes, the half chosen by `DRIVER_FEATURES_SEL`. */
export const VIRTIO_MMIO_DRIVER_FEATURES = 0x020
/** W: which half `DRIVER_FEATURES` sets. */
export const VIRTIO_MMIO_DRIVER_FEATURES_SEL = 0x024
/** W: the queue that the queue registers mean. */
export const VIRTIO_MMIO_QUEUE_SEL = 0x030
/** R: largest size of the queue in elements, 0 where there is no such queue. */
export const VIRTIO_MMIO_QUEUE_NUM_MAX = 0x034
/** W: size of the queue in elements. */
export const VIRTIO_MMIO_QUEUE_NUM = 0x038
/** RW: 1 when the queue may be used. */
export const VIRTIO_MMIO_QUEUE_READY = 0x044
/** W: the number of a queue with new buffers. */
export const VIRTIO_MMIO_QUEUE_NOTIFY = 0x050
/** R: why the interrupt is high, see `VIRTIO_MMIO_INTERRUPT_*`. */
export const VIRTIO_MMIO_INTERRUPT_STATUS = 0x060
/** W: the reasons that the driver has seen to. */
export const VIRTIO_MMIO_INTERRUPT_ACK = 0x064
/** RW: device status, see `VIRTIO_STATUS_*`; writing 0 resets the device. */
export const VIRTIO_MMIO_STATUS = 0x070
/** W: address of the descriptor table, bits 31:0. */
export const VIRTIO_MMIO_QUEUE_DESC_LOW = 0x080
/** W: address of the descriptor table, bits 63:32. */
export const VIRTIO_MMIO_QUEUE_DESC_HIGH = 0x084
/** W: address of the driver area (available ring), bits 31:0. */
export const VIRTIO_MMIO_QUEUE_DRIVER_LOW = 0x090
/** W: address of the driver area (available ring), bits 63:32. */
export const VIRTIO_MMIO_QUEUE_DRIVER_HIGH = 0x094
/** W: address of the device area (used ring), bits 31:0. */
export const VIRTIO_MMIO_QUEUE_DEVICE_LOW = 0x0a0
/** W: address of the device area (used ring), bits 63:32. */
export const VIRTIO_MMIO_QUEUE_DEVICE_HIGH = 0x0a4
/** W: the shared memory region that the `SHM_*` registers show. */
export const VIRTIO_MMIO_SHM_SEL = 0x0ac
/** R: length of the shared memory region, bits 31:0; all ones where there is none. */
export const VIRTIO_MMIO_SHM_LEN_LOW = 0x0b0
/** R: length of the shared memory region, bits 63:32. */
export const VIRTIO_MMIO_SHM_LEN_HIGH = 0x0b4
/** R: address of the shared memory region, bits 31:0; all ones where there is none. */
export const VIRTIO_MMIO_SHM_BASE_LOW = 0x0b8
/** R: address of the shared memory region, bits 63:32. */
export const VIRTIO_MMIO_SHM_BASE_HIGH = 0x0bc
/** RW: resets one queue; only with VIRTIO_F_RING_RESET. */
export const VIRTIO_MMIO_QUEUE_RESET = 0x0c0
/** R: changes whenever a read of the configuration space in parts could be torn. */
export const VIRTIO_MMIO_CONFIG_GENERATION = 0x0fc
/** RW: start of the device's configuration space, accessed in any size. */
export const VIRTIO_MMIO_CONFIG = 0x100

/** Bytes of a transport: 0x100 of registers and 0x100 of configuration space. */
export const VIRTIO_MMIO_SIZE = 0x200

/** What `MAGIC_VALUE` reads: "virt". */
export const VIRTIO_MMIO_MAGIC = 0x74726976
/** What `VERSION` reads for a device that is not legacy. */
export const VIRTIO_MMIO_VERSION_2 = 2

/** Interrupt reason: the device used a buffer in at least one queue. */
export const VIRTIO_MMIO_INTERRUPT_USED_BUFFER = 1
/** Interrupt reason: the configuration, or DEVICE_NEEDS_RESET, changed. */
export const VIRTIO_MMIO_INTERRUPT_CONFIGURATION = 2

/** Device status (2.1): the guest has noticed the device. */
export const VIRTIO_STATUS_ACKNOWLEDGE = 1
/** Device status (2.1): the guest knows how to drive it. */
export const VIRTIO_STATUS_DRIVER = 2
/** Device status (2.1): the driver is set up; the device is live. */
export const VIRTIO_STATUS_DRIVER_OK = 4
/** Device status (2.1): feature negotiation is complete. */
export const VIRTIO_STATUS_FEATURES_OK = 8
/** Device status (2.1): the device met an error that only a reset cures. */
export const VIRTIO_STATUS_DEVICE_NEEDS_RESET = 64
/** Device status (2.1): the driver has given up. */
export const VIRTIO_STATUS_FAILED = 128

/** Device id (section 5): nothing behind this transport. */
export const VIRTIO_ID_NONE = 0
/** Device id (section 5): block device. */
export const VIRTIO_ID_BLOCK = 2
/** Device id (section 5): console. */
export const VIRTIO_ID_CONSOLE = 3
/** Device id (section 5): entropy source. */
export const VIRTIO_ID_ENTROPY = 4
