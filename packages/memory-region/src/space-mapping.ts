import { checkOptions, InvalidArgumentError } from '@xmc/interface'
import { joinAddress } from './address.ts'
import { BounceMapping, type DmaMapping, RamMapping } from './dma-mapping.ts'
import { BounceBudgetError, ReadOnlyRegionError } from './errors.ts'
import { BounceBudget } from './internal/bounce-budget.ts'
import type { FlatRange } from './internal/flat-range.ts'
import { checkByteCount, MAX_MAPPING, pagesOf } from './internal/page.ts'
import { RoomQueue } from './internal/room-queue.ts'
import { SlotBudget } from './internal/slot-budget.ts'
import type { MemoryRegion } from './memory-region.ts'
import { LOCK_DMA, LOCK_WRITE, type RamBacking } from './ram-backing.ts'
import { SpaceAccess } from './space-access.ts'
import { SpaceUser } from './space-user.ts'

/** What an address space is made from. */
export interface AddressSpaceOptions {
  /** The region to show, from address 0 on; commonly a container of 2^64 bytes. */
  readonly root: MemoryRegion
  /** Name for messages and `mtree`; `memory` by default. */
  readonly name?: string | undefined
  /** Bytes that may be in bounce buffers at a time; 4096 by default. */
  readonly bounceBudget?: number | undefined
  /**
   * Part of each backing's window that is divided among the registered users, 0 to 1: so much each of them gets at any
   * time; 0.5 by default. With 0 whoever comes first may have everything.
   */
  readonly guaranteedShare?: number | undefined
}

/** Bytes of bounce buffers that an address space has by default. */
export const DEFAULT_BOUNCE_BUDGET = 4096

/** Part of each window that is divided among the users of an address space by default. */
export const DEFAULT_GUARANTEED_SHARE = 0.5

/** How an address space maps: what is live, who uses it, and who waits for room. */
export class SpaceMapping extends SpaceAccess {
  /** @internal */
  live = 0
  /** @internal */
  kept = 0
  /** @internal */
  readonly room: RoomQueue = new RoomQueue()
  /** @internal */
  protected readonly bounce: BounceBudget
  private readonly guaranteedShare: number
  private readonly known: Set<SpaceUser> = new Set()
  private readonly budgets: Map<RamBacking, SlotBudget> = new Map()

  /** @throws InvalidArgumentError `ERR_XMC_ARGUMENT`: a budget that is no number of bytes, a share that is no part */
  constructor(options: AddressSpaceOptions) {
    checkOptions('AddressSpace', options, {
      root: true,
      name: true,
      bounceBudget: true,
      guaranteedShare: true,
    })
    super(options.name ?? 'memory', options.root)
    const budget = options.bounceBudget ?? DEFAULT_BOUNCE_BUDGET
    checkByteCount('bounceBudget', budget, 0, MAX_MAPPING)
    this.bounce = new BounceBudget(budget)
    const share = options.guaranteedShare ?? DEFAULT_GUARANTEED_SHARE
    if (!(share >= 0 && share <= 1)) {
      throw new InvalidArgumentError('guaranteedShare', 'a number from 0 to 1', share)
    }
    this.guaranteedShare = share
  }

  /** Mappings and rings that are live. */
  get mappings(): number {
    return this.live
  }

  /** Bytes now in bounce buffers. */
  get bounceBytes(): number {
    return this.bounce.used
  }

  /** Who maps through the space beside others, in the order in which they came. */
  get users(): readonly SpaceUser[] {
    return [...this.known]
  }

  /**
   * Makes a user of the space, as one device of several: what it maps is counted, and it leaves the others their
   * share of each window. What is mapped through the space itself is not counted.
   */
  registerUser(options: { readonly name: string }): SpaceUser {
    const user = new SpaceUser(this, options.name)
    this.known.add(user)
    for (const budget of this.budgets.values()) user.addAccount(budget.open(user.name))
    return user
  }

  /**
   * Calls `client` once, when something was released that may make room for a map that failed with
   * `shortage: 'passing'`: a mapping, or bounce bytes. Where the room is made outside the process, as
   * in Xen's map-track table, it is called after a time as well: 10 ms, and longer each time, up to a second.
   *
   * It is called in a later turn of the event loop, at most once a millisecond; it may fail again, and wait
   * again. It must not throw.
   *
   * Whoever waits releases first what it holds itself. Mappings that are kept for long (`keep`, and rings)
   * do not count as what may be released.
   *
   * @returns how to wait no longer; undefined when waiting does not help: nothing is held that would be released,
   * and whoever waits has looked again for 70 ms, or for 2.5 s where the room would be made outside the process.
   * Then the request could never fit.
   */
  awaitRoom(client: () => void): (() => void) | undefined {
    return this.awaitRoomFor(this, client)
  }

  /** @internal */
  awaitRoomFor(owner: object, client: () => void): (() => void) | undefined {
    return this.room.wait(client, this.live <= this.kept, owner)
  }

  /** @internal */
  mapFor(
    user: SpaceUser | undefined,
    page: number,
    offset: number,
    length: number,
    write: boolean,
  ): DmaMapping {
    const end = write ? this.nearMapWriteEnd : this.nearMapEnd
    if (
      page >= this.nearFirst &&
      page < end &&
      (offset & 4095) === offset &&
      length > 0 &&
      // Up to 1 GiB, so that the sum below is an int32 as well.
      (length & 0x3fff_ffff) === length &&
      ((offset + length + 4095) >> 12) + page <= end
    ) {
      const range = this.nearRange!
      return this.lock(user, range, page + this.nearDelta, offset, length, write)
    }
    const range = this.rangeForMap(page, offset, length, write)
    if (range.ram === null) return this.bounceAt(range, page, offset, length, write)
    return this.lockRange(user, range, page, offset, length, write)
  }

  /** @internal */
  async mapAsyncFor(
    user: SpaceUser | undefined,
    page: number,
    offset: number,
    length: number,
    write: boolean,
  ): Promise<DmaMapping> {
    const range = this.rangeForMap(page, offset, length, write)
    if (range.ram === null) return this.bounceAt(range, page, offset, length, write)
    return await this.lockRangeAsync(user, range, page, offset, length, write)
  }

  /** @internal */
  returnBounce(length: number): void {
    this.bounce.give(length)
  }

  /** @internal Divides the window of a backing among the users, if it has one. */
  openBudget(backing: RamBacking): void {
    const { pagesPerSlot } = backing
    if (pagesPerSlot === undefined || this.budgets.has(backing)) return
    const budget = new SlotBudget(backing, pagesPerSlot, this.guaranteedShare)
    this.budgets.set(backing, budget)
    for (const user of this.known) user.addAccount(budget.open(user.name))
  }

  /** @internal */
  forgetUser(user: SpaceUser): void {
    this.known.delete(user)
  }

  /** @internal The range of a map's first byte, with arguments and write access checked. */
  protected rangeForMap(page: number, offset: number, length: number, write: boolean): FlatRange {
    const range = this.rangeAt(page, offset)
    checkByteCount('length', length, 1, Number.MAX_SAFE_INTEGER)
    if (range === undefined) {
      throw this.unassigned(page, offset, length, write ? 'write' : 'read')
    }
    if (write && range.readOnly) {
      throw new ReadOnlyRegionError(range.region.name, joinAddress(page, offset), length)
    }
    return range
  }

  /** @internal */
  protected lockRange(
    user: SpaceUser | undefined,
    range: FlatRange,
    page: number,
    offset: number,
    asked: number,
    write: boolean,
  ): RamMapping {
    const length = Math.min(asked, range.room(page, offset), MAX_MAPPING)
    const at = range.backingPage(page, offset)
    return this.lock(user, range, at, range.backingOffset(offset), length, write)
  }

  /** @internal */
  protected async lockRangeAsync(
    user: SpaceUser | undefined,
    range: FlatRange,
    page: number,
    offset: number,
    asked: number,
    write: boolean,
  ): Promise<RamMapping> {
    const length = Math.min(asked, range.room(page, offset), MAX_MAPPING)
    const at = range.backingPage(page, offset)
    const inPage = range.backingOffset(offset)
    const flags = write ? LOCK_DMA | LOCK_WRITE : LOCK_DMA
    const account = user?.accountOf(range.backing!)
    const pageCount = pagesOf(inPage, length)
    let expected = 0
    // Counted before the wait, so that nobody closes the space or takes the backing away meanwhile.
    range.region.held++
    this.live++
    try {
      if (account !== undefined) expected = account.expect(at, pageCount)
      const windowPage = await range.backing!.lockAsync(at, inPage, length, flags)
      account?.settle(expected)
      account?.take(windowPage, pageCount)
      return new RamMapping(this, range, at, windowPage, inPage, length, write, account)
    } catch (error) {
      account?.settle(expected)
      range.region.held--
      this.live--
      this.room.refused(error)
      throw error
    }
  }

  /** @internal A copy of what is at an address, as long as budget and range allow; zeros where nothing is. */
  protected bounceAt(
    range: FlatRange | undefined,
    page: number,
    offset: number,
    asked: number,
    write: boolean,
  ): BounceMapping {
    const room = range?.room(page, offset) ?? this.view.gap(page, offset)
    const length = this.bounce.take(Math.min(asked, room))
    if (length === 0) {
      const { limit, used } = this.bounce
      const error = new BounceBudgetError(this.name, joinAddress(page, offset), limit, used)
      this.room.refused(error)
      throw error
    }
    const data = new Uint8Array(length)
    if (!write && range !== undefined) {
      try {
        this.read(page, offset, data)
      } catch (error) {
        this.bounce.give(length)
        throw error
      }
    }
    if (range !== undefined) range.region.held++
    this.live++
    return new BounceMapping(this, range?.region, page, offset, data, write)
  }

  private lock(
    user: SpaceUser | undefined,
    range: FlatRange,
    at: number,
    offset: number,
    length: number,
    write: boolean,
  ): RamMapping {
    const backing = range.backing!
    const flags = write ? LOCK_DMA | LOCK_WRITE : LOCK_DMA
    const account = user?.accountOf(backing)
    const pageCount = pagesOf(offset, length)
    let windowPage: number
    try {
      account?.check(at, pageCount)
      windowPage = backing.lock(at, offset, length, flags)
    } catch (error) {
      this.room.refused(error)
      throw error
    }
    account?.take(windowPage, pageCount)
    range.region.held++
    this.live++
    return new RamMapping(this, range, at, windowPage, offset, length, write, account)
  }
}
