import type { SystemCalls } from './system-calls.ts'

/** Memory for the structures that a system call points to: it grows, and knows its address. */
export class Scratch {
  readonly #calls: SystemCalls
  #view = new DataView(new ArrayBuffer(0))
  #address = 0

  constructor(calls: SystemCalls) {
    this.#calls = calls
  }

  /** A view of at least `bytes` bytes, with whatever they hold. Valid until the next call. */
  take(bytes: number): DataView<ArrayBuffer> {
    if (this.#view.byteLength < bytes) {
      const buffer = new ArrayBuffer(Math.max(4096, 2 ** Math.ceil(Math.log2(bytes))))
      this.#view = new DataView(buffer)
      this.#address = this.#calls.addressOf(buffer)
    }
    return this.#view
  }

  /** Host virtual address of the view's first byte. */
  get address(): number {
    return this.#address
  }
}
