/** The requests and the configuration space of a block device (virtio 1.2, 5.2), all little-endian. */

/** Bytes of a sector: the unit of positions and lengths, whatever the disk's block size. */
export const VIRTIO_BLK_SECTOR_SIZE = 512

/** Bytes of a request's header, the first that the device reads. */
export const VIRTIO_BLK_HEADER_SIZE = 16
/** Header: u32 `VIRTIO_BLK_T_*`. */
export const VIRTIO_BLK_HEADER_TYPE = 0
/** Header: u32, reserved. */
export const VIRTIO_BLK_HEADER_RESERVED = 4
/** Header: u64 first sector, of reads and writes. */
export const VIRTIO_BLK_HEADER_SECTOR = 8
/** Bytes of a request's status, the last that the device writes. */
export const VIRTIO_BLK_STATUS_SIZE = 1

/** Request: read sectors. */
export const VIRTIO_BLK_T_IN = 0
/** Request: write sectors. */
export const VIRTIO_BLK_T_OUT = 1
/** Request: make completed writes durable. */
export const VIRTIO_BLK_T_FLUSH = 4
/** Request: read the identity, `VIRTIO_BLK_ID_SIZE` bytes. */
export const VIRTIO_BLK_T_GET_ID = 8
/** Request: read wear information. */
export const VIRTIO_BLK_T_GET_LIFETIME = 10
/** Request: forget sectors. */
export const VIRTIO_BLK_T_DISCARD = 11
/** Request: make sectors read as zeros. */
export const VIRTIO_BLK_T_WRITE_ZEROES = 13
/** Request: erase sectors for good. */
export const VIRTIO_BLK_T_SECURE_ERASE = 14

/** Status: done. */
export const VIRTIO_BLK_S_OK = 0
/** Status: an error of the device or the driver. */
export const VIRTIO_BLK_S_IOERR = 1
/** Status: the device has no such request. */
export const VIRTIO_BLK_S_UNSUPP = 2

/** Bytes of the answer to GET_ID: a string, ended by a NUL where it is shorter. */
export const VIRTIO_BLK_ID_SIZE = 20

/** Bytes of a segment in the data of a discard or write-zeroes request. */
export const VIRTIO_BLK_SEGMENT_SIZE = 16
/** Segment: u64 first sector. */
export const VIRTIO_BLK_SEGMENT_SECTOR = 0
/** Segment: u32 number of sectors. */
export const VIRTIO_BLK_SEGMENT_SECTOR_COUNT = 8
/** Segment: u32 flags. */
export const VIRTIO_BLK_SEGMENT_FLAGS = 12
/** Segment flag of write-zeroes: the sectors may be deallocated. */
export const VIRTIO_BLK_SEGMENT_F_UNMAP = 1

/** Configuration: u64 sectors of the disk. */
export const VIRTIO_BLK_CONFIG_CAPACITY = 0
/** Configuration: u32 bytes of the longest segment, with SIZE_MAX. */
export const VIRTIO_BLK_CONFIG_SIZE_MAX = 8
/** Configuration: u32 largest number of segments, with SEG_MAX. */
export const VIRTIO_BLK_CONFIG_SEG_MAX = 12
/** Configuration: geometry, u16 cylinders, u8 heads, u8 sectors, with GEOMETRY. */
export const VIRTIO_BLK_CONFIG_GEOMETRY = 16
/** Configuration: u32 bytes of a block, with BLK_SIZE. */
export const VIRTIO_BLK_CONFIG_BLOCK_SIZE = 20
/** Configuration: u8 logical blocks in a physical block, as exponent of 2, with TOPOLOGY. */
export const VIRTIO_BLK_CONFIG_PHYSICAL_BLOCK_EXPONENT = 24
/** Configuration: u8 first aligned logical block, with TOPOLOGY. */
export const VIRTIO_BLK_CONFIG_ALIGNMENT_OFFSET = 25
/** Configuration: u16 smallest good request in blocks, with TOPOLOGY. */
export const VIRTIO_BLK_CONFIG_MINIMUM_IO_SIZE = 26
/** Configuration: u32 best request in blocks, with TOPOLOGY. */
export const VIRTIO_BLK_CONFIG_OPTIMAL_IO_SIZE = 28
/** Configuration: u8 1 for write-back, 0 for write-through, with CONFIG_WCE. */
export const VIRTIO_BLK_CONFIG_WRITEBACK = 32
/** Configuration: u16 number of queues, with MQ. */
export const VIRTIO_BLK_CONFIG_QUEUE_COUNT = 34
/** Configuration: u32 most sectors in a discard segment, with DISCARD. */
export const VIRTIO_BLK_CONFIG_MAX_DISCARD_SECTORS = 36
/** Configuration: u32 most segments in a discard request, with DISCARD. */
export const VIRTIO_BLK_CONFIG_MAX_DISCARD_SEGMENTS = 40
/** Configuration: u32 alignment of a discard in sectors, with DISCARD. */
export const VIRTIO_BLK_CONFIG_DISCARD_SECTOR_ALIGNMENT = 44
/** Configuration: u32 most sectors in a write-zeroes segment, with WRITE_ZEROES. */
export const VIRTIO_BLK_CONFIG_MAX_WRITE_ZEROES_SECTORS = 48
/** Configuration: u32 most segments in a write-zeroes request, with WRITE_ZEROES. */
export const VIRTIO_BLK_CONFIG_MAX_WRITE_ZEROES_SEGMENTS = 52
/** Configuration: u8 1 when write-zeroes may deallocate, with WRITE_ZEROES. */
export const VIRTIO_BLK_CONFIG_WRITE_ZEROES_MAY_UNMAP = 56
/** Configuration: u32 most sectors in a secure-erase segment, with SECURE_ERASE. */
export const VIRTIO_BLK_CONFIG_MAX_SECURE_ERASE_SECTORS = 60
/** Configuration: u32 most segments in a secure-erase request, with SECURE_ERASE. */
export const VIRTIO_BLK_CONFIG_MAX_SECURE_ERASE_SEGMENTS = 64
/** Configuration: u32 alignment of a secure erase in sectors, with SECURE_ERASE. */
export const VIRTIO_BLK_CONFIG_SECURE_ERASE_SECTOR_ALIGNMENT = 68
/** Bytes of the configuration space. */
export const VIRTIO_BLK_CONFIG_SIZE = 72
