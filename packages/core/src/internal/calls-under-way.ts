import type { HostWindow } from '@xmc/interface'

/**
 * Counts the calls of a cache that map or unmap in its window. While there are any, the window is held, and
 * nobody else may have it: a call that ends later would map over the other's pages.
 */
export class CallsUnderWay {
  /** Calls now. */
  count = 0
  private readonly window: HostWindow
  private readonly settle: () => void
  private readonly waiting: (() => void)[] = []

  /** @param settle called each time when the last call has ended */
  constructor(window: HostWindow, settle: () => void) {
    this.window = window
    this.settle = settle
  }

  /** Notes that a call begins; `end` must follow. */
  begin(): void {
    if (this.count++ === 0) this.window.hold?.()
  }

  end(): void {
    if (--this.count > 0) return
    this.window.letGo?.()
    this.settle()
    for (const resolve of this.waiting.splice(0)) resolve()
  }

  /** Resolves when no call is under way. */
  async settled(): Promise<void> {
    if (this.count === 0) return
    await new Promise<void>((resolve) => {
      this.waiting.push(resolve)
    })
  }
}
