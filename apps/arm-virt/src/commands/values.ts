import { InvalidArgumentError } from 'commander'
import { MAXIMUM_RAM_BYTES, VIRTIO_MMIO_SLOTS } from '../address-map.ts'

const UNITS: ReadonlyMap<string, number> = new Map([
  ['', 1],
  ['K', 2 ** 10],
  ['M', 2 ** 20],
  ['G', 2 ** 30],
  ['T', 2 ** 40],
])

/**
 * Bytes, as `4096`, `512M` or `2GiB`: an integer with K, M, G or T for powers of 1024.
 *
 * @throws InvalidArgumentError of commander
 */
function parseBytes(text: string): number {
  const [, digits = '', unit = ''] = /^(\d+)([KMGT]?)(?:iB)?$/i.exec(text) ?? []
  const bytes = Number(digits) * (UNITS.get(unit.toUpperCase()) ?? 1)
  if (digits !== '' && Number.isSafeInteger(bytes)) return bytes
  throw new InvalidArgumentError('Give a number of bytes, as 4096, 256K, 512M or 2G.')
}

/** Parses the size of a guest's RAM. @throws InvalidArgumentError of commander */
export function parseMemory(text: string): number {
  const bytes = parseBytes(text)
  if (bytes >= 4096 && bytes % 4096 === 0 && bytes <= MAXIMUM_RAM_BYTES) return bytes
  throw new InvalidArgumentError(
    `Give a multiple of 4K from 4K to ${MAXIMUM_RAM_BYTES / 2 ** 30}G, all that the address map has room for.`,
  )
}

/** Makes a parser of integers from `least` to `most`; it throws InvalidArgumentError of commander. */
export function integerParser(least: number, most: number): (text: string) => number {
  return (text) => {
    const value = /^\d+$/.test(text) ? Number(text) : Number.NaN
    if (value >= least && value <= most) return value
    throw new InvalidArgumentError(`Give an integer from ${least} to ${most}.`)
  }
}

/** Parses the size of a queue. @throws InvalidArgumentError of commander */
export function parseQueueSize(text: string): number {
  const value = /^\d+$/.test(text) ? Number(text) : 0
  if (value >= 4 && value <= 32_768 && Number.isInteger(Math.log2(value))) return value
  throw new InvalidArgumentError('Give a power of 2 from 4 to 32768.')
}

/** Parses the size of a request. @throws InvalidArgumentError of commander */
export function parseBlockBytes(text: string): number {
  const value = parseBytes(text)
  if (value >= 512 && value <= 2 ** 20 && value % 512 === 0) return value
  throw new InvalidArgumentError('Give a multiple of 512 from 512 to 1M.')
}

/** Adds a path to those of the options before. @throws InvalidArgumentError of commander */
export function collectDisks(path: string, before: readonly string[] = []): readonly string[] {
  if (before.length < VIRTIO_MMIO_SLOTS) return [...before, path]
  throw new InvalidArgumentError(`The board has ${VIRTIO_MMIO_SLOTS} transports: give fewer disks.`)
}

/** Adds a serial number to those of the options before. @throws InvalidArgumentError of commander */
export function collectSerials(text: string, before: readonly string[] = []): readonly string[] {
  if (/^[\x20-\x7e]{1,20}$/.test(text)) return [...before, text]
  throw new InvalidArgumentError('Give 1 to 20 printable ASCII characters.')
}
