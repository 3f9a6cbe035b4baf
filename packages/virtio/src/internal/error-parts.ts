/** The text of anything that was thrown. */
export function messageOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause)
}

/** The `code` of anything that was thrown, where it has one. */
export function codeOf(error: unknown): unknown {
  return typeof error === 'object' && error !== null && 'code' in error ? error.code : undefined
}

/** Whether the attempt may succeed through `mapAsync`, which waits. */
export function isPagedOut(error: unknown): boolean {
  return codeOf(error) === 'ERR_XMC_PAGED_OUT'
}
