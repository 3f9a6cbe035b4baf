import assert from 'node:assert/strict'
import {
  type DomainId,
  type GrantCopySegment,
  type GrantMapRequest,
  type GrantReference,
  grantReference,
  type Pages,
} from '@xmc/interface'
import type { CapabilityName, ContractCase } from '../contract-case.ts'
import { inOrder } from '../internal/in-order.ts'
import { assertErrno } from '../internal/refusals.ts'
import { assertZeros, at, pageBytes, pattern } from '../internal/window-bytes.ts'
import type { GrantedPages, GrantOptions, GrantTableProvider } from './provider.ts'

/** A case of the contract of the grant table. */
export type GrantTableCase = ContractCase<GrantTableProvider>

/** Far outside every grant table. */
export const REFERENCE_OUTSIDE: GrantReference = grantReference(0xffff_fff0)

/** Defines a case. */
export function grantCase(
  id: string,
  title: string,
  run: (provider: GrantTableProvider) => Promise<void>,
  requires: readonly CapabilityName<GrantTableProvider>[] = [],
): GrantTableCase {
  return { id, title, requires, run }
}

/** Grants `count` pages that hold pattern `seed + index` at their start and their end. */
export async function grantMarked(
  provider: GrantTableProvider,
  seed: number,
  count: number,
  options?: GrantOptions,
): Promise<GrantedPages> {
  const pages = await provider.granter.grant(count, options)
  assert.equal(
    pages.references.length,
    count,
    'the fixture grants as many pages as it is asked for',
  )
  await markPages(pages, seed)
  return pages
}

/** Lets the granter store pattern `seed + index` at the start and the end of each page. */
export async function markPages(pages: GrantedPages, seed: number): Promise<void> {
  await inOrder(pages.references, async (_, index) => {
    await pages.write(index, 0, pattern(seed + index))
    await pages.write(index, 4080, pattern(seed + index))
  })
}

/** The reference of page `index`. */
export function referenceAt(pages: GrantedPages, index: number): GrantReference {
  const reference = pages.references[index]
  assert.ok(reference !== undefined, `the fixture granted no page ${index}`)
  return reference
}

/** How a step differs from a writable map of the granter's references. */
export interface MapOptions {
  readonly writable?: boolean
  readonly domain?: DomainId
}

/** A map request for `references` at `page`. */
export function mapRequest(
  provider: GrantTableProvider,
  page: number,
  references: Pages<GrantReference>,
  options: MapOptions = {},
): GrantMapRequest {
  return {
    domain: options.domain ?? provider.domain,
    window: provider.window,
    windowPage: at(page),
    references,
    writable: options.writable ?? true,
  }
}

/** Maps `references` at `page`. */
export function map(
  provider: GrantTableProvider,
  page: number,
  references: Pages<GrantReference>,
  options: MapOptions = {},
): void {
  provider.table.map(mapRequest(provider, page, references, options))
}

/** Unmaps the mapping of `count` pages at `page`. */
export function unmap(provider: GrantTableProvider, page: number, count: number): void {
  provider.table.unmap(provider.window, at(page), count)
}

/** Copies between `bytes` and a granted page, and returns the status. */
export function copyOne(
  provider: GrantTableProvider,
  direction: GrantCopySegment['direction'],
  reference: GrantReference,
  offset: number,
  bytes: Uint8Array,
  domain: DomainId = provider.domain,
): number | undefined {
  const statuses = provider.table.copy([{ domain, reference, offset, bytes, direction }])
  assert.equal(statuses.length, 1, 'one status for each segment')
  return statuses[0]
}

/**
 * Asserts that a map of `references` is `EINVAL`, in both forms, and leaves pages of zeros that
 * alias nothing.
 */
export async function assertRefused(
  provider: GrantTableProvider,
  references: readonly GrantReference[],
  options: MapOptions = {},
): Promise<void> {
  const request = mapRequest(provider, 4, references, options)
  const forms = [() => provider.table.map(request), () => provider.table.mapAsync(request)]
  await inOrder(forms, async (form) => {
    for (const index of references.keys()) pageBytes(provider.window, 4 + index).fill(0xee)
    await assertErrno(form, 'EINVAL')
    assertZeros(provider.window, 4, references.length, 'the target')
  })
}
