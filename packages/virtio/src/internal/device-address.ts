/** A 64-bit device address: 4 KiB page and offset in it. */
export interface DeviceAddress {
  readonly page: number
  readonly offset: number
}

/** First page number that does not exist: 2^64 / 4096. */
const PAGES = 2 ** 52

/** Page number of an address given as two u32. */
export function pageOf(low: number, high: number): number {
  return high * 0x10_0000 + (low >>> 12)
}

/** Whether `length` bytes (at least 1) from an address on end at or below 2^64. */
export function fits(page: number, offset: number, length: number): boolean {
  return page + Math.floor((offset + length - 1) / 4096) < PAGES
}

/** An address as people write it. */
export function formatAddress(page: number, offset: number): string {
  return `0x${((BigInt(page) << 12n) | BigInt(offset)).toString(16)}`
}
