import { InvalidArgumentError, type TargetWindow, type WindowPage } from '@xmc/interface'

interface MappedPage {
  /** The page of memory that is mapped. */
  readonly memory: Uint8Array
  /** What the window and the memory both held when they were last made equal. */
  readonly agreed: Uint8Array
  readonly writable: boolean
}

/**
 * A window without any kernel: a mapped page and its memory are made equal whenever somebody looks,
 * at the window (through `buffer`) or at the memory (after `synchronise`).
 */
export class AliasingWindow implements TargetWindow {
  readonly pageCount: number
  readonly byteOffset = 4096
  readonly hostAddress = 0x7f00_0000_0000
  readonly #buffer: ArrayBuffer
  readonly #mapped = new Map<number, MappedPage>()

  constructor(pageCount: number) {
    this.pageCount = pageCount
    this.#buffer = new ArrayBuffer(this.byteOffset + pageCount * 4096)
  }

  get buffer(): ArrayBuffer {
    this.synchronise()
    return this.#buffer
  }

  /** Pages that are mapped now. */
  get mappedPages(): number {
    return this.#mapped.size
  }

  reset(page: WindowPage, pageCount: number): void {
    this.check(page, pageCount)
    for (let at: number = page; at < page + pageCount; at++) this.detach(at)
  }

  map(): never {
    throw new Error('this window maps memory pages, not files')
  }

  check(page: number, pageCount: number): void {
    if (page < 0 || pageCount < 1 || page + pageCount > this.pageCount) {
      throw new InvalidArgumentError('window range', 'pages of the window', `${page}+${pageCount}`)
    }
  }

  /** Maps `memory` at `page`. */
  attach(page: number, memory: Uint8Array, writable: boolean): void {
    this.#mapped.set(page, { memory, agreed: memory.slice(), writable })
    this.#bytes(page).set(memory)
  }

  /** Puts a zero page at `page`. */
  detach(page: number): void {
    const mapped = this.#mapped.get(page)
    if (mapped !== undefined) this.#pull(page, mapped)
    this.#mapped.delete(page)
    this.#bytes(page).fill(0)
  }

  /** The memory mapped at `page`. */
  memoryAt(page: number): Uint8Array | undefined {
    return this.#mapped.get(page)?.memory
  }

  /** Window pages where `memory` is mapped. */
  placesOf(memory: Uint8Array): readonly number[] {
    return [...this.#mapped].flatMap(([page, mapped]) => (mapped.memory === memory ? [page] : []))
  }

  protectionOf(page: number): 'read-only' | 'read-write' {
    return this.#mapped.get(page)?.writable === false ? 'read-only' : 'read-write'
  }

  /** Brings stores to the window into the memory, and stores to the memory into the window. */
  synchronise(): void {
    for (const [page, mapped] of this.#mapped) this.#pull(page, mapped)
    for (const [page, { memory, agreed }] of this.#mapped) {
      if (Buffer.compare(memory, agreed) === 0) continue
      this.#bytes(page).set(memory)
      agreed.set(memory)
    }
  }

  #pull(page: number, { memory, agreed, writable }: MappedPage): void {
    const bytes = this.#bytes(page)
    if (!writable || Buffer.compare(bytes, agreed) === 0) return
    memory.set(bytes)
    agreed.set(bytes)
  }

  #bytes(page: number): Uint8Array {
    return new Uint8Array(this.#buffer, this.byteOffset + page * 4096, 4096)
  }
}
