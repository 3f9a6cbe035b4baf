import type { RamListener } from '@xmc/core'
import type { WindowPage } from '@xmc/interface'

/** Notes what a cache tells it, and whether that is balanced. */
export class ListenerDouble implements RamListener {
  readonly events: string[] = []
  readonly present: Map<number, number> = new Map()
  /** Told of what was there already, or not of what goes. */
  unbalanced = 0
  failNext: 'added' | 'removed' | undefined

  added(place: WindowPage, pageCount: number): void {
    this.events.push(`added ${pageCount}`)
    if (this.present.has(place)) this.unbalanced++
    this.present.set(place, pageCount)
    this.throwIf('added')
  }

  removed(place: WindowPage, pageCount: number): void {
    this.events.push(`removed ${pageCount}`)
    if (this.present.get(place) !== pageCount) this.unbalanced++
    this.present.delete(place)
    this.throwIf('removed')
  }

  private throwIf(kind: 'added' | 'removed'): void {
    if (this.failNext !== kind) return
    this.failNext = undefined
    throw new Error(`${kind} failed`)
  }
}
