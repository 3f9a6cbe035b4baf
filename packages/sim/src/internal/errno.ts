import { constants } from 'node:os'
import { SystemCallError } from '@xmc/interface'

/** The errors that the simulated hypercalls give. */
type ErrnoName = 'EEXIST' | 'EINVAL' | 'ENOENT' | 'ENOMEM' | 'ENOSPC' | 'ESRCH'

/** The error of a hypercall that Xen refuses with this errno. */
export function refused(call: string, errno: ErrnoName, detail: string): SystemCallError {
  return new SystemCallError(call, constants.errno[errno], detail)
}
