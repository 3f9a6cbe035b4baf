import type { CacheUser, CacheUserOptions } from '../cache-user.ts'
import type { DrainFailure } from '../invalidation.ts'
import { LOCK_USER_SHIFT } from '../lock-flags.ts'

// Numbered through all caches, so that the locks of a group's user name it in each of its caches.
const names: string[] = ['unnamed']

/** The registered users of a cache, by the number that their locks carry. */
export class CacheUsers {
  private readonly users: Map<number, CacheUserOptions> = new Map()

  register(options: CacheUserOptions): CacheUser {
    const id = names.push(options.name) - 1
    this.users.set(id, options)
    return {
      name: options.name,
      lockFlags: id << LOCK_USER_SHIFT,
      unregister: () => {
        this.users.delete(id)
      },
    }
  }

  /** Name of the user that a lock's flags carry; it is known for ever, since locks outlive users. */
  nameOf(flags: number): string {
    return names[flags >>> LOCK_USER_SHIFT] ?? 'unnamed'
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
