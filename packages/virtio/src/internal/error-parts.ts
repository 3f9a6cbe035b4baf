import type { ErrorText, Shortage } from '@xmc/interface'

/** The text of anything that was thrown. */
export function messageOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause)
}

/** The text of an error, made if need be. */
export function textOf(text: ErrorText): string {
  return typeof text === 'string' ? text : text()
}

/** The `code` of anything that was thrown, where it has one. */
export function codeOf(error: unknown): unknown {
  return typeof error === 'object' && error !== null && 'code' in error ? error.code : undefined
}

/** Whether the attempt may succeed through `mapAsync`, which waits. */
export function isPagedOut(error: unknown): boolean {
  return codeOf(error) === 'ERR_XMC_PAGED_OUT'
}

/** What an error, or what caused it, says of the host being used up: see `XmcError.shortage`. */
export function shortageOf(error: unknown): Shortage | undefined {
  let cause = error
  for (
    let depth = 0;
    depth < MOST_CAUSES && typeof cause === 'object' && cause !== null;
    depth += 1
  ) {
    if ('shortage' in cause && (cause.shortage === 'passing' || cause.shortage === 'lasting')) {
      return cause.shortage
    }
    cause = 'cause' in cause ? cause.cause : undefined
  }
  return undefined
}

/** Causes of causes that are looked at: an error may be its own. */
const MOST_CAUSES = 8
