import { InvalidArgumentError } from '@xmc/interface'

/** Bytes of a page. */
export const PAGE_SIZE = 4096

/** Pages of a 64-bit address space. */
export const PAGE_LIMIT: number = 2 ** 52

/** Bytes of a 64-bit address space. */
export const ADDRESS_LIMIT: bigint = 1n << 64n

/** Bytes of the longest mapping: what a lock takes. */
export const MAX_MAPPING = 0x7fff_ffff

/** Pages that `length` bytes from `offset` in a page on lie in; the length is below 2^31. */
export function pagesOf(offset: number, length: number): number {
  return (offset + length + 4095) >>> 12
}

/** Checks a page number and an offset in that page. */
export function checkPageAddress(page: number, offset: number): void {
  if (!Number.isInteger(page) || page < 0 || page >= PAGE_LIMIT) {
    throw new InvalidArgumentError('page', 'an integer from 0 to 2^52 - 1', page)
  }
  if ((offset & 4095) !== offset) {
    throw new InvalidArgumentError('offset', 'an integer from 0 to 4095', offset)
  }
}

/** Checks a number of bytes. */
export function checkByteCount(
  field: string,
  value: number,
  minimum: number,
  maximum: number,
): void {
  if (!Number.isInteger(value) || value < minimum || value > maximum) {
    throw new InvalidArgumentError(field, `an integer from ${minimum} to ${maximum}`, value)
  }
}

/** An address as people write it. */
export function hex(value: bigint | number): string {
  return `0x${value.toString(16)}`
}
