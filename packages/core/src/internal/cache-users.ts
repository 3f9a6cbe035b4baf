import type { CacheUser, CacheUserOptions } from '../cache-user.ts'
import type { DrainFailure } from '../invalidation.ts'
import { LOCK_USER_SHIFT } from '../lock-flags.ts'

// Counted through all caches, so that the locks of a group's user name nobody else in any of them.
let lastId = 0

/** The registered users of a cache, by the number that their locks carry. */
export class CacheUsers {
  private readonly users: Map<number, CacheUserOptions> = new Map()
  /** Names by number; they are kept, since locks outlive users. */
  private readonly names: Map<number, string> = new Map()

  register(options: CacheUserOptions): CacheUser {
    const id = ++lastId
    this.users.set(id, options)
    this.names.set(id, options.name)
    return {
      name: options.name,
      lockFlags: id << LOCK_USER_SHIFT,
      unregister: () => {
        this.users.delete(id)
      },
    }
  }

  /** Takes over the name of a user that is registered elsewhere. */
  adopt(user: CacheUser): void {
    this.names.set(user.lockFlags >>> LOCK_USER_SHIFT, user.name)
  }

  /** Name of the user that a lock's flags carry. */
  nameOf(flags: number): string {
    return this.names.get(flags >>> LOCK_USER_SHIFT) ?? 'unnamed'
  }

  /** Waits until every user is drained; a failure is one user's, not the others'. */
  async drain(): Promise<DrainFailure[]> {
    if (this.users.size === 0) return []
    const failures = await Promise.all([...this.users.values()].map(drainOne))
    return failures.filter((failure) => failure !== undefined)
  }
}

async function drainOne(user: CacheUserOptions): Promise<DrainFailure | undefined> {
  try {
    await user.drain?.()
    return undefined
  } catch (error) {
    return { user: user.name, error }
  }
}
