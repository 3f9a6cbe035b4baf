/**
 * Calls `act` for every item, whichever fails, gives every error but the first to `further`, and throws the
 * first.
 */
export function callEach<Item>(
  items: Iterable<Item>,
  act: (item: Item) => void,
  further: (error: unknown) => void,
): void {
  const errors: unknown[] = []
  for (const item of items) {
    try {
      act(item)
    } catch (error) {
      errors.push(error)
    }
  }
  for (const error of errors.slice(1)) further(error)
  if (errors.length > 0) throw errors[0]
}
