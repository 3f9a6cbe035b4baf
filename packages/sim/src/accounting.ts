import {
  type DomainId,
  isPageList,
  type Pages,
  type TargetWindow,
  type WindowPage,
} from '@xmc/interface'
import { describeFailedPage, type FailedPageReport } from './failed-page.ts'
import type { FaultSite } from './faults.ts'
import type { GrantTables, PinnedGrantEntry } from './grant-table.ts'

/** A mapping that is live. */
export interface MappingReport {
  readonly kind: 'foreign' | 'grant'
  /** Name of the device that made it. */
  readonly device: string
  /** The domain that maps. */
  readonly mapper: DomainId
  /** The domain whose memory it is; it may be dead. */
  readonly domain: DomainId
  /** The frames or references of the request. */
  readonly pages: Pages<number>
  /** Where. */
  readonly window: TargetWindow
  readonly windowPage: WindowPage
  /** Pages of the request. */
  readonly pageCount: number
  /** Pages of it that are mapped, without those that failed. */
  readonly mappedPages: number
  readonly writable: boolean
  /**
   * True for a grant whose place in the window was given to another mapping before it was unmapped: it
   * keeps its pins, and only closing the device releases it.
   */
  readonly displaced: boolean
  /** Where it was made, when stacks are recorded. */
  readonly stack: string | undefined
}

/** An event channel that is open. */
export interface EventChannelReport {
  readonly domain: DomainId
  readonly port: number
  /** As `interdomain with domain 1 port 3`. */
  readonly description: string
}

/** An ioreq server that exists. */
export interface IoreqServerReport {
  readonly domain: DomainId
  readonly id: number
  /** As `enabled, 2 ranges`. */
  readonly description: string
}

/** One call at a port, in the order in which the calls returned. */
export interface CallReport {
  readonly site: FaultSite
  /** Name of the device. */
  readonly device: string
  /** Whose memory; undefined where the call does not say. */
  readonly domain?: DomainId | undefined
  /** The frames or references; undefined where the call does not say. */
  readonly pages?: Pages<number> | undefined
  /** How many pages, or segments of a copy. */
  readonly pageCount: number
  readonly windowPage?: WindowPage | undefined
  readonly writable?: boolean | undefined
  /** 0 when the call returned, else the positive errno it threw with, `EIO` for an error without one. */
  readonly errno: number
  /** Pages or segments that failed in a call that returned. */
  readonly failedPages: number
}

/** How often a call site was reached. */
export interface CallCount {
  readonly calls: number
  /** Pages of all calls, or segments. */
  readonly pages: number
}

/** Sums over everything live. */
export interface Totals {
  readonly mappings: number
  readonly mappedPages: number
  /** Grant entries that are pinned, over all domains. */
  readonly pinnedGrants: number
  readonly eventChannels: number
  readonly ioreqServers: number
  /** Calls since the hypervisor was made, by site; a site that was never reached is absent. */
  readonly calls: { readonly [site in FaultSite]?: CallCount }
}

/** What the accounting asks of the hypervisor around it. */
export interface AccountingSources {
  readonly grantTables: GrantTables
  eventChannels(): Iterable<EventChannelReport>
  ioreqServers(): Iterable<IoreqServerReport>
  touchedPages(): Iterable<FailedPageReport>
}

/** What the accounting keeps besides counts. */
export interface AccountingOptions {
  /** Whether every mapping keeps the stack of the call that made it. Default false: it is slow. */
  readonly recordStacks?: boolean | undefined
  /** Whether every call at a port is kept in `log`. Default false. */
  readonly recordCalls?: boolean | undefined
}

/** What is live in one hypervisor, who made it, and what was called. */
export class Accounting {
  /** Calls at the ports, when `recordCalls` is on. Empty it with `log.length = 0`. */
  readonly log: CallReport[] = []
  readonly #sources: AccountingSources
  readonly #recordStacks: boolean
  readonly #recordCalls: boolean
  readonly #mappings = new Set<MappingReport>()
  readonly #counts = new Map<FaultSite, { calls: number; pages: number }>()

  constructor(sources: AccountingSources, options: AccountingOptions = {}) {
    this.#sources = sources
    this.#recordStacks = options.recordStacks ?? false
    this.#recordCalls = options.recordCalls ?? false
  }

  /** Every live mapping of every device, the oldest first. */
  mappings(): MappingReport[] {
    return [...this.#mappings]
  }

  /** Every grant entry that is pinned, with the number of pins of each kind. */
  pins(): PinnedGrantEntry[] {
    return [...this.#sources.grantTables.pinnedEntries()]
  }

  /** Every open event channel of every domain. */
  eventChannels(): EventChannelReport[] {
    return [...this.#sources.eventChannels()]
  }

  /** Every ioreq server of every domain. */
  ioreqServers(): IoreqServerReport[] {
    return [...this.#sources.ioreqServers()]
  }

  /**
   * Every page that failed to map and was stored to, since the hypervisor was made: those that a call
   * found, and those that are touched now. On real Xen there is no process left to ask.
   */
  touchedPages(): FailedPageReport[] {
    return [...this.#sources.touchedPages()]
  }

  /** Sums over everything live, and the number of calls so far. */
  totals(): Totals {
    let mappedPages = 0
    for (const mapping of this.#mappings) mappedPages += mapping.mappedPages
    const counts = [...this.#counts].map(([site, count]) => [site, { ...count }] as const)
    return {
      mappings: this.#mappings.size,
      mappedPages,
      pinnedGrants: this.pins().length,
      eventChannels: this.eventChannels().length,
      ioreqServers: this.ioreqServers().length,
      calls: Object.fromEntries(counts),
    }
  }

  /**
   * One line for everything that is still mapped, pinned, bound or registered, with who made it, and for
   * every failed page that was stored to; empty when nothing is. A test that expects nothing compares with `[]`, and a failure says what is left.
   */
  leftovers(): string[] {
    return [
      ...this.mappings().map(describeMapping),
      ...this.pins().map(describePin),
      ...this.eventChannels().map(
        ({ domain, port, description }) =>
          `event channel: port ${port} of domain ${domain}, ${description}`,
      ),
      ...this.ioreqServers().map(
        ({ domain, id, description }) => `ioreq server: ${id} of domain ${domain}, ${description}`,
      ),
      ...this.touchedPages().map(
        (page) =>
          `touched page: ${describeFailedPage(page)} by domain ${page.mapper} through ${page.device}`,
      ),
    ]
  }

  /** Notes a new mapping; returns what is to be given to `removed`. For devices. */
  added(mapping: Omit<MappingReport, 'stack' | 'displaced'>): MappingReport {
    // Field by field: spreading an object costs more than all the rest of this call.
    const report: MappingReport = {
      kind: mapping.kind,
      device: mapping.device,
      mapper: mapping.mapper,
      domain: mapping.domain,
      pages: copy(mapping.pages),
      window: mapping.window,
      windowPage: mapping.windowPage,
      pageCount: mapping.pageCount,
      mappedPages: mapping.mappedPages,
      writable: mapping.writable,
      displaced: false,
      stack: this.#stack(),
    }
    this.#mappings.add(report)
    return report
  }

  /** Notes that a mapping's place in its window was given away; returns its new report. For devices. */
  displaced(mapping: MappingReport): MappingReport {
    const report = { ...mapping, displaced: true }
    this.#mappings.delete(mapping)
    this.#mappings.add(report)
    return report
  }

  /** Notes that a mapping is gone. For devices. */
  removed(mapping: MappingReport): void {
    this.#mappings.delete(mapping)
  }

  /** Counts a call. For call sites. */
  count(site: FaultSite, pages: number): void {
    const count = this.#counts.get(site)
    if (count === undefined) this.#counts.set(site, { calls: 1, pages })
    else {
      count.calls++
      count.pages += pages
    }
  }

  /** Logs a call that returned or threw. For devices. */
  called(
    call: Omit<CallReport, 'errno' | 'failedPages'>,
    errno: number,
    failedPages: number,
  ): void {
    if (!this.#recordCalls) return
    const report = { ...call, errno, failedPages }
    this.log.push(call.pages === undefined ? report : { ...report, pages: copy(call.pages) })
  }

  #stack(): string | undefined {
    if (!this.#recordStacks) return undefined
    const holder: { stack?: string } = {}
    const { stackTraceLimit } = Error
    Error.stackTraceLimit = STACK_FRAMES
    Error.captureStackTrace(holder)
    Error.stackTraceLimit = stackTraceLimit
    // Without the header, this method and `added`.
    return holder.stack?.split('\n').slice(3).join('\n')
  }
}

/** Frames of a recorded stack: a cache takes eight of them, and the program that uses it comes after. */
const STACK_FRAMES = 40

function describeMapping(mapping: MappingReport): string {
  const { kind, domain, mapper, device, pageCount, mappedPages, windowPage, pages } = mapping
  const what = kind === 'foreign' ? 'frames' : 'references'
  const first = isPageList(pages) ? pages[0] : pages.first
  const list = isPageList(pages) && pages.length > 1 ? ' and others' : ''
  const start = `0x${(first ?? 0).toString(16)}${list}`
  const missing = mappedPages === pageCount ? '' : ` (${mappedPages} mapped)`
  const access = mapping.writable ? 'writable' : 'read-only'
  const place = mapping.displaced ? 'displaced from its place' : `at window page ${windowPage}`
  const stack = mapping.stack === undefined ? '' : `\n${mapping.stack}`
  return `${kind} mapping: ${pageCount} ${what}${missing} of domain ${domain} from ${start}, ${access}, ${place}, by domain ${mapper} through ${device}${stack}`
}

function describePin(pin: PinnedGrantEntry): string {
  const { hostRead, hostWrite, deviceRead, deviceWrite } = pin.pins
  const reads = hostRead + deviceRead
  const writes = hostWrite + deviceWrite
  return `pinned grant: reference ${pin.reference} of domain ${pin.granter}, ${reads} read-only and ${writes} writable, by domain ${pin.grantee}`
}

/** Callers may use their list again. */
function copy(pages: Pages<number>): Pages<number> {
  return isPageList(pages) ? [...pages] : { first: pages.first, count: pages.count }
}
