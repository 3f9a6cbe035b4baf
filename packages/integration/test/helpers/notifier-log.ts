import assert from 'node:assert/strict'
import type { RamListener } from '@xmc/core'
import type { WindowPage } from '@xmc/interface'

/** Hears what a cache tells its RAM listeners, and insists that it is balanced. */
export class NotifierLog implements RamListener {
  readonly #calls: string[] = []
  readonly #present = new Map<WindowPage, number>()

  added(windowPage: WindowPage, pageCount: number): void {
    assert.equal(this.#present.get(windowPage), undefined, 'memory is added where there was none')
    this.#present.set(windowPage, pageCount)
    this.#calls.push(`add(${pageCount})`)
  }

  removed(windowPage: WindowPage, pageCount: number): void {
    assert.equal(this.#present.get(windowPage), pageCount, 'memory is removed as it was added')
    this.#present.delete(windowPage)
    this.#calls.push(`remove(${pageCount})`)
  }

  /** Stretches that were added and not removed. */
  get present(): number {
    return this.#present.size
  }

  /** The calls since the last look, as `add(256)`. */
  take(): string[] {
    return this.#calls.splice(0)
  }
}
