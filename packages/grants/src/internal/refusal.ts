import { constants } from 'node:os'
import { errnoOf, PagedOutError, type Pages, type XmcError } from '@xmc/core'
import { GrantLimitError, GrantMapError } from '../errors.ts'
import type { DomainId, GrantReference } from '../grant-reference.ts'
import { grantStatusMeaning } from '../grant-status.ts'
import {
  type GrantCopySegment,
  type GrantTable,
  MAX_MAPPINGS_PER_REFERENCE,
} from '../grant-table.ts'
import type { MappingLedger } from './mapping-ledger.ts'
import { referencesOf } from './references.ts'

/** One map that a provider refused. */
export interface Refusal {
  readonly table: GrantTable
  readonly ledger: MappingLedger
  readonly domain: DomainId
  readonly references: Pages<GrantReference>
  readonly writable: boolean
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
 */
export function explainRefusal(refusal: Refusal): XmcError {
  const { domain, references, writable, cause } = refusal
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
    })
  }
  // Counting goes first: a copy pins its page too, so a full counter would look like a bad grant.
  return overLimit(refusal) ?? probed(refusal)
}

function overLimit(refusal: Refusal): GrantLimitError | undefined {
  const { domain, references, writable, cause } = refusal
  for (const [reference, count] of refusal.ledger.countWith(references, writable)) {
    if (count > MAX_MAPPINGS_PER_REFERENCE) {
      return new GrantLimitError(
        domain,
        'mappings-per-reference',
        MAX_MAPPINGS_PER_REFERENCE,
        count,
        reference,
        { cause },
      )
    }
  }
  return undefined
}

function probed(refusal: Refusal): GrantMapError {
  const { table, domain, references, writable, cause } = refusal
  const distinct = [...new Set(referencesOf(references))]
  const known = { domain, references, writable, cause }
  for (let start = 0; start < distinct.length && start < MAX_PROBES; start += PROBES_PER_CALL) {
    const batch = distinct.slice(start, start + PROBES_PER_CALL)
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
  return new GrantMapError({
    ...known,
    reason:
      distinct.length > MAX_PROBES
        ? `${likelyCauses(writable, false)}; the first ${MAX_PROBES} references can be read`
        : likelyCauses(writable, true),
  })
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
  [
    constants.errno.ENOTTY,
    'the grant device is closed to this process, as after xentoolcore_restrict_all',
  ],
])
