import { InvalidArgumentError } from '@xmc/interface'
import { ADDRESS_LIMIT, checkPageAddress } from './internal/page.ts'

/**
 * A 64-bit address as two exact numbers: a page of 4096 bytes (0 to 2^52 − 1) and an offset in it
 * (0 to 4095). The address is page × 4096 + offset.
 */
export interface PageAddress {
  readonly page: number
  readonly offset: number
}

/**
 * Page and offset of `address`.
 *
 * @throws InvalidArgumentError `ERR_XMC_ARGUMENT` unless 0 ≤ address < 2^64
 */
export function splitAddress(address: bigint): PageAddress {
  return { page: pageOfAddress(address), offset: offsetOfAddress(address) }
}

/**
 * The address of byte `offset` in `page`; the inverse of {@link splitAddress}.
 *
 * @throws InvalidArgumentError `ERR_XMC_ARGUMENT` for a page or offset out of range
 */
export function joinAddress(page: number, offset: number): bigint {
  checkPageAddress(page, offset)
  return (BigInt(page) << 12n) | BigInt(offset)
}

/** @internal The page of an address, checked. */
export function pageOfAddress(address: bigint): number {
  if (typeof address !== 'bigint' || address < 0n || address >= ADDRESS_LIMIT) {
    throw new InvalidArgumentError('address', 'a bigint from 0 to 2^64 - 1', address)
  }
  return Number(address >> 12n)
}

/** @internal The offset of an address in its page. */
export function offsetOfAddress(address: bigint): number {
  return Number(address & 4095n)
}
