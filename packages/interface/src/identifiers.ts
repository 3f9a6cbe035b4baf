import { InvalidArgumentError } from './errors.ts'

/** Number of a Xen domain: 0 to 32,751 (`DOMID_FIRST_RESERVED` − 1 of Xen's public `xen.h`). */
export type DomainId = number & { readonly __xmc: 'DomainId' }

/** Number of a 4 KiB page of guest-physical memory: guest address / 4096. */
export type GuestFrame = number & { readonly __xmc: 'GuestFrame' }

/** Index of an entry in a domain's grant table. */
export type GrantReference = number & { readonly __xmc: 'GrantReference' }

/**
 * Checks that `value` is a domain id: an integer from 0 to 32,751.
 *
 * @throws InvalidArgumentError `ERR_XMC_ARGUMENT`
 */
export function domainId(value: number): DomainId {
  if (!isDomainId(value)) {
    throw new InvalidArgumentError('domain id', 'an integer from 0 to 32751', value)
  }
  return value
}

/**
 * Checks that `value` is a guest frame: an integer from 0 to 2^52 − 1.
 *
 * @throws InvalidArgumentError `ERR_XMC_ARGUMENT`
 */
export function guestFrame(value: number): GuestFrame {
  if (!isGuestFrame(value)) {
    throw new InvalidArgumentError(
      'guest frame',
      'an integer from 0 to 2^52 - 1, which is a guest address / 4096',
      value,
    )
  }
  return value
}

/**
 * Checks that `value` is a grant reference: an integer from 0 to 2^32 − 1.
 *
 * @throws InvalidArgumentError `ERR_XMC_ARGUMENT`
 */
export function grantReference(value: number): GrantReference {
  if (!isGrantReference(value)) {
    throw new InvalidArgumentError('grant reference', 'an integer from 0 to 4294967295', value)
  }
  return value
}

/** True for a domain id; false for reserved ids, as `DOMID_SELF`, and other numbers. */
export function isDomainId(value: number): value is DomainId {
  return Number.isInteger(value) && value >= 0 && value < 0x7ff0
}

function isGuestFrame(value: number): value is GuestFrame {
  return Number.isInteger(value) && value >= 0 && value < 2 ** 52
}

function isGrantReference(value: number): value is GrantReference {
  return value >>> 0 === value
}
