import type { HypervisorUsage } from '../hypervisor.ts'
import type { CacheSummary } from '../job.ts'

const integers = new Intl.NumberFormat('en-US')

/** An integer with its thousands apart. */
export function formatInteger(value: number): string {
  return integers.format(value)
}

/** How many of something, as `1 byte` or `1,024 bytes`. */
export function formatCount(value: number, one: string, several: string = `${one}s`): string {
  return `${formatInteger(value)} ${value === 1 ? one : several}`
}

/** A number of bytes that is counted in powers of 1024, as `512 MiB` or `256 KiB`. */
export function formatSize(bytes: number): string {
  for (const [unit, size] of UNITS) {
    if (bytes >= size && bytes % size === 0) return `${formatInteger(bytes / size)} ${unit}`
  }
  return formatCount(bytes, 'byte')
}

/** A rate in powers of 1000, as `812.4 MB/s`; in kB/s or B/s where that would be `0.0 MB/s`. */
export function formatRate(bytesPerSecond: number): string {
  if (bytesPerSecond >= 1e5) return `${(bytesPerSecond / 1e6).toFixed(1)} MB/s`
  if (bytesPerSecond >= 1e2) return `${(bytesPerSecond / 1e3).toFixed(1)} kB/s`
  return `${bytesPerSecond >= 1 ? Math.round(bytesPerSecond) : 'under 1'} B/s`
}

/** Seconds, and the rate if there is one. */
export function formatTiming(seconds: number, bytesPerSecond: number): string {
  const time = `${seconds.toFixed(3)} s`
  return bytesPerSecond > 0 ? `${time}, ${formatRate(bytesPerSecond)}` : time
}

/** Hits and misses of caches. */
export function describeCache({ hits, misses }: CacheSummary): string {
  return `${formatCount(hits, 'hit')}, ${formatCount(misses, 'miss', 'misses')}`
}

/** What is left of a guest: pages and grants. */
export function describeLeft({
  mappedPages,
  pinnedGrants,
}: Pick<HypervisorUsage, 'mappedPages' | 'pinnedGrants'>): string {
  return `${formatCount(mappedPages, 'page')} mapped, ${formatCount(pinnedGrants, 'grant')} pinned`
}

/** Lines of names and values, the values below each other. */
export function formatTable(rows: readonly (readonly [name: string, value: string])[]): string {
  const width = Math.max(...rows.map(([name]) => name.length))
  return rows.map(([name, value]) => `${name.padEnd(width)}  ${printable(value)}\n`).join('')
}

/** One JSON object on a line, with nothing in it that a terminal obeys. */
export function formatJson(value: unknown): string {
  // JSON leaves DEL, the controls above it and those of writing direction as they are.
  return `${JSON.stringify(value).replace(COMMANDS, escapeUnit)}\n`
}

/**
 * Text that a terminal prints and does not obey: what controls it, or the direction of writing, is
 * written as `\u001b`. File names and what a guest hands over may hold any of it.
 */
export function printable(text: string): string {
  return text.replace(COMMANDS, escapeUnit)
}

function escapeUnit(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`
}

const COMMANDS = /[\p{Cc}\p{Bidi_Control}\p{Zl}\p{Zp}]/gu

const UNITS: readonly (readonly [unit: string, bytes: number])[] = [
  ['TiB', 2 ** 40],
  ['GiB', 2 ** 30],
  ['MiB', 2 ** 20],
  ['KiB', 2 ** 10],
]
