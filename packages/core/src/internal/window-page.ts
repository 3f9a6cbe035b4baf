import type { WindowPage } from '@xmc/interface'

/** Names a number that the engine's own arithmetic made as a window page, without a check. */
export function asWindowPage(value: number): WindowPage {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the engine only passes slots it manages, and a check would be paid on every hit.
  return value as WindowPage
}
