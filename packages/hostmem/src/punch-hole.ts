import { InvalidArgumentError, SystemCallError } from '@xmc/interface'
import { FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE, systemCalls } from './internal/system-calls.ts'

/**
 * Gives the space of a range of an open file back, on another thread; it reads as zeros from then on, and the size
 * stays (`fallocate` with PUNCH_HOLE). Offset and length are bytes. Of a block device the range is discarded.
 *
 * @throws InvalidArgumentError `ERR_XMC_ARGUMENT`
 * @throws SystemCallError `ERR_XMC_SYSTEM_CALL`: `ENOTSUP` where the file system has no holes, and others
 * @throws UnsupportedPlatformError `ERR_XMC_UNSUPPORTED_PLATFORM`, NativeLibraryError `ERR_XMC_NATIVE_LIBRARY`
 */
export async function punchHole(fd: number, offset: number, length: number): Promise<void> {
  integer('fd', fd, 0, 2 ** 31 - 1)
  integer('offset', offset, 0, Number.MAX_SAFE_INTEGER)
  integer('length', length, 1, Number.MAX_SAFE_INTEGER - offset)
  const mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE
  const errno = await systemCalls().fallocateAsync(fd, mode, offset, length)
  if (errno === 0) return
  throw new SystemCallError('fallocate', errno, `a hole of ${length} bytes at ${offset} of a file`)
}

function integer(field: string, value: number, least: number, most: number): void {
  if (Number.isSafeInteger(value) && value >= least && value <= most) return
  throw new InvalidArgumentError(field, `an integer from ${least} to ${most}`, value)
}
