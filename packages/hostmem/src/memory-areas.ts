import { readFileSync } from 'node:fs'
import {
  checkOptions,
  InvalidArgumentError,
  MemoryAreasError,
  type WindowAreas,
} from '@xmc/interface'

/** What the kernel allows where it does not say: Linux's default of vm.max_map_count. */
const USUAL_MEMORY_AREA_LIMIT = 65_530

/** Part of the kernel's limit that all windows of a process may take; the rest is V8's and everybody else's. */
const BUDGET_SHARE = 3 / 4

/** Part of the kernel's limit that windows and others may take together, unless the budget is set. */
const CEILING_SHARE = 7 / 8

/** Part of the budget that one window may take unless told otherwise. */
const WINDOW_SHARE = 1 / 4

/** Part of the budget that may go into gaps of unlike kinds, which only make remapping quicker. */
const ALTERNATION_SHARE = 1 / 4

/** Milliseconds in which the process's areas are read from the kernel at most once: 1.6 µs for each. */
const MEASURING_INTERVAL = 1000

/** What a {@link MemoryAreaAccount} is made of. */
export interface MemoryAreaOptions {
  /** Areas that the kernel allows the process. By default, vm.max_map_count. */
  readonly limit?: number | undefined
  /** Areas that all windows may take. By default three quarters of `limit`. */
  readonly budget?: number | undefined
  /** Reads how many areas the process has. By default the lines of `/proc/self/maps`. */
  readonly measure?: (() => number) | undefined
}

/** Areas of a process now, and what is allowed. */
export interface MemoryAreaStatistics {
  /** Areas that the kernel allows the process. */
  readonly limit: number
  /** Areas that all windows may take. */
  readonly budget: number
  /** Areas that the windows take, each separate call to map counted as one, and each gap. */
  readonly used: number
  /** Areas of others when they were last looked at: Node, libraries, windows of other threads. */
  readonly others: number
  /** Areas of `used` that are gaps of unlike kinds beside each other. */
  readonly alternations: number
  /** Maps that were refused since they would have exceeded the budget, or their window's part of it. */
  readonly refusals: number
}

/** What one window takes; outlives the window as long as its mappings do. */
interface Counts {
  areas: number
  alternations: number
  mappedPages: number
}

/**
 * The memory areas of a process: how many its windows take, and how many they may. A process that has
 * as many as the kernel allows (vm.max_map_count) can map nothing more, and V8 ends it. So the windows
 * get a part, three quarters unless told otherwise, and of that each at most a quarter.
 *
 * One account serves all windows of a thread (`memoryAreas`). What other threads take is seen when
 * a window is opened.
 */
export class MemoryAreaAccount {
  /** Areas that the kernel allows the process. */
  readonly limit: number
  #budget: number | undefined
  #used = 0
  #alternations = 0
  #refusals = 0
  #others = 0
  #measuredAt = Number.NEGATIVE_INFINITY
  readonly #measure: () => number
  // A window that is lost must be collected, and a cache with it.
  readonly #shares = new Set<WeakRef<WindowShare>>()
  readonly #lost = new FinalizationRegistry<{ counts: Counts; share: WeakRef<WindowShare> }>(
    ({ counts, share }) => {
      this.#shares.delete(share)
      // Where something is mapped, the buffer stays, and its areas with it.
      if (counts.mappedPages === 0) this.#add(counts, -counts.areas, -counts.alternations)
    },
  )

  /** @throws InvalidArgumentError `ERR_XMC_ARGUMENT` for a limit or budget that is not a positive integer */
  constructor(options: MemoryAreaOptions = {}) {
    checkOptions('MemoryAreaAccount', options, { limit: true, budget: true, measure: true })
    const { limit = readLimit(), measure = countProcessAreas } = options
    checkCount('limit', limit)
    this.limit = limit
    this.#measure = measure
    if (options.budget !== undefined) this.budget = options.budget
  }

  /**
   * Areas that all windows may take: three quarters of `limit`, or less where others take more than an
   * eighth, unless it is set. What is above leaves less to V8.
   */
  get budget(): number {
    if (this.#budget !== undefined) return this.#budget
    const left = Math.floor(this.limit * CEILING_SHARE) - this.#others
    return Math.max(1, Math.min(Math.floor(this.limit * BUDGET_SHARE), left))
  }

  /** @throws InvalidArgumentError `ERR_XMC_ARGUMENT` for what is not a positive integer */
  set budget(areas: number) {
    checkCount('budget', areas)
    this.#budget = areas
  }

  /** What is used now. */
  get statistics(): MemoryAreaStatistics {
    return {
      limit: this.limit,
      budget: this.budget,
      used: this.#used,
      others: this.#others,
      alternations: this.#alternations,
      refusals: this.#refusals,
    }
  }

  /** Areas that windows may still take. */
  get room(): number {
    return Math.max(0, this.budget - this.#used)
  }

  /** Whether gaps of unlike kinds should be merged rather than kept. @internal */
  get isTight(): boolean {
    const { budget } = this
    return this.#alternations >= budget * ALTERNATION_SHARE || this.#used >= budget / 2
  }

  /** Opens the part of a window. @internal */
  open(limit: number | undefined): WindowShare {
    this.#look()
    const share = new WindowShare(this, limit)
    const reference = new WeakRef(share)
    this.#shares.add(reference)
    this.#lost.register(share, { counts: share.counts, share: reference })
    return share
  }

  /** The part that a window gets unless told otherwise. @internal */
  get windowLimit(): number {
    return Math.max(1, Math.floor(this.budget * WINDOW_SHARE))
  }

  /** Notes that a window takes more, or less. @internal */
  change(counts: Counts, areas: number, alternations: number): void {
    this.#add(counts, areas, alternations)
  }

  /** Counts a refusal. @internal */
  refused(): void {
    this.#refusals++
  }

  /** Whether windows other than this one take areas of mappings. @internal */
  isUsedBesides(share: WindowShare): boolean {
    return this.#used - this.#alternations > share.used
  }

  /** See `WindowAreas.reclaim`. @internal */
  reclaim(areas: number, asking: WindowShare): void {
    const others = [...this.#shares].flatMap((reference) => {
      const share = reference.deref()
      return share === undefined || share === asking ? [] : [share]
    })
    others.sort((a, b) => b.used - a.used)
    for (const share of others) {
      if (this.room >= areas) return
      share.giveUp(areas - this.room)
    }
  }

  #add(counts: Counts, areas: number, alternations: number): void {
    counts.areas += areas
    counts.alternations += alternations
    this.#used += areas
    this.#alternations += alternations
  }

  /** Looks at what the process has besides, since others' areas leave less. */
  #look(): void {
    const now = performance.now()
    if (now - this.#measuredAt < MEASURING_INTERVAL) return
    this.#measuredAt = now
    // Adjacent maps of one file may be one area, so that the windows may take fewer than are counted.
    this.#others = Math.max(0, this.#measure() - this.#used)
  }
}

/** The part of an account that one window has. */
export class WindowShare implements WindowAreas {
  /** @internal */
  readonly counts: Counts = { areas: 0, alternations: 0, mappedPages: 0 }
  readonly #account: MemoryAreaAccount
  readonly #limit: number | undefined
  readonly #clients = new Set<(areas: number) => void>()

  /** @internal */
  constructor(account: MemoryAreaAccount, limit: number | undefined) {
    this.#account = account
    this.#limit = limit
  }

  /** Areas of mappings, and of the gaps that they make. Gaps that only make remapping quicker do not count. */
  get used(): number {
    return this.counts.areas - this.counts.alternations
  }

  get limit(): number {
    return Math.min(this.#limit ?? this.#account.windowLimit, this.#account.budget)
  }

  get room(): number {
    return Math.max(0, Math.min(this.limit - this.used, this.#account.room))
  }

  get othersUse(): boolean {
    return this.#account.isUsedBesides(this)
  }

  onShortage(giveUp: (areas: number) => void): () => void {
    this.#clients.add(giveUp)
    return () => {
      this.#clients.delete(giveUp)
    }
  }

  reclaim(areas: number): void {
    this.#account.reclaim(areas, this)
  }

  /** Asks those who map here to unmap what nobody needs. @internal */
  giveUp(areas: number): void {
    for (const client of this.#clients) client(areas)
  }

  /** Whether gaps should be merged. @internal */
  get isTight(): boolean {
    return this.#account.isTight
  }

  #optionOfLimit(): string {
    const option = 'the option memoryAreas of openWindow'
    const budget = 'memoryAreas().budget, of which a window takes a quarter'
    return this.#limit === undefined ? `${option}, or ${budget}` : option
  }

  /** Notes what the window takes now. @internal */
  note(areas: number, alternations: number, mappedPages: number): void {
    const { counts } = this
    counts.mappedPages = mappedPages
    if (areas === counts.areas && alternations === counts.alternations) return
    this.#account.change(counts, areas - counts.areas, alternations - counts.alternations)
  }

  /**
   * Refuses a map that would take too many areas.
   *
   * @param areas areas that the process would have more
   * @param alternations gaps of unlike kinds that would become areas of the mapping, which count here
   * @throws MemoryAreasError `ERR_XMC_MEMORY_AREAS` @internal
   */
  admit(areas: number, alternations: number): void {
    const own = areas + alternations
    const isOwn = own > 0 && own > this.limit - this.used
    if (!isOwn && (areas <= 0 || areas <= this.#account.room)) return
    this.#account.refused()
    const { limit, used } = isOwn
      ? this
      : { limit: this.#account.budget, used: this.#account.statistics.used }
    throw new MemoryAreasError({
      who: 'a window of host memory',
      needed: isOwn ? own : areas,
      used,
      limit,
      option: isOwn
        ? this.#optionOfLimit()
        : `memoryAreas().budget, and vm.max_map_count, which is ${this.#account.limit}`,
      shortage: (isOwn ? own : areas) > limit ? 'lasting' : 'passing',
    })
  }
}

// The limit is the process's, so it is counted for all who map here, whoever they are.
let account: MemoryAreaAccount | undefined

/**
 * The account that windows of this thread share unless they are opened with another. Reads
 * vm.max_map_count when it is first used. Set its `budget` to let the windows take more, or less.
 */
export function memoryAreas(): MemoryAreaAccount {
  account ??= new MemoryAreaAccount()
  return account
}

function readLimit(): number {
  try {
    const limit = Number.parseInt(readFileSync('/proc/sys/vm/max_map_count', 'latin1'), 10)
    return limit > 0 ? limit : USUAL_MEMORY_AREA_LIMIT
  } catch {
    // Without /proc the usual limit is the safe guess.
    return USUAL_MEMORY_AREA_LIMIT
  }
}

function countProcessAreas(): number {
  let areas = 0
  try {
    for (const byte of readFileSync('/proc/self/maps')) if (byte === 0x0a) areas++
  } catch {
    // Without /proc nothing is known of others; the reserve is for them.
  }
  return areas
}

function checkCount(field: string, value: number): void {
  if (!Number.isSafeInteger(value) || value < 1) {
    throw new InvalidArgumentError(field, 'a positive integer', value)
  }
}
