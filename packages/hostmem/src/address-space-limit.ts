import { InvalidArgumentError, SystemCallError, XmcError } from '@xmc/interface'
import { RLIMIT_AS, systemCalls } from './internal/system-calls.ts'

/** The most bytes a mapcache counts with, by the bits of the host's words. */
export const MCACHE_MAX_SIZE: Readonly<Record<32 | 64, number>> = { 32: 2 ** 31, 64: 2 ** 35 }

/** Bytes of address space left to everything that is not the mapcache: 80 MiB. */
export const NON_MCACHE_MEMORY_SIZE: number = 80 * 2 ** 20

/** Binary logarithm of the bytes of a foreign bucket, by the bits of the host's words. */
export const FOREIGN_BUCKET_SHIFT: Readonly<Record<32 | 64, number>> = { 32: 16, 64: 20 }

/** The value of a limit that does not limit: `RLIM_INFINITY` of a 64-bit host, 2^64 − 1. */
export const UNLIMITED: bigint = 2n ** 64n - 1n

/** A soft and a hard limit, in bytes; {@link UNLIMITED} where there is none. */
export interface AddressSpaceLimits {
  /** What the kernel enforces. */
  readonly soft: bigint
  /** How far an unprivileged process may raise `soft`. */
  readonly hard: bigint
}

/** What {@link planAddressSpace} goes by. */
export interface AddressSpaceSituation extends AddressSpaceLimits {
  /** Effective user id; 0 may raise the hard limit. */
  readonly uid: number
  /** Bits of the host's words. */
  readonly hostBits: 32 | 64
}

/** How much address space a mapcache may count with, and the limits that give it. */
export interface AddressSpacePlan {
  /** Bytes for the mapcache: at least 1, at most {@link MCACHE_MAX_SIZE}. */
  readonly maximumBytes: number
  /** Binary logarithm of the bytes of a foreign bucket. */
  readonly foreignBucketShift: number
  /** The limits to set. */
  readonly newLimits: AddressSpaceLimits
  /** What to tell the user: present when the hard limit stays finite. */
  readonly warning?: string
}

/**
 * Works out the limits and the size as the original does when it starts: root lifts
 * both limits; anybody else raises the soft limit to the hard one, and a finite hard limit leaves
 * {@link NON_MCACHE_MEMORY_SIZE} to the rest of the process. Calls nothing.
 *
 * @throws InvalidArgumentError `ERR_XMC_ARGUMENT`
 * @throws AddressSpaceLimitError `ERR_XMC_ADDRESS_SPACE_LIMIT` when the hard limit leaves nothing,
 * where the original's subtraction wraps around
 */
export function planAddressSpace(situation: AddressSpaceSituation): AddressSpacePlan {
  const { uid, soft, hard, hostBits } = situation
  if (!Number.isSafeInteger(uid) || uid < 0) {
    throw new InvalidArgumentError('uid', 'an integer from 0', uid)
  }
  if (hostBits !== 32 && hostBits !== 64) {
    throw new InvalidArgumentError('hostBits', '32 or 64', hostBits)
  }
  checkLimit('hard', hard, UNLIMITED)
  checkLimit('soft', soft, hard)

  const largest = MCACHE_MAX_SIZE[hostBits]
  const foreignBucketShift = FOREIGN_BUCKET_SHIFT[hostBits]
  if (uid === 0) {
    const newLimits = { soft: UNLIMITED, hard: UNLIMITED }
    return { maximumBytes: largest, foreignBucketShift, newLimits }
  }
  const newLimits = { soft: hard, hard }
  if (hard === UNLIMITED) return { maximumBytes: largest, foreignBucketShift, newLimits }
  const rest = hard - BigInt(NON_MCACHE_MEMORY_SIZE)
  if (rest <= 0n) throw new AddressSpaceLimitError(hard)
  const maximumBytes = rest < BigInt(largest) ? Number(rest) : largest
  const warning =
    `the address space of this process is limited to ${hard} bytes (RLIMIT_AS), ` +
    `of which ${maximumBytes} serve the mapcache: raise the hard limit for more`
  return { maximumBytes, foreignBucketShift, newLimits, warning }
}

/**
 * Raises this process's limit of address space (RLIMIT_AS) as {@link planAddressSpace} says, and
 * returns what it said. It holds for the whole process and for the children it starts later.
 *
 * @throws UnsupportedPlatformError `ERR_XMC_UNSUPPORTED_PLATFORM`
 * @throws AddressSpaceLimitError `ERR_XMC_ADDRESS_SPACE_LIMIT` when the hard limit is too small; nothing is changed
 * @throws SystemCallError `ERR_XMC_SYSTEM_CALL` when the kernel refuses: `EPERM` for a root without CAP_SYS_RESOURCE
 */
export function raiseAddressSpaceLimit(): AddressSpacePlan {
  const limits = readAddressSpaceLimits()
  const uid = process.geteuid?.() ?? 0
  const plan = planAddressSpace({ ...limits, uid, hostBits: 64 })
  const { soft, hard } = plan.newLimits
  if (soft === limits.soft && hard === limits.hard) return plan
  const calls = systemCalls()
  if (calls.setrlimit(RLIMIT_AS, BigUint64Array.of(soft, hard)) !== 0) {
    throw new SystemCallError(
      'setrlimit',
      calls.errno(),
      `RLIMIT_AS cannot be set to ${soft} (soft) and ${hard} (hard) from ${limits.soft} and ${limits.hard}: ` +
        'start the process with a higher limit, or give it CAP_SYS_RESOURCE',
    )
  }
  return plan
}

/**
 * Reads this process's limits of address space (RLIMIT_AS).
 *
 * @throws UnsupportedPlatformError `ERR_XMC_UNSUPPORTED_PLATFORM`
 * @throws SystemCallError `ERR_XMC_SYSTEM_CALL` when the kernel refuses
 */
export function readAddressSpaceLimits(): AddressSpaceLimits {
  const calls = systemCalls()
  const limits = new BigUint64Array(2)
  if (calls.getrlimit(RLIMIT_AS, limits) !== 0) {
    throw new SystemCallError('getrlimit', calls.errno(), 'RLIMIT_AS cannot be read')
  }
  const [soft = UNLIMITED, hard = UNLIMITED] = limits
  return { soft, hard }
}

/** `ERR_XMC_ADDRESS_SPACE_LIMIT`: the hard limit of address space leaves nothing for a mapcache. */
export class AddressSpaceLimitError extends XmcError {
  /** The hard limit, in bytes. */
  readonly hard: bigint
  /** Bytes that are kept from the mapcache; the limit must be greater. */
  readonly reservedBytes: number

  constructor(hard: bigint) {
    super(
      'ERR_XMC_ADDRESS_SPACE_LIMIT',
      `the hard limit of address space (RLIMIT_AS) is ${hard} bytes, of which ${NON_MCACHE_MEMORY_SIZE} ` +
        'are kept for the rest of the process: nothing is left for a mapcache, raise the limit',
    )
    this.hard = hard
    this.reservedBytes = NON_MCACHE_MEMORY_SIZE
  }
}

function checkLimit(field: string, value: bigint, largest: bigint): void {
  if (typeof value !== 'bigint' || value < 0n || value > largest) {
    throw new InvalidArgumentError(field, `a bigint from 0 to ${largest}`, value)
  }
}
