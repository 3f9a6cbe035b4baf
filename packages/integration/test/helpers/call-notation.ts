import { type Pages, SystemCallError } from '@xmc/interface'
import type { CallReport, MappingReport } from '@xmc/sim'

/**
 * A call at a port in the short form of the scenarios: `fm(0x700,256)` maps frames, `um(256)` unmaps
 * pages, `gm[7,8]r` and `gm[7]rw` map references, `gu(2)` unmaps them, `gc(1)` copies. Pages that failed
 * and the errno of a refusal follow.
 */
export function describeCall(call: CallReport): string {
  const { pages = [] } = call
  const failed = call.failedPages > 0 && call.errno === 0 ? ` ${call.failedPages} bad` : ''
  const refused = call.errno === 0 ? '' : ` ${errnoName(call.errno)}`
  switch (call.site) {
    case 'foreign.map':
      return `fm${describeFrames(pages)}${call.writable === true ? '' : 'r'}${failed}${refused}`
    case 'foreign.unmap':
      return `um(${call.pageCount})${refused}`
    case 'grant.map':
      return `gm${describeReferences(pages)}${access(call.writable === true)}${refused}`
    case 'grant.unmap':
      return `gu(${call.pageCount})${refused}`
    case 'grant.copy':
      return `gc(${call.pageCount})${failed}${refused}`
    default:
      return `${call.site}(${call.pageCount})${refused}`
  }
}

/** A live mapping in the same form, with the pages that are mapped where others failed. */
export function describeMapping(mapping: MappingReport): string {
  const { pages, pageCount, mappedPages, writable } = mapping
  const partly = mappedPages === pageCount ? '' : ` ${mappedPages} mapped`
  return mapping.kind === 'foreign'
    ? `${describeFrames(pages)}${writable ? '' : 'r'}${partly}`
    : `${describeReferences(pages)}${access(writable)}`
}

function describeFrames(pages: Pages<number>): string {
  return 'count' in pages
    ? `(0x${pages.first.toString(16)},${pages.count})`
    : `(${pages.map((page) => `0x${page.toString(16)}`).join(' ')})`
}

function describeReferences(pages: Pages<number>): string {
  const list =
    'count' in pages ? Array.from({ length: pages.count }, (_, nth) => pages.first + nth) : pages
  return `[${list.join(',')}]`
}

function access(writable: boolean): string {
  return writable ? 'rw' : 'r'
}

function errnoName(errno: number): string {
  return new SystemCallError('', errno, '').errnoName
}
