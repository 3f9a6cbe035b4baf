import { BusyError } from '@xmc/interface'
import type { DmaMapping } from './dma-mapping.ts'
import type { SlotAccount } from './internal/slot-budget.ts'
import type { RamBacking } from './ram-backing.ts'
import type { SpaceMapping } from './space-mapping.ts'

/** What a user of an address space has of the window of one backing. */
export interface WindowShare {
  /** Name of the backing. */
  readonly backing: string
  /** Pages of a slot, which is what a mapping takes at least. */
  readonly pagesPerSlot: number
  /** Slots of the window. */
  readonly slots: number
  /** Slots that the user gets, whatever others have; 0 where there are no others. */
  readonly guaranteed: number
  /** Slots that it has. */
  readonly used: number
  /** Most slots that it had at a time. */
  readonly most: number
  /** Maps that were refused, so that others get theirs. */
  readonly refused: number
}

/** Bytes of the longest range that a user of an address space maps at a time: 1 MiB, a bucket of foreign memory. */
export const LONGEST_USER_MAPPING: number = 2 ** 20

/**
 * Somebody who maps through an address space beside others, as one device of a board: what all of them map lies in
 * the same windows, and each gets its share. Made by `AddressSpace.registerUser`; it is the guest memory of a device.
 *
 * A part of each window (`guaranteedShare`, half of it by default) is divided among the users: so
 * much each of them gets at any time. The rest, and what others do not need of theirs while they have as much as
 * they are guaranteed, is for whoever comes first.
 *
 * A range of more than 1 MiB is cut at the next multiple of 1 MiB, whatever the memory is: a guest decides how
 * long its buffers are, and no single call may take long, nor a buffer over buckets need several in a row.
 */
export class SpaceUser {
  /** Name for messages and statistics. */
  readonly name: string
  private readonly space: SpaceMapping
  private readonly accounts: Map<RamBacking, SlotAccount> = new Map()
  private lastBacking: RamBacking | undefined
  private lastAccount: SlotAccount | undefined

  /** @internal */
  constructor(space: SpaceMapping, name: string) {
    this.space = space
    this.name = name
  }

  /** What it has of each window that was mapped into. */
  get shares(): readonly WindowShare[] {
    return [...this.accounts.values()].map(({ budget, used, most, refused }) => ({
      backing: budget.backing.name,
      pagesPerSlot: budget.pagesPerSlot,
      slots: budget.slots,
      guaranteed: budget.guaranteed,
      used,
      most,
      refused,
    }))
  }

  /**
   * As `AddressSpace.map`, but no more than 1 MiB at a time.
   *
   * @throws ShareError `ERR_XMC_SHARE`: others are to have what is left of a window
   */
  map(page: number, offset: number, length: number, write: boolean): DmaMapping {
    return this.space.mapFor(this, page, offset, cut(page, offset, length), write)
  }

  /** As `map`, without blocking the event loop; waits for pages that are paged out. */
  mapAsync(page: number, offset: number, length: number, write: boolean): Promise<DmaMapping> {
    return this.space.mapAsyncFor(this, page, offset, cut(page, offset, length), write)
  }

  /** As `AddressSpace.read`. */
  read(page: number, offset: number, target: Uint8Array): void {
    this.space.read(page, offset, target)
  }

  /** As `AddressSpace.write`. */
  write(page: number, offset: number, source: Uint8Array): void {
    this.space.write(page, offset, source)
  }

  /** As `AddressSpace.awaitRoom`. */
  awaitRoom(client: () => void): (() => void) | undefined {
    return this.space.awaitRoomFor(this, client)
  }

  /**
   * Gives its share to the others.
   *
   * @throws BusyError `ERR_XMC_BUSY`: it has mappings; nothing was done
   */
  close(): void {
    const used = [...this.accounts.values()].reduce((sum, account) => sum + account.used, 0)
    if (used > 0) throw new BusyError(this.name, used)
    for (const account of this.accounts.values()) account.budget.close(account)
    this.accounts.clear()
    this.lastBacking = undefined
    this.space.forgetUser(this)
  }

  /** @internal Takes an account for a backing. */
  addAccount(account: SlotAccount): void {
    this.accounts.set(account.budget.backing, account)
    this.lastBacking = undefined
  }

  /** @internal Its account for a backing; undefined for memory that has no window. */
  accountOf(backing: RamBacking): SlotAccount | undefined {
    if (backing === this.lastBacking) return this.lastAccount
    this.space.openBudget(backing)
    this.lastBacking = backing
    this.lastAccount = this.accounts.get(backing)
    return this.lastAccount
  }
}

/** The length of a range, cut if it is too long. */
function cut(page: number, offset: number, length: number): number {
  if (length <= LONGEST_USER_MAPPING) return length
  return LONGEST_USER_MAPPING - ((page % PAGES_AT_A_TIME) * 4096 + offset)
}

const PAGES_AT_A_TIME = LONGEST_USER_MAPPING / 4096
