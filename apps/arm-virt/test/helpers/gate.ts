/** A promise, and what resolves it. */
export interface Gate {
  readonly promise: Promise<void>
  readonly open: () => void
}

/** Makes a promise that resolves when `open` is called. */
export function makeGate(): Gate {
  const openers: (() => void)[] = []
  const promise = new Promise<void>((resolve) => {
    openers.push(resolve)
  })
  return { promise, open: () => openers[0]?.() }
}
