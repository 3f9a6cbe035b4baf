import { constants } from 'node:os'
import { checkOptions, InvalidArgumentError, type OptionNames } from '@xmc/interface'
import { uniformFloat64 } from 'pure-rand/distribution/uniformFloat64'
import { uniformInt } from 'pure-rand/distribution/uniformInt'
import { xoroshiro128plus } from 'pure-rand/generator/xoroshiro128plus'
import type { RandomGenerator } from 'pure-rand/types/RandomGenerator'

/** The call sites that can be told to fail, by name. */
export const FAULT_SITES = [
  'foreign.map',
  'foreign.unmap',
  'grant.map',
  'grant.unmap',
  'grant.copy',
  'grant.notify',
  'window.map',
  'window.reset',
  'domain.populate',
  'event.send',
  'event.bind',
  'ioreq.create',
  'interrupt.set',
] as const

/** Name of a call site that can be told to fail. */
export type FaultSite = (typeof FAULT_SITES)[number]

/** An errno by the name that the C library gives it. */
export type ErrnoName = keyof typeof constants.errno

/** Which pages of a request fail, where not the whole call does. */
export type FaultPages =
  | 'all'
  | readonly number[]
  | {
      /** Start of the random sequence, 32 bits. */
      readonly seed: number
      /** Probability, 0 to 1, that a page fails. */
      readonly probability: number
    }

/** One fault to inject. */
export interface FaultOptions {
  /** Where. */
  readonly site: FaultSite
  /** The first call that fails, counted from 1 for the next call. Default 1. */
  readonly nth?: number | undefined
  /** How many calls fail from then on; `Infinity` for all. Default 1. */
  readonly count?: number | undefined
  /** With which errno, by name or as a positive number. Default `EINVAL`. */
  readonly errno?: ErrnoName | number | undefined
  /**
   * Without it the call as a whole fails. With it, single pages do: by index in the request, `all` of
   * them, or drawn from a seed. A foreign map then reports the errno for these pages, a grant copy the
   * status for these segments; a grant map fails as a whole, as it does for one bad reference.
   */
  readonly pages?: FaultPages | undefined
  /** GNTST status of the failing segments of a grant copy, −1 to −13. Default −1 (general error). */
  readonly status?: number | undefined
}

/** Faults drawn at random, the same for the same seed and the same sequence of calls. */
export interface RandomFaultOptions {
  /** Start of the random sequence, 32 bits. Default: the hypervisor's seed. */
  readonly seed?: number | undefined
  /** Probability, 0 to 1, that a call at one of the sites fails. */
  readonly probability: number
  /** Where. Default: the calls at both ports. */
  readonly sites?: readonly FaultSite[] | undefined
  /** The errnos to choose from. Default `EINVAL`, `ENOMEM`, `EAGAIN`. */
  readonly errnos?: readonly (ErrnoName | number)[] | undefined
}

/** A rule that injects faults, as `fail` and `random` return it. */
export interface FaultRule {
  /** Number of the rule, from 1. */
  readonly id: number
  /** The seed it draws from, if it draws. */
  readonly seed: number | undefined
  /** Faults that it has injected. */
  readonly injected: number
  /** Ends the rule. */
  cancel(): void
}

/** A fault that was injected. */
export interface InjectedFault {
  /** Number of the rule. */
  readonly rule: number
  /** Where. */
  readonly site: FaultSite
  /** Which call at that site, from 1. */
  readonly call: number
  /** Positive errno. */
  readonly errno: number
  /** GNTST status for the segments of a grant copy. */
  readonly status: number
  /** Indices of the pages that failed; undefined when the whole call did. */
  readonly pages: readonly number[] | undefined
}

interface Rule {
  readonly report: { readonly id: number; readonly seed: number | undefined; injected: number }
  /** Called once for each call at `site`; returns the fault, or undefined. */
  readonly draw: (
    site: FaultSite,
    pageCount: number,
  ) => Omit<InjectedFault, 'rule' | 'site' | 'call'> | undefined
}

const PORT_SITES: readonly FaultSite[] = [
  'foreign.map',
  'foreign.unmap',
  'grant.map',
  'grant.unmap',
  'grant.copy',
]

/** Sites where a fault can hit single pages of a request. */
const PAGE_SITES: ReadonlySet<FaultSite> = new Set(['foreign.map', 'grant.map', 'grant.copy'])

const GENERAL_ERROR = -1
/** `GNTST_no_space`, the last of the public header. */
const LAST_STATUS = -13

const FAULT_OPTIONS: OptionNames<FaultOptions> = {
  site: true,
  nth: true,
  count: true,
  errno: true,
  pages: true,
  status: true,
}

const RANDOM_OPTIONS: OptionNames<RandomFaultOptions> = {
  seed: true,
  probability: true,
  sites: true,
  errnos: true,
}

/**
 * Fault injection: tells call sites of one hypervisor to fail.
 *
 * Every call at a site asks each rule in the order of their making, so that the sequence of a seeded
 * rule does not depend on the others; the first fault found is injected.
 */
export class Faults {
  /** The seed that `random` takes when it is given none. */
  readonly seed: number
  /** The faults injected since the last `clear`, in order. */
  readonly log: InjectedFault[] = []
  readonly #calls = new Map<FaultSite, number>()
  #rules: Rule[] = []
  #lastId = 0

  constructor(seed: number) {
    this.seed = seed
  }

  /**
   * Makes the `nth` call from now at a site fail, and the `count - 1` that follow.
   *
   * @throws InvalidArgumentError `ERR_XMC_ARGUMENT` for an unknown site or errno, numbers out of range, or
   * `pages` or `status` at a site that has none
   */
  fail(options: FaultOptions): FaultRule {
    checkOptions('fail', options, FAULT_OPTIONS)
    const site = faultSite(options.site)
    const nth = atLeastOne('nth', options.nth ?? 1)
    const count = options.count === Infinity ? Infinity : atLeastOne('count', options.count ?? 1)
    const errno = errnoOf(options.errno ?? 'EINVAL')
    const status = statusOf(site, options.status)
    if (options.pages !== undefined && !PAGE_SITES.has(site)) {
      throw new InvalidArgumentError(
        'pages',
        `a site with pages (${[...PAGE_SITES].join(', ')})`,
        site,
      )
    }
    const choose = pageChooser(options.pages)
    let calls = 0
    return this.#add(seedOf(options.pages), (at, pageCount) => {
      if (at !== site || ++calls < nth || calls >= nth + count) return undefined
      const pages = choose(pageCount)
      return pages?.length === 0 ? undefined : { errno, status, pages }
    })
  }

  /**
   * Makes calls at the given sites fail at random. Where single pages can fail, half of the faults
   * hit the whole call and half hit each page with probability 1/2, at least one.
   *
   * @throws InvalidArgumentError `ERR_XMC_ARGUMENT` for an unknown site or errno, or numbers out of range
   */
  random(options: RandomFaultOptions): FaultRule {
    checkOptions('random', options, RANDOM_OPTIONS)
    const sites = new Set((options.sites ?? PORT_SITES).map(faultSite))
    const errnos = (options.errnos ?? ['EINVAL', 'ENOMEM', 'EAGAIN']).map(errnoOf)
    if (errnos.length === 0) throw new InvalidArgumentError('errnos', 'at least one', 'none')
    const probability = probabilityOf(options.probability)
    const seed = seed32(options.seed ?? this.seed)
    const generator = xoroshiro128plus(seed)
    return this.#add(seed, (site, pageCount) => {
      if (!sites.has(site) || uniformFloat64(generator) >= probability) return undefined
      const errno = errnos[uniformInt(generator, 0, errnos.length - 1)] ?? constants.errno.EINVAL
      const partly = PAGE_SITES.has(site) && pageCount > 0 && uniformInt(generator, 0, 1) === 1
      const pages = partly ? somePages(generator, pageCount) : undefined
      return { errno, status: GENERAL_ERROR, pages }
    })
  }

  /** Ends all rules and empties the log; the counts of calls go on. */
  clear(): void {
    this.#rules = []
    this.log.length = 0
  }

  /** Number of calls at `site` so far. */
  calls(site: FaultSite): number {
    return this.#calls.get(site) ?? 0
  }

  /**
   * Counts a call at `site` and returns the fault that it is to report, if any. For the simulator's
   * own call sites.
   */
  next(site: FaultSite, pageCount = 0): InjectedFault | undefined {
    const call = this.calls(site) + 1
    this.#calls.set(site, call)
    let injected: InjectedFault | undefined
    for (const rule of this.#rules) {
      const drawn = rule.draw(site, pageCount)
      if (drawn === undefined || injected !== undefined) continue
      rule.report.injected++
      injected = { rule: rule.report.id, site, call, ...drawn }
    }
    if (injected !== undefined) this.log.push(injected)
    return injected
  }

  #add(seed: number | undefined, draw: Rule['draw']): FaultRule {
    const report = { id: ++this.#lastId, seed, injected: 0 }
    const rule: Rule = { report, draw }
    this.#rules.push(rule)
    return Object.assign(report, {
      cancel: (): void => {
        this.#rules = this.#rules.filter((other) => other !== rule)
      },
    })
  }
}

/**
 * The positive number of an errno that is given by name or number.
 *
 * @throws InvalidArgumentError `ERR_XMC_ARGUMENT`
 */
function errnoOf(errno: ErrnoName | number): number {
  const value = typeof errno === 'number' ? errno : constants.errno[errno]
  if (Number.isInteger(value) && value > 0 && value < 4096) return value
  throw new InvalidArgumentError('errno', 'a name as "ENOMEM", or a number from 1 to 4095', errno)
}

/**
 * Checks that `value` can be a seed: an integer from −2^31 to 2^32 − 1; returns it as a 32-bit integer.
 *
 * @throws InvalidArgumentError `ERR_XMC_ARGUMENT`
 */
export function seed32(value: number): number {
  if (Number.isInteger(value) && value >= -(2 ** 31) && value < 2 ** 32) return value | 0
  throw new InvalidArgumentError('seed', 'a 32-bit integer', value)
}

/** Checks the status that failing segments of a grant copy are to get: a success cannot be injected. */
function statusOf(site: FaultSite, status: number | undefined): number {
  if (status === undefined) return GENERAL_ERROR
  if (site !== 'grant.copy') {
    throw new InvalidArgumentError('status', 'nothing at a site other than grant.copy', status)
  }
  if (Number.isInteger(status) && status <= GENERAL_ERROR && status >= LAST_STATUS) return status
  throw new InvalidArgumentError('status', 'an integer from -13 to -1', status)
}

function pageChooser(
  pages: FaultPages | undefined,
): (pageCount: number) => readonly number[] | undefined {
  if (pages === undefined) return () => undefined
  if (pages === 'all') return (pageCount) => Array.from({ length: pageCount }, (_, i) => i)
  if ('seed' in pages) {
    const generator = xoroshiro128plus(seed32(pages.seed))
    const probability = probabilityOf(pages.probability)
    return (pageCount) => {
      const draws = Array.from({ length: pageCount }, () => uniformFloat64(generator))
      return draws.flatMap((draw, i) => (draw < probability ? [i] : []))
    }
  }
  const index = pages.find((page) => !Number.isSafeInteger(page) || page < 0)
  if (index !== undefined) throw new InvalidArgumentError('pages', 'integers from 0', index)
  return (pageCount) => pages.filter((page) => page < pageCount)
}

function somePages(generator: RandomGenerator, pageCount: number): number[] {
  const sure = uniformInt(generator, 0, pageCount - 1)
  const draws = Array.from({ length: pageCount }, () => uniformInt(generator, 0, 1))
  return draws.flatMap((draw, i) => (draw === 1 || i === sure ? [i] : []))
}

function seedOf(pages: FaultPages | undefined): number | undefined {
  return typeof pages === 'object' && 'seed' in pages ? seed32(pages.seed) : undefined
}

function faultSite(site: FaultSite): FaultSite {
  if (FAULT_SITES.includes(site)) return site
  throw new InvalidArgumentError('site', FAULT_SITES.join(', '), site)
}

function atLeastOne(field: string, value: number): number {
  if (Number.isSafeInteger(value) && value >= 1) return value
  throw new InvalidArgumentError(field, 'an integer from 1', value)
}

function probabilityOf(value: number): number {
  if (value >= 0 && value <= 1) return value
  throw new InvalidArgumentError('probability', 'a number from 0 to 1', value)
}
