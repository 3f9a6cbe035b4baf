/** The port to an interrupt line of the guest, level-triggered. Met by a board. */
export interface Interrupt {
  /** Sets the level of the line; called on changes only, and may call the guest before it returns. */
  setLevel(high: boolean): void
}
