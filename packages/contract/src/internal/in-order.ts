import type { Awaitable } from '../contract-case.ts'

/** Runs `step` for each item, each after the one before has settled. */
export async function inOrder<Item>(
  items: Iterable<Item>,
  step: (item: Item, index: number) => Awaitable<void>,
): Promise<void> {
  let index = 0
  let previous = Promise.resolve()
  for (const item of items) {
    const at = index++
    previous = previous.then(() => step(item, at))
  }
  await previous
}

/** Waits for all of `steps`, also when one fails; then fails with the first failure. */
export async function together(...steps: readonly Promise<unknown>[]): Promise<void> {
  const results = await Promise.allSettled(steps)
  for (const result of results) if (result.status === 'rejected') throw result.reason
}

/** The whole numbers from 0 to `count` − 1. */
export function upTo(count: number): readonly number[] {
  return Array.from({ length: count }, (_, index) => index)
}
