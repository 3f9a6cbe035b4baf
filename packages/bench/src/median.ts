/** The `part` quantile of numbers, 0.5 for the median; of two in the middle the lower one. */
export function quantile(values: readonly number[], part: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  const value = sorted[Math.floor((sorted.length - 1) * part)]
  if (value === undefined) throw new RangeError('no values have no quantiles')
  return value
}

/** The median: of two in the middle the lower one. */
export function median(values: readonly number[]): number {
  return quantile(values, 0.5)
}
