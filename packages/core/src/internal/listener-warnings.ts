import { messageOf } from '@xmc/interface'

/** Process warnings for what a cache's listeners throw where it reaches nobody: one for each kind of listener. */
export class ListenerWarnings {
  private readonly cache: string
  private readonly warned: Set<string> = new Set()

  constructor(cache: string) {
    this.cache = cache
  }

  /** Warns that `listener`, as `a RAM listener`, threw `error`; unless one of that kind did before. */
  warn(listener: string, error: unknown): void {
    if (this.warned.has(listener)) return
    this.warned.add(listener)
    const options = { type: 'XmcListenerWarning', code: 'WARN_XMC_LISTENER' }
    const detail = error instanceof Error ? error.stack : undefined
    process.emitWarning(
      `${this.cache}: ${listener} threw: ${messageOf(error)} (others of its kind are not reported)`,
      detail === undefined ? options : { ...options, detail },
    )
  }
}
