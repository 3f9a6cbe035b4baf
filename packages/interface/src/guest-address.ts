import { InvalidArgumentError } from './errors.ts'
import { type GuestFrame, guestFrame } from './identifiers.ts'
import { PAGE_SHIFT, PAGE_SIZE } from './page.ts'

/** A guest-physical address in bytes: 64 bits, so a bigint. */
export type GuestAddress = bigint & { readonly __xmc: 'GuestAddress' }

/**
 * Checks that `value` is a guest address: 0 to 2^64 − 1.
 *
 * @throws InvalidArgumentError `ERR_XMC_ARGUMENT`
 */
export function guestAddress(value: bigint): GuestAddress {
  if (!isGuestAddress(value)) {
    throw new InvalidArgumentError('guest address', 'a bigint from 0 to 2^64 - 1', value)
  }
  return value
}

/**
 * The guest address of byte `offset` in `frame`.
 *
 * @param offset 0 to 4095
 * @throws InvalidArgumentError `ERR_XMC_ARGUMENT` for another offset
 */
export function addressOfFrame(frame: GuestFrame, offset = 0): GuestAddress {
  if (!Number.isInteger(offset) || offset < 0 || offset >= PAGE_SIZE) {
    throw new InvalidArgumentError('offset', 'an integer from 0 to 4095', offset)
  }
  return guestAddress((BigInt(frame) << BigInt(PAGE_SHIFT)) + BigInt(offset))
}

/** The frame that `address` lies in, and the byte offset in it. Both are exact numbers. */
export function splitGuestAddress(address: GuestAddress): {
  readonly frame: GuestFrame
  readonly offset: number
} {
  return {
    frame: guestFrame(Number(address >> BigInt(PAGE_SHIFT))),
    offset: Number(address & BigInt(PAGE_SIZE - 1)),
  }
}

function isGuestAddress(value: bigint): value is GuestAddress {
  return typeof value === 'bigint' && BigInt.asUintN(64, value) === value
}
