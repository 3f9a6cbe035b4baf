/** A share of a list. */
export interface Part {
  /** Every Mth item, from the Nth on. */
  of<Item>(items: readonly Item[]): Item[]
}

/** Takes `--part=N/M` out of parameters; without it the part is everything. */
export function parsePart(parameters: readonly string[]): {
  readonly names: readonly string[]
  readonly part: Part
} {
  const names = parameters.filter((parameter) => !parameter.startsWith('--part='))
  const given = parameters.find((parameter) => parameter.startsWith('--part='))
  const [, first = '1', step = '1'] = /^--part=([1-9]\d*)\/([1-9]\d*)$/.exec(given ?? '') ?? []
  return {
    names,
    part: { of: (items) => items.filter((_, index) => index % Number(step) === Number(first) - 1) },
  }
}
