/** Calls every function, whatever the others do, and adds what they throw to `errors`. */
export function callAll(calls: Iterable<() => void>, errors: unknown[]): void {
  for (const call of calls) {
    try {
      call()
    } catch (error) {
      errors.push(error)
    }
  }
}

/** Throws the error that was collected, or an AggregateError if there are several. */
export function throwAll(errors: readonly unknown[]): void {
  if (errors.length === 1) throw errors[0]
  if (errors.length > 1) throw new AggregateError(errors, `${errors.length} calls failed`)
}
