/** Somebody who uses a cache and must be quiet before everything is invalidated: a device, a disk. */
export interface CacheUserOptions {
  /** Name for reports. */
  readonly name: string
  /**
   * Called before a full invalidation; its promise resolves when no transfer of this user is under
   * way. A rejection is reported, and the invalidation goes on.
   */
  readonly drain?: (() => Promise<void> | void) | undefined
}

/** A registered user: its locks name it in reports. */
export interface CacheUser {
  /** Name for reports. */
  readonly name: string
  /** Or this to the flags of `lock`, so that the lock names this user. */
  readonly lockFlags: number
  /** Takes the user off the list; its locks stay. */
  unregister(): void
}
