/** Consecutive places of a request. */
export interface Run {
  readonly start: number
  readonly count: number
}

/** The runs of places from `start` on whose status is 0, among `count`. */
export function goodRuns(statuses: Int32Array, { start, count }: Run): Run[] {
  const runs: Run[] = []
  const end = start + count
  for (let i = start; i < end; ) {
    let next = i + 1
    if (statuses[i] === 0) {
      while (next < end && statuses[next] === 0) next++
      runs.push({ start: i, count: next - i })
    }
    i = next
  }
  return runs
}
