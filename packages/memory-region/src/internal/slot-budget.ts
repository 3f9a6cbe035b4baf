import { ShareError } from '../errors.ts'
import type { RamBacking } from '../ram-backing.ts'

/** The slots of one backing's window, and what its users may have of them. */
export class SlotBudget {
  readonly backing: RamBacking
  /** Pages of a slot: 2 to the power of `shift`. */
  readonly pagesPerSlot: number
  readonly shift: number
  /** Slots of the window. */
  readonly slots: number
  readonly accounts: SlotAccount[] = []
  /** Slots that each user gets, whatever others have. */
  guaranteed = 0
  /** Slots in use, or about to be; one that two users have counts twice. */
  used = 0
  /** Slots that are kept for users who have fewer than they are guaranteed. */
  reserved = 0
  private readonly share: number

  constructor(backing: RamBacking, pagesPerSlot: number, share: number) {
    this.backing = backing
    this.pagesPerSlot = pagesPerSlot
    this.shift = Math.round(Math.log2(pagesPerSlot))
    this.slots = Math.floor(backing.view.byteLength / (pagesPerSlot * 4096))
    this.share = share
  }

  /** Makes the account of one more user. */
  open(user: string): SlotAccount {
    const account = new SlotAccount(this, user)
    this.accounts.push(account)
    this.divide()
    return account
  }

  /** Forgets an account that has nothing. */
  close(account: SlotAccount): void {
    this.accounts.splice(this.accounts.indexOf(account), 1)
    this.divide()
  }

  private divide(): void {
    const users = this.accounts.length
    // Who is alone needs no protection.
    this.guaranteed = users < 2 ? 0 : Math.floor((this.slots * this.share) / users)
    this.reserved = 0
    for (const { used } of this.accounts) this.reserved += Math.max(0, this.guaranteed - used)
  }
}

/** What one user has of the slots of a window. */
export class SlotAccount {
  readonly budget: SlotBudget
  readonly user: string
  /** Slots in use, or about to be. */
  used = 0
  /** Most slots in use at a time. */
  most = 0
  /** Of `used`, slots of maps that are under way. */
  private expected = 0
  /** Maps that were refused, so that others get theirs. */
  refused = 0
  /** Mappings at each slot. */
  private mappings: Int32Array | undefined

  constructor(budget: SlotBudget, user: string) {
    this.budget = budget
    this.user = user
  }

  /**
   * Checks that a range may be mapped.
   *
   * @returns the number of its slots
   * @throws ShareError `ERR_XMC_SHARE`: others are to have what is left
   */
  check(page: number, pageCount: number): number {
    const { budget, used } = this
    const { pagesPerSlot, guaranteed } = budget
    const needed =
      pageCount === 1
        ? 1
        : Math.floor((page + pageCount - 1) / pagesPerSlot) - Math.floor(page / pagesPerSlot) + 1
    if (used + needed > guaranteed && guaranteed > 0) {
      const forOthers = budget.reserved - Math.max(0, guaranteed - used)
      if (budget.used + needed + forOthers > budget.slots) throw this.refusal(needed)
    }
    return needed
  }

  /** Counts the slots of a mapping, but those that the user had already. */
  take(windowPage: number, pageCount: number): void {
    this.change(this.count(windowPage, pageCount, 1))
    const taken = this.used - this.expected
    if (taken > this.most) this.most = taken
  }

  /** As `check`, for a map that takes time: its slots count at once. */
  expect(page: number, pageCount: number): number {
    const needed = this.check(page, pageCount)
    this.expected += needed
    this.change(needed)
    return needed
  }

  /** A range that was expected was not mapped, or is to be taken. */
  settle(expected: number): void {
    this.expected -= expected
    this.change(-expected)
  }

  /** A mapping was released. */
  give(windowPage: number, pageCount: number): void {
    this.change(-this.count(windowPage, pageCount, -1))
  }

  /** Counts a mapping at its slots, and gives how many of them began or ended to be in use by that. */
  private count(windowPage: number, pageCount: number, by: 1 | -1): number {
    const { shift, slots } = this.budget
    const mappings = (this.mappings ??= new Int32Array(slots + 1))
    const last = (windowPage + pageCount - 1) >> shift
    const none = by === 1 ? 1 : 0
    let changed = 0
    for (let slot = windowPage >> shift; slot <= last; slot++) {
      const left = mappings[slot]! + by
      mappings[slot] = left
      if (left === none) changed++
    }
    return changed
  }

  private change(by: number): void {
    if (by === 0) return
    const { budget } = this
    const before = Math.max(0, budget.guaranteed - this.used)
    this.used += by
    budget.used += by
    budget.reserved += Math.max(0, budget.guaranteed - this.used) - before
  }

  private refusal(needed: number): ShareError {
    this.refused++
    const { backing, slots, guaranteed, accounts } = this.budget
    const most = slots - guaranteed * (accounts.length - 1)
    return new ShareError({
      user: this.user,
      backing: backing.name,
      needed,
      used: this.used,
      guaranteed,
      most,
      shortage: needed > most ? 'lasting' : 'passing',
    })
  }
}
