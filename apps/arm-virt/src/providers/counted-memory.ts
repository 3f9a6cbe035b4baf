import type { ForeignMemory } from '@xmc/foreign'
import type { GrantTable } from '@xmc/grants'
import type {
  ForeignMapRequest,
  GrantCopySegment,
  GrantMapRequest,
  TargetWindow,
  UnmapNotify,
  WindowPage,
} from '@xmc/interface'

/** Counts calls that map, unmap or copy memory. */
export interface CallCounter {
  calls: number
}

/** Foreign memory whose calls are counted. */
export class CountedForeignMemory implements ForeignMemory {
  readonly #memory: ForeignMemory
  readonly #counter: CallCounter

  constructor(memory: ForeignMemory, counter: CallCounter) {
    this.#memory = memory
    this.#counter = counter
  }

  map(request: ForeignMapRequest): void {
    this.#counter.calls += 1
    this.#memory.map(request)
  }

  mapAsync(request: ForeignMapRequest): Promise<void> {
    this.#counter.calls += 1
    return this.#memory.mapAsync(request)
  }

  unmap(window: TargetWindow, windowPage: WindowPage, pageCount: number): void {
    this.#counter.calls += 1
    this.#memory.unmap(window, windowPage, pageCount)
  }
}

/** A grant table whose calls are counted. */
export class CountedGrantTable implements GrantTable {
  readonly #table: GrantTable
  readonly #counter: CallCounter

  constructor(table: GrantTable, counter: CallCounter) {
    this.#table = table
    this.#counter = counter
  }

  map(request: GrantMapRequest): void {
    this.#counter.calls += 1
    this.#table.map(request)
  }

  mapAsync(request: GrantMapRequest): Promise<void> {
    this.#counter.calls += 1
    return this.#table.mapAsync(request)
  }

  unmap(window: TargetWindow, windowPage: WindowPage, pageCount: number): void {
    this.#counter.calls += 1
    this.#table.unmap(window, windowPage, pageCount)
  }

  unmapAsync(window: TargetWindow, windowPage: WindowPage, pageCount: number): Promise<void> {
    this.#counter.calls += 1
    return this.#table.unmapAsync(window, windowPage, pageCount)
  }

  setUnmapNotify(window: TargetWindow, windowPage: WindowPage, notify: UnmapNotify): void {
    this.#table.setUnmapNotify(window, windowPage, notify)
  }

  copy(segments: readonly GrantCopySegment[]): Int16Array {
    this.#counter.calls += 1
    return this.#table.copy(segments)
  }
}
