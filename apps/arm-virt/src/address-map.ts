import { InvalidArgumentError, PAGE_SIZE } from '@xmc/interface'
import type { RamBank } from '@xmc/memory-region'
import { RamSizeError } from './errors.ts'

// The numbers and their names are those of Xen's public `arch-arm.h`, unless said otherwise.

/** First address of low RAM. */
export const GUEST_RAM0_BASE = 0x4000_0000n

/** Most bytes of low RAM: 3 GiB. */
export const GUEST_RAM0_SIZE = 0xc000_0000n

/** First address of high RAM. */
export const GUEST_RAM1_BASE = 0x2_0000_0000n

/** Most bytes of high RAM: 1,016 GiB. */
export const GUEST_RAM1_SIZE = 0xfe_0000_0000n

/** First address of the virtio-mmio transports. */
export const GUEST_VIRTIO_MMIO_BASE = 0x0200_0000n

/** Bytes set aside for virtio-mmio transports. */
export const GUEST_VIRTIO_MMIO_SIZE = 0x0010_0000n

/** Bytes from one transport to the next, as Xen's toolstack places them (libxl, `libxl_arm.c`). */
export const VIRTIO_MMIO_DEV_SIZE = 0x200n

/** Interrupt of the first transport: a shared peripheral interrupt, by its number at the controller. */
export const GUEST_VIRTIO_MMIO_SPI_FIRST = 33

/** Interrupt of the last transport. */
export const GUEST_VIRTIO_MMIO_SPI_LAST = 43

/** Transports of the board: one for each interrupt that Xen sets aside. */
export const VIRTIO_MMIO_SLOTS: number =
  GUEST_VIRTIO_MMIO_SPI_LAST - GUEST_VIRTIO_MMIO_SPI_FIRST + 1

/** Most bytes of RAM that the map has room for: 1,019 GiB. */
export const MAXIMUM_RAM_BYTES: number = Number(GUEST_RAM0_SIZE + GUEST_RAM1_SIZE)

/**
 * Where `bytes` of RAM lie: low RAM first, and what does not fit there in high RAM.
 *
 * @throws RamSizeError `ERR_XMC_RAM_SIZE` when the map has no room for it
 * @throws InvalidArgumentError `ERR_XMC_ARGUMENT` unless it is a positive multiple of 4096
 */
export function ramBanks(bytes: number): readonly RamBank[] {
  if (!Number.isSafeInteger(bytes) || bytes < PAGE_SIZE || bytes % PAGE_SIZE !== 0) {
    throw new InvalidArgumentError('memoryBytes', 'a positive multiple of 4096', bytes)
  }
  if (bytes > MAXIMUM_RAM_BYTES) throw new RamSizeError(bytes, MAXIMUM_RAM_BYTES)
  const size = BigInt(bytes)
  const low = size < GUEST_RAM0_SIZE ? size : GUEST_RAM0_SIZE
  const banks = [{ name: 'xen.ram.lo', address: GUEST_RAM0_BASE, size: low }]
  if (size > low) banks.push({ name: 'xen.ram.hi', address: GUEST_RAM1_BASE, size: size - low })
  return banks
}

/**
 * Address of the registers of the transport in a slot.
 *
 * @throws InvalidArgumentError `ERR_XMC_ARGUMENT` for a slot outside 0 to 10
 */
export function transportAddress(slot: number): bigint {
  return GUEST_VIRTIO_MMIO_BASE + BigInt(checkSlot(slot)) * VIRTIO_MMIO_DEV_SIZE
}

/**
 * Interrupt line of the transport in a slot.
 *
 * @throws InvalidArgumentError `ERR_XMC_ARGUMENT` for a slot outside 0 to 10
 */
export function transportInterrupt(slot: number): number {
  return GUEST_VIRTIO_MMIO_SPI_FIRST + checkSlot(slot)
}

function checkSlot(slot: number): number {
  if (Number.isInteger(slot) && slot >= 0 && slot < VIRTIO_MMIO_SLOTS) return slot
  throw new InvalidArgumentError('slot', `an integer from 0 to ${VIRTIO_MMIO_SLOTS - 1}`, slot)
}
