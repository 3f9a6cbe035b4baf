/** A half-open range of integers that starts at `first` and holds `count` of them. */
export interface Range {
  readonly first: number
  readonly count: number
}

/** The parts of `range` that none of `covers` covers, in order. */
export function subtract(range: Range, covers: Iterable<Range>): Range[] {
  const end = range.first + range.count
  const hits = [...covers]
    .filter((cover) => cover.first < end && cover.first + cover.count > range.first)
    .toSorted((a, b) => a.first - b.first)
  const rest: Range[] = []
  let at = range.first
  for (const cover of hits) {
    if (cover.first > at) rest.push({ first: at, count: cover.first - at })
    at = Math.max(at, cover.first + cover.count)
  }
  if (at < end) rest.push({ first: at, count: end - at })
  return rest
}

/** The part that two ranges have in common, or undefined. */
export function intersect(a: Range, b: Range): Range | undefined {
  const first = Math.max(a.first, b.first)
  const count = Math.min(a.first + a.count, b.first + b.count) - first
  return count > 0 ? { first, count } : undefined
}

/**
 * Calls `visit` for each stretch of `values` that counts up by one, negative values left out:
 * index of its first element, its first value, its length.
 */
export function forEachRun(
  values: Float64Array,
  count: number,
  visit: (index: number, value: number, length: number) => void,
): void {
  let start = 0
  while (start < count) {
    const value = values[start] ?? -1
    let end = start + 1
    if (value >= 0) {
      while (end < count && values[end] === value + end - start) end++
      visit(start, value, end - start)
    }
    start = end
  }
}

/** The values that are not negative as ranges, one for each stretch that counts up by one. */
export function rangesOf(values: Float64Array): Range[] {
  const ranges: Range[] = []
  forEachRun(values, values.length, (_index, first, count) => ranges.push({ first, count }))
  return ranges
}
