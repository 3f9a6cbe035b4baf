import { constants } from 'node:os'
import { PagedOutError } from '@xmc/core'
import {
  countPages,
  type DomainId,
  errnoOf,
  type GrantCopySegment,
  type GrantMapRequest,
  type GrantReference,
  grantStatusMeaning,
  isPageList,
  MAX_MAPPINGS_PER_REFERENCE,
  type Pages,
  type XmcError,
} from '@xmc/interface'
import { GrantLimitError, GrantMapError, GrantUnmapError } from '../errors.ts'
import type { GrantTable } from '../grant-table.ts'
import type { MappingLedger } from './mapping-ledger.ts'
import { referencesOf } from './references.ts'

/** One map that a provider refused. */
export interface Refusal {
  readonly table: GrantTable
  readonly ledger: MappingLedger
  readonly request: GrantMapRequest
  /** What the provider threw. */
  readonly cause: unknown
}

/** References probed in one call, so that a bad one near the start ends the search early. */
const PROBES_PER_CALL = 256

/** The most references probed for one failure, so that a guest cannot make a failure expensive. */
const MAX_PROBES = 4096

/**
 * Finds out why a map was refused and returns the error that says so. gntdev answers `EINVAL` for
 * everything, so the answer comes from what this side counts and from reading a byte of each
 * reference by grant copy. Nothing is ever written to the guest for it.
 *
 * @throws GrantUnmapError `ERR_XMC_GRANT_UNMAP`: a mapping for reading that was made to find out may still be there
 */
export function explainRefusal(refusal: Refusal): XmcError {
  const { request, cause } = refusal
  const { domain, references, writable } = request
  const errno = errnoOf(cause)
  if (errno === constants.errno.EAGAIN) {
    // A probe would make the kernel wait for the page, up to half a minute.
    const [first = 0] = referencesOf(references, 1)
    return new PagedOutError(`grants of domain ${domain}`, first)
  }
  if (errno !== constants.errno.EINVAL) {
    return new GrantMapError({
      domain,
      references,
      writable,
      cause,
      reason: REASONS.get(errno ?? 0) ?? 'the provider refused the call, see the cause',
      shortage: errno !== undefined && SHORTAGES.has(errno) ? 'passing' : undefined,
    })
  }
  // Counting goes first: a copy pins its page too, so a full counter would look like a bad grant.
  return overLimit(refusal) ?? probed(refusal)
}

function overLimit({ ledger, request, cause }: Refusal): GrantLimitError | undefined {
  const { domain, references, writable } = request
  const over = ledger.overLimit(references, writable, MAX_MAPPINGS_PER_REFERENCE)
  if (over === undefined) return undefined
  const { reference, count, requested } = over
  const limit = MAX_MAPPINGS_PER_REFERENCE
  return new GrantLimitError(domain, 'mappings-per-reference', limit, count, reference, {
    cause,
    shortage: requested > limit ? 'lasting' : 'passing',
  })
}

function probed(refusal: Refusal): GrantMapError {
  const { table, request, cause } = refusal
  const { domain, references, writable } = request
  const known = { domain, references, writable, cause }
  const distinct = distinctOf(references)
  for (let probes = 0; probes < MAX_PROBES; probes += PROBES_PER_CALL) {
    const batch = take(distinct, PROBES_PER_CALL)
    if (batch.length === 0) break
    let statuses: Int16Array
    try {
      statuses = table.copy(batch.map((reference) => readOneByte(domain, reference)))
    } catch (probeError) {
      return new GrantMapError({
        ...known,
        reason: `${likelyCauses(writable, false)}; the references could not be probed by grant copy`,
        probeError,
      })
    }
    const index = statuses.findIndex((status) => status !== 0)
    const failedReference = batch[index]
    const status = statuses[index]
    if (failedReference !== undefined && status !== undefined) {
      return new GrantMapError({
        ...known,
        failedReference,
        status,
        reason: grantStatusMeaning(status),
      })
    }
  }
  if (take(distinct, 1).length > 0) {
    const reason = `${likelyCauses(writable, false)}; the first ${MAX_PROBES} references can be read`
    return new GrantMapError({ ...known, reason })
  }
  return new GrantMapError({
    ...known,
    reason: likelyCauses(writable, true),
    shortage: isShortage(refusal) ? 'passing' : undefined,
  })
}

/**
 * Whether references that can all be read were refused for want of room, not of access: then a mapping for
 * reading is refused, too. Nothing is tried where this side has mapped nothing, and could make no room.
 */
function isShortage({ table, ledger, request }: Refusal): boolean {
  if (!request.writable) return true
  if (ledger.isEmpty) return false
  try {
    table.map({ ...request, writable: false })
  } catch (error) {
    return errnoOf(error) === constants.errno.EINVAL
  }
  const { domain, window, windowPage, references } = request
  const pageCount = countPages(references)
  try {
    table.unmap(window, windowPage, pageCount)
  } catch (cause) {
    throw new GrantUnmapError(domain, windowPage, pageCount, references, cause)
  }
  return false
}

function distinctOf(references: Pages<GrantReference>): Iterator<GrantReference> {
  return isPageList(references) ? new Set(references).values() : referencesOf(references)
}

/** The next values of an iterator, at most `count` of them. */
function take<Value>(values: Iterator<Value>, count: number): Value[] {
  const taken: Value[] = []
  while (taken.length < count) {
    const next = values.next()
    if (next.done === true) break
    taken.push(next.value)
  }
  return taken
}

function likelyCauses(writable: boolean, readable: boolean): string {
  const causes = [
    ...(readable ? [] : ['a reference is not granted to this domain']),
    ...(writable ? ['a grant is read-only'] : []),
    `a reference has ${MAX_MAPPINGS_PER_REFERENCE} mappings, others' included`,
    "this domain's map-track table is full",
  ]
  return `${readable ? 'every reference can be read, so likely ' : 'likely '}${causes.join(', or ')}`
}

function readOneByte(domain: DomainId, reference: GrantReference): GrantCopySegment {
  return { domain, reference, offset: 0, bytes: new Uint8Array(1), direction: 'from-grant' }
}

const REASONS: ReadonlyMap<number, string> = new Map([
  [
    constants.errno.ENOMEM,
    'the kernel has no memory for the mapping, or its limit of mapped grants is reached',
  ],
  [constants.errno.ENOSPC, 'a table of the kernel or of Xen has no room for the mapping'],
  [
    constants.errno.ENOTTY,
    'the grant device is closed to this process, as after xentoolcore_restrict_all',
  ],
])

/** What a map is refused with while the kernel has no memory, or no room in a table, for it. */
const SHORTAGES: ReadonlySet<number> = new Set([constants.errno.ENOMEM, constants.errno.ENOSPC])
