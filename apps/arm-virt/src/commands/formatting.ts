const integers = new Intl.NumberFormat('en-US')

/** An integer with its thousands apart. */
export function formatInteger(value: number): string {
  return integers.format(value)
}

/** A number of bytes that is counted in powers of 1024, as `512 MiB` or `256 KiB`. */
export function formatSize(bytes: number): string {
  for (const [unit, size] of UNITS) {
    if (bytes >= size && bytes % size === 0) return `${formatInteger(bytes / size)} ${unit}`
  }
  return `${formatInteger(bytes)} bytes`
}

/** A rate in powers of 1000, as `812.4 MB/s`. */
export function formatRate(bytesPerSecond: number): string {
  return `${(bytesPerSecond / 1e6).toFixed(1)} MB/s`
}

/** Lines of names and values, the values below each other. */
export function formatTable(rows: readonly (readonly [name: string, value: string])[]): string {
  const width = Math.max(...rows.map(([name]) => name.length))
  return rows.map(([name, value]) => `${name.padEnd(width)}  ${value}\n`).join('')
}

const UNITS: readonly (readonly [unit: string, bytes: number])[] = [
  ['TiB', 2 ** 40],
  ['GiB', 2 ** 30],
  ['MiB', 2 ** 20],
  ['KiB', 2 ** 10],
]
