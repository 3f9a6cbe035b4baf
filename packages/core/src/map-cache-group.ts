import { type HostWindow, InvalidArgumentError, PAGE_SIZE, type WindowPage } from '@xmc/interface'
import type { CacheUser, CacheUserOptions } from './cache-user.ts'
import { WrongCacheError } from './errors.ts'
import { CacheUsers } from './internal/cache-users.ts'
import { SharedRuns } from './internal/shared-runs.ts'
import { asWindowPage } from './internal/window-page.ts'
import type { DrainFailure, InvalidationReport } from './invalidation.ts'
import { Mapping } from './mapping.ts'
import { traceChannels } from './trace.ts'

/** What a group needs of a cache. */
export interface GroupMember {
  readonly name: string
  readonly backend: { readonly window: HostWindow }
  unlock(windowPage: WindowPage, offset: number): void
  unlockAsync(windowPage: WindowPage, offset: number): Promise<void>
  pageOf(windowPage: WindowPage): number
  adoptUser(user: CacheUser): void
  invalidateAll(): Promise<InvalidationReport>
}

/** Number of a page in the windows of a group's caches, counted through from the first to the last. */
export type GroupPage = number & { readonly __xmc: 'GroupPage' }

/** Where a pointer of a group leads. */
export interface GroupAddress<Member extends GroupMember> {
  readonly cache: Member
  /** Guest page: a frame or a grant reference, as the cache's backend has it. */
  readonly page: number
  readonly offset: number
  /** page × 4096 + offset. */
  readonly address: bigint
}

/**
 * The caches of one machine, foreign memory and grants, with one reverse lookup and one release
 * over all of them. A pointer tells its cache by itself, so nothing is searched.
 */
export class MapCacheGroup<Member extends GroupMember> {
  readonly members: readonly Member[]
  private readonly bases: readonly number[]
  private readonly pageCount: number
  private readonly users: CacheUsers = new CacheUsers()
  private readonly invalidations: SharedRuns<DrainFailure[], readonly InvalidationReport[]>

  /** Every member must have a window of its own. */
  constructor(members: readonly Member[]) {
    const windows = new Set(members.map((member) => member.backend.window))
    if (members.length === 0 || windows.size !== members.length) {
      throw new InvalidArgumentError('members', 'at least one cache, each with its own window', [])
    }
    this.members = [...members]
    const bases: number[] = []
    let pageCount = 0
    for (const { backend } of members) {
      bases.push(pageCount)
      pageCount += backend.window.pageCount
    }
    this.bases = bases
    this.pageCount = pageCount
    const invalidate = async (
      failures: readonly DrainFailure[],
    ): Promise<readonly InvalidationReport[]> => {
      const reports = await Promise.all(this.members.map((member) => member.invalidateAll()))
      return reports.map((report, nth) =>
        nth > 0 ? report : { ...report, drainFailures: [...failures, ...report.drainFailures] },
      )
    }
    this.invalidations = new SharedRuns(() => this.users.drain(), invalidate)
  }

  /** The group's number for a window page of a member. */
  pageIn(member: Member, windowPage: WindowPage): GroupPage {
    const base = this.bases[this.members.indexOf(member)]
    if (base === undefined) throw new WrongCacheError(member.name, 'the group')
    const { pageCount } = member.backend.window
    if (!(windowPage >= 0 && windowPage < pageCount)) {
      const expected = `a page of the window of ${member.name}, 0 to ${pageCount - 1}`
      throw new InvalidArgumentError('windowPage', expected, windowPage)
    }
    return asGroupPage(base + windowPage)
  }

  /** Takes back one lock of whichever member the page belongs to; otherwise as `MapCache.unlock`. */
  unlock(page: GroupPage, offset: number): void {
    const nth = this.nth(page)
    this.members[nth]!.unlock(asWindowPage(page - this.bases[nth]!), offset)
  }

  /** As `unlock`, off the caller's turn; otherwise as `MapCache.unlockAsync`. */
  async unlockAsync(page: GroupPage, offset: number): Promise<void> {
    const nth = this.nth(page)
    await this.members[nth]!.unlockAsync(asWindowPage(page - this.bases[nth]!), offset)
  }

  /**
   * Cache and guest address behind a handle, a view into a window, or a page of the group.
   *
   * @throws NotLockedError `ERR_XMC_NOT_LOCKED`; WrongCacheError `ERR_XMC_WRONG_CACHE`: no member has it
   */
  addressOf(target: Mapping | ArrayBufferView): GroupAddress<Member> {
    const { cache, windowPage, offset } = this.find(target, traceChannels.addressNotInCache)
    const page = cache.pageOf(windowPage)
    return { cache, page, offset, address: (BigInt(page) << 12n) | BigInt(offset) }
  }

  /** As `addressOf`, for a page of the group. */
  addressOfPage(page: GroupPage, offset: number = 0): GroupAddress<Member> {
    if ((offset & 4095) !== offset) {
      throw new InvalidArgumentError('offset', 'an integer from 0 to 4095', offset)
    }
    const nth = this.nth(page)
    const cache = this.members[nth]!
    const guestPage = cache.pageOf(asWindowPage(page - this.bases[nth]!))
    const address = (BigInt(guestPage) << 12n) | BigInt(offset)
    return { cache, page: guestPage, offset, address }
  }

  /** Releases a handle of any member, or takes back one lock at the first byte of a view. */
  release(target: Mapping | ArrayBufferView): void {
    const { cache, windowPage, offset } = this.find(target, traceChannels.invalidateMiss)
    if (target instanceof Mapping) target.release()
    else cache.unlock(windowPage, offset)
  }

  /** Registers somebody whose transfers, through any member, must end before a full invalidation. */
  registerUser(options: CacheUserOptions): CacheUser {
    const user = this.users.register(options)
    for (const member of this.members) member.adoptUser(user)
    return user
  }

  /**
   * Drains the group's users, then invalidates every member: foreign memory is dropped, pinned pages
   * are left alone. One report for each member, in order; the first has the group's drain failures. Calls
   * that come together are one, as of `MapCache.invalidateAll`.
   */
  async invalidateAll(): Promise<readonly InvalidationReport[]> {
    return this.invalidations.run()
  }

  private find(
    target: Mapping | ArrayBufferView,
    missed: (typeof traceChannels)['invalidateMiss'],
  ): { cache: Member; windowPage: WindowPage; offset: number } {
    for (const cache of this.members) {
      if (target instanceof Mapping) {
        if (target.cache.backend.window !== cache.backend.window) continue
        return { cache, ...target.pointer() }
      }
      const { buffer, byteOffset, pageCount } = cache.backend.window
      const at = target.byteOffset - byteOffset
      if (target.buffer !== buffer || at < 0 || at >= pageCount * PAGE_SIZE) continue
      const windowPage = asWindowPage(Math.floor(at / PAGE_SIZE))
      return { cache, windowPage, offset: at % PAGE_SIZE }
    }
    const group = this.members.map((member) => member.name).join(', ')
    if (missed.hasSubscribers) missed.publish({ group })
    throw new WrongCacheError(group, target instanceof Mapping ? 'the handle' : 'the view')
  }

  private nth(page: number): number {
    if (!(page >= 0 && page < this.pageCount)) {
      const expected = `a page of the group, 0 to ${this.pageCount - 1}`
      throw new InvalidArgumentError('page', expected, page)
    }
    let nth = this.bases.length - 1
    while (page < this.bases[nth]!) nth--
    return nth
  }
}

function asGroupPage(value: number): GroupPage {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a sum of window pages, and a check would be paid on every release
  return value as GroupPage
}
