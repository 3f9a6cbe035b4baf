/** Calls `act` for every item, whichever fails, and then throws the first error. */
export function callEach<Item>(items: Iterable<Item>, act: (item: Item) => void): void {
  const errors: unknown[] = []
  for (const item of items) {
    try {
      act(item)
    } catch (error) {
      errors.push(error)
    }
  }
  if (errors.length > 0) throw errors[0]
}
