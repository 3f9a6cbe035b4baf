/** A handle that was not released. */
interface Outstanding {
  readonly windowPage: number
  readonly offset: number
  readonly length: number
  readonly stack: string
}

/** Remembers who took each handle, and tells when one is lost. */
export class LeakTracker {
  private readonly outstanding: Map<number, Outstanding> = new Map()
  private readonly registry: FinalizationRegistry<number>
  private lastId = 0

  constructor(report: (lost: Outstanding) => void) {
    this.registry = new FinalizationRegistry((id) => {
      const lost = this.outstanding.get(id)
      if (lost === undefined) return
      // The record stays: the lost handle still holds its lock, and a report must say who took it.
      report(lost)
    })
  }

  /** Notes that `handle` was taken now; returns the number to give to `released`. */
  taken(handle: object, windowPage: number, offset: number, length: number): number {
    const id = ++this.lastId
    const stack = new Error('taken here').stack ?? ''
    this.outstanding.set(id, { windowPage, offset, length, stack })
    this.registry.register(handle, id, handle)
    return id
  }

  /** Notes that a handle was released in order. */
  released(handle: object, id: number): void {
    this.registry.unregister(handle)
    this.outstanding.delete(id)
  }

  /** Stacks of the handles outstanding at a pointer, lost ones too. */
  stacksAt(windowPage: number, offset: number): string[] {
    return [...this.outstanding.values()]
      .filter((entry) => entry.windowPage === windowPage && entry.offset === offset)
      .map((entry) => entry.stack)
  }

  /** Forgets every handle: what they had mapped is gone. */
  clear(): void {
    this.outstanding.clear()
  }
}
