import { DiskError, type DiskReason } from '../disk.ts'
import { codeOf, messageOf } from './error-parts.ts'

/** A failed operation on a disk's file, `operation` in the past participle. */
export function diskError(path: string, operation: string, cause: unknown): DiskError {
  const errnoName = errnoNameOf(cause)
  const [reason, advice] = REASONS.get(errnoName ?? '') ?? ['io', 'see the cause']
  return new DiskError(
    path,
    reason,
    `the file cannot be ${operation} (${messageOf(cause)}): ${advice}`,
    { cause, errnoName },
  )
}

/** What every flush fails with after `cause`, which may have lost writes that were complete. */
export function lostWrites(disk: string, cause: unknown): DiskError {
  if (cause instanceof DiskError && cause.reason === 'lost-writes') return cause
  return new DiskError(
    disk,
    'lost-writes',
    `writes may have been lost (${messageOf(cause)}), and no flush can promise them any more: ` +
      'see to the medium, check the contents, and open the disk again',
    { cause, errnoName: errnoNameOf(cause) },
  )
}

/** Whether a flush that failed so has lost no write that was complete. */
export function losesNothing(error: unknown): boolean {
  return error instanceof DiskError && LOSE_NOTHING.has(error.reason)
}

/** The errno by its name, of an error of Node (`code`) or of xmc (`errnoName`). */
export function errnoNameOf(error: unknown): string | undefined {
  if (typeof error === 'object' && error !== null && 'errnoName' in error) {
    const { errnoName } = error
    if (typeof errnoName === 'string') return errnoName
  }
  const code = codeOf(error)
  return typeof code === 'string' ? code : undefined
}

/** Whether the call is none that this file can do, whatever it is asked for. */
export function isUnsupported(error: unknown): boolean {
  if (error instanceof DiskError && error.reason === 'unsupported') return true
  const name = errnoNameOf(error)
  return name !== undefined && UNSUPPORTED.has(name)
}

/**
 * Whether a failed write may be the late news of earlier ones that were lost, as on network file systems. An
 * error that only says why this write was not taken leaves the earlier ones as they are.
 */
export function tellsOfEarlierWrites(error: DiskError): boolean {
  return !OF_THIS_WRITE_ALONE.has(error.errnoName ?? '')
}

const LOSE_NOTHING: ReadonlySet<DiskReason> = new Set(['closed', 'truncated', 'read-only', 'range'])

/** Linux calls errno 95 EOPNOTSUPP, Node ENOTSUP. */
const UNSUPPORTED: ReadonlySet<string> = new Set([
  'ENOTSUP',
  'EOPNOTSUPP',
  'ENOSYS',
  'ENODEV',
  'ENOTTY',
  'EPERM',
  // Of a call that is made through a library which is not there.
  'ERR_XMC_NATIVE_LIBRARY',
  'ERR_XMC_UNSUPPORTED_PLATFORM',
])

const OF_THIS_WRITE_ALONE: ReadonlySet<string> = new Set([
  'EACCES',
  'EAGAIN',
  'EBADF',
  'EDQUOT',
  'EFAULT',
  'EFBIG',
  'EINTR',
  'EINVAL',
  'ENOMEM',
  'ENOSPC',
  'EPERM',
  'EROFS',
])

const REASONS: ReadonlyMap<string, readonly [DiskReason, string]> = new Map([
  ['ENOENT', ['missing', 'give the path of a file that exists']],
  ['ENOTDIR', ['missing', 'give the path of a file that exists']],
  ['EISDIR', ['directory', 'give a file']],
  ['ENXIO', ['not-a-file', 'give a regular file or a block device']],
  ['EACCES', ['permission', 'open it read-only, or as a user who may']],
  ['EPERM', ['permission', 'open it read-only, or as a user who may']],
  ['EROFS', ['read-only', 'open it read-only, or make the file system writable']],
  ['ENOSPC', ['full', 'make space on the file system']],
  ['EDQUOT', ['full', 'raise the quota']],
])
