/** Flag of a lock: stores are allowed through the pointer. */
export const LOCK_WRITE = 1

/** Flag of a lock: a transfer is under way that a full invalidation should warn of. */
export const LOCK_DMA = 2

/** Bits below the number of the user that holds a lock. */
export const LOCK_USER_SHIFT = 2
