/**
 * The positive errno that an error carries, whichever sign its thrower gave it; undefined when it
 * carries none.
 */
export function errnoOf(error: unknown): number | undefined {
  if (typeof error !== 'object' || error === null || !('errno' in error)) return undefined
  const errno = error.errno
  return typeof errno === 'number' && Number.isInteger(errno) && errno !== 0
    ? Math.abs(errno)
    : undefined
}
