/**
 * What the engine needs of the account of memory areas that a window belongs to. The kernel allows a
 * process a number of them (vm.max_map_count), and V8 ends the process when it gets none. A stretch of
 * mapped pages is one, and so is a gap between two. Met by the windows of `@xmc/hostmem`.
 */
export interface WindowAreas {
  /** Areas that this window takes now. */
  readonly used: number
  /** Areas that this window may take. */
  readonly limit: number
  /** Areas that this window may still take: what is left of its limit, or of the process's if that is less. */
  readonly room: number
  /** Whether others of the account take areas, so that waiting for them may help. */
  readonly othersUse: boolean
  /**
   * Registers who is asked to unmap what nobody needs when others are short of areas; `giveUp` is told how
   * many are wanted. Returns how to withdraw.
   */
  onShortage(giveUp: (areas: number) => void): () => void
  /** Asks the others of the account, those that take most first, until `areas` are free or all were asked. */
  reclaim(areas: number): void
}
