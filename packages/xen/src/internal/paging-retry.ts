/** How the asynchronous maps wait for pages that are paged out. */
export interface PagingRetry {
  /** Milliseconds before the first retry; before the nth it is n times that. */
  readonly intervalMilliseconds: number
  /** Retries before the page counts as bad. */
  readonly attempts: number
}

/**
 * Calls `attempt` in a later turn of the event loop, and again by timers as long as it returns false.
 * The last call is told so; it returns true or throws.
 */
export async function retryPagedOut(
  { intervalMilliseconds, attempts }: PagingRetry,
  attempt: (last: boolean) => boolean,
): Promise<void> {
  await new Promise((resolve) => {
    setImmediate(resolve)
  })
  for (let retry = 1; !attempt(retry > attempts); retry++) {
    const pause = intervalMilliseconds * retry
    await new Promise((resolve) => {
      setTimeout(resolve, pause)
    })
  }
}
