/** Pages in a 4 GiB step of addresses: what an address's upper half counts. */
const PAGES_PER_HIGH = 2 ** 20

/**
 * Bits 31:0 of the address that lies `offset` bytes, less than a page, into page number `page`, which is
 * below 2^52.
 */
export function addressLow(page: number, offset: number): number {
  return (page - Math.floor(page / PAGES_PER_HIGH) * PAGES_PER_HIGH) * 4096 + offset
}

/** Bits 63:32 of an address in page number `page`, below 2^52. */
export function addressHigh(page: number): number {
  return Math.floor(page / PAGES_PER_HIGH)
}
