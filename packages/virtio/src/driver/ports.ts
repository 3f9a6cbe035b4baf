import { InvalidArgumentError } from '@xmc/interface'

/** Number of a 4 KiB page of guest-physical memory: guest address / 4096. */
export type GuestFrame = number & { readonly __xmc: 'GuestFrame' }

/** Bytes of one access to a register or to the configuration space. */
export type AccessSize = 1 | 2 | 4 | 8

/**
 * The port to memory-mapped I/O, as a virtual CPU of the guest has it: an access leaves the guest and
 * resolves when the device model has answered it. Accesses happen in the order of the calls.
 */
export interface MmioBus {
  /** Reads `size` bytes, little-endian, as a number from 0 on. Rejects when no answer will come. */
  read(address: number | bigint, size: AccessSize): Promise<number>
  /** Writes `size` bytes, little-endian. Resolves when the device has seen them. */
  write(address: number | bigint, value: number, size: AccessSize): Promise<void>
}

/**
 * The port to the guest's own RAM. What it hands out is the driver's until it is freed; nobody else
 * writes there but the device.
 */
export interface GuestPages {
  /** Takes `count` contiguous free frames (at least 1); undefined when there are none. */
  allocate(count: number): GuestFrame | undefined
  /** Gives back what one `allocate` took. */
  free(frame: GuestFrame, count: number): void
  /** The bytes of `count` frames from `frame` on. The view stays valid until they are freed. */
  bytes(frame: GuestFrame, count: number): Uint8Array
}

/** Which way a device moves data; it decides about write access. */
export type DmaDirection = 'to-device' | 'from-device' | 'bidirectional'

/**
 * The port that gives buffers to a device, after the DMA operations of Linux.
 *
 * A device address is a 4 KiB page number below 2^52 and an offset in that page. The offset is that of
 * the buffer in its guest page, so only page numbers are handed out. A buffer of several pages has
 * consecutive page numbers.
 */
export interface DmaMapper {
  /** True when addresses are the platform's, so that the device must take VIRTIO_F_ACCESS_PLATFORM. */
  readonly needsAccessPlatform: boolean
  /** True once the device held a buffer that was taken back: it is unusable for ever. */
  readonly broken: boolean
  /**
   * Gives a buffer to the device for one transfer: `length` bytes (at least 1), `offset` bytes (more
   * than a page, too) from the start of `frame`. The device may write unless the direction is
   * `to-device`. Returns the number of the first page, or −1 when nothing is left to give buffers
   * with: an `unmap` helps.
   *
   * @throws DmaBrokenError `ERR_XMC_DMA_BROKEN`
   */
  map(frame: GuestFrame, offset: number, length: number, direction: DmaDirection): number
  /**
   * Takes a buffer back, given what `map` returned and what it was called with. False when the device
   * still has it, or the mapper was broken before: the pages must then never be used again.
   */
  unmap(page: number, offset: number, length: number): boolean
  /**
   * Gives whole pages to the device for as long as the driver runs, such as a ring's, readable and
   * writable. Returns as `map`.
   *
   * @throws DmaBrokenError `ERR_XMC_DMA_BROKEN`
   */
  allocateCoherent(frame: GuestFrame, count: number): number
  /** Takes pages of `allocateCoherent` back. Returns as `unmap`. */
  freeCoherent(page: number, count: number): boolean
}

/** The port to one level-triggered interrupt of the guest. */
export interface InterruptLine {
  /** True while the line is high. A provider that sees edges alone says false always. */
  readonly level: boolean
  /**
   * Calls `handler`, which does not throw, whenever the line rises; a line that is high already counts
   * as a rise. Returns the function that ends it.
   */
  subscribe(handler: () => void): () => void
}

/**
 * Checks that `value` is a guest frame: an integer from 0 to 2^52 − 1.
 *
 * @throws InvalidArgumentError `ERR_XMC_ARGUMENT`
 */
export function guestFrame(value: number): GuestFrame {
  if (!isGuestFrame(value)) {
    throw new InvalidArgumentError('guest frame', 'an integer from 0 to 2^52 - 1', value)
  }
  return value
}

function isGuestFrame(value: number): value is GuestFrame {
  return Number.isInteger(value) && value >= 0 && value < 2 ** 52
}
