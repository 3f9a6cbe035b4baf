import { errnoOf } from '@xmc/interface'

/**
 * Whether an error, or what caused it, says that there is no such call: `ENOTTY` of an ioctl, `ENOSYS`, and
 * `EOPNOTSUPP`, by the numbers that Linux gives them on x64 and arm64.
 */
export function isUnsupportedCall(error: unknown): boolean {
  for (
    let each = error, depth = 0;
    each instanceof Error && depth < 4;
    each = each.cause, depth++
  ) {
    const errno = errnoOf(each)
    if (errno !== undefined) return UNSUPPORTED.has(errno)
  }
  return false
}

const UNSUPPORTED: ReadonlySet<number> = new Set([25, 38, 95])
