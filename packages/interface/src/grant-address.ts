import { InvalidArgumentError } from './errors.ts'
import { type GrantReference, grantReference } from './identifiers.ts'
import { PAGE_SHIFT, PAGE_SIZE } from './page.ts'

/**
 * What a guest adds to the address of a granted page when it gives it to a device: bit 63.
 * The number behind Linux's `XEN_GRANT_DMA_ADDR_OFF`.
 */
export const XEN_GRANT_ADDRESS_OFFSET: bigint = 1n << 63n

/**
 * The bus address by which a guest hands byte `offset` of a granted page to a device:
 * `1 << 63 | reference << 12 | offset`. A buffer of several pages has consecutive references.
 *
 * The cache takes references; only whoever owns the address map needs addresses.
 *
 * @param offset 0 to 4095
 * @throws InvalidArgumentError `ERR_XMC_ARGUMENT` for another offset
 */
export function grantAddress(reference: GrantReference, offset = 0): bigint {
  if (!Number.isInteger(offset) || offset < 0 || offset >= PAGE_SIZE) {
    throw new InvalidArgumentError('offset', 'an integer from 0 to 4095', offset)
  }
  return XEN_GRANT_ADDRESS_OFFSET + (BigInt(reference) << BigInt(PAGE_SHIFT)) + BigInt(offset)
}

/**
 * The reference and the byte offset in its page that `address` names; the inverse of
 * {@link grantAddress}. An address whose reference has more than 32 bits is refused, not truncated.
 *
 * @throws InvalidArgumentError `ERR_XMC_ARGUMENT` when `address` is not that of a granted page
 */
export function splitGrantAddress(address: bigint): {
  readonly reference: GrantReference
  readonly offset: number
} {
  const low = address - XEN_GRANT_ADDRESS_OFFSET
  if (low < 0n || low >= END) {
    throw new InvalidArgumentError(
      'grant address',
      'bit 63 set and a reference below 2^32 in bits 12 to 62',
      `0x${address.toString(16)}`,
    )
  }
  return {
    reference: grantReference(Number(low >> BigInt(PAGE_SHIFT))),
    offset: Number(low & BigInt(PAGE_SIZE - 1)),
  }
}

const END = 1n << BigInt(32 + PAGE_SHIFT)
