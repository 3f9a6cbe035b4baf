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
  /** By page and offset the numbers of the handles there, for reports of many. */
  private readonly pointers: Map<number, Set<number>> = new Map()
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
    const pointer = windowPage * 4096 + offset
    const ids = this.pointers.get(pointer)
    if (ids === undefined) this.pointers.set(pointer, new Set([id]))
    else ids.add(id)
    this.registry.register(handle, id, handle)
    return id
  }

  /** Notes that a handle was released in order. */
  released(handle: object, id: number): void {
    this.registry.unregister(handle)
    const entry = this.outstanding.get(id)
    if (entry === undefined) return
    this.outstanding.delete(id)
    const pointer = entry.windowPage * 4096 + entry.offset
    const ids = this.pointers.get(pointer)
    ids?.delete(id)
    if (ids?.size === 0) this.pointers.delete(pointer)
  }

  /** Stacks of the handles outstanding at a pointer, lost ones too. */
  stacksAt(windowPage: number, offset: number): string[] {
    return [...(this.pointers.get(windowPage * 4096 + offset) ?? [])].map(
      (id) => this.outstanding.get(id)?.stack ?? '',
    )
  }

  /** Forgets every handle: what they had mapped is gone. */
  clear(): void {
    this.outstanding.clear()
    this.pointers.clear()
  }
}
