import type { Writable } from 'node:stream'

/**
 * What a console writes, to a stream that may stand still, end or fail: one write at a time, and never more than a
 * limit of bytes that wait. Nothing that the stream does gets further than `onError`.
 */
export class ConsoleOutput {
  /** Bytes that the stream took. */
  written = 0
  /** Bytes that nobody takes: there was no room, or the stream had ended or failed. */
  dropped = 0
  /** Most bytes that wait at a time. */
  readonly limit: number
  readonly #stream: Writable
  readonly #onIdle: () => void
  readonly #onError: (error: Error) => void
  /** The write that the stream has not taken yet. */
  #current: Write | undefined
  /** Single bytes that wait for it. */
  #single: number[] = []
  #waiter: (() => void) | undefined

  /** `onIdle` is called whenever the stream has taken everything and whoever waits in `whenIdle` writes no more. */
  constructor(
    stream: Writable,
    limit: number,
    onIdle: () => void,
    onError: (error: Error) => void,
  ) {
    this.#stream = stream
    this.limit = limit
    this.#onIdle = onIdle
    this.#onError = onError
    // A stream that is destroyed forgets the write that it was busy with.
    stream.on('close', () => this.#settle(this.#current, false))
    stream.on('error', (error: Error) => {
      this.#onError(error)
      this.#settle(this.#current, false)
    })
  }

  /** Whether the stream has taken everything. */
  get idle(): boolean {
    return this.#current === undefined
  }

  /** Bytes that wait for the stream. */
  get waiting(): number {
    return (this.#current?.length ?? 0) + this.#single.length
  }

  /** Calls `next` when the stream has taken everything, at once if it has; a later one replaces it. */
  whenIdle(next: () => void): void {
    this.#waiter = undefined
    if (this.idle) next()
    else this.#waiter = next
  }

  /** Writes up to `limit` bytes, which it keeps; only when idle. */
  write(bytes: Uint8Array): void {
    const { length } = bytes
    if (!this.#stream.writable) {
      this.dropped += length
      return
    }
    const write: Write = { length }
    this.#current = write
    try {
      this.#stream.write(bytes, (error) => {
        this.#settle(write, error === null || error === undefined)
      })
    } catch (error) {
      this.#onError(error instanceof Error ? error : new Error(String(error)))
      this.#settle(write, false)
    }
  }

  /** Writes one byte, if there is room for it. */
  writeByte(byte: number): void {
    if (this.idle) this.write(Uint8Array.of(byte))
    else if (this.waiting < this.limit) this.#single.push(byte)
    else this.dropped += 1
  }

  /** Ends a write, once, however many of the stream's events say so. */
  #settle(write: Write | undefined, taken: boolean): void {
    if (write === undefined || write !== this.#current) return
    this.#current = undefined
    if (taken) this.written += write.length
    else this.dropped += write.length
    if (this.#single.length > 0) {
      const bytes = Uint8Array.from(this.#single)
      this.#single = []
      this.write(bytes)
      if (!this.idle) return
    }
    const waiter = this.#waiter
    this.#waiter = undefined
    waiter?.()
    // The waiter may be of before a reset: then it writes nothing, and others want to know.
    if (this.idle) this.#onIdle()
  }
}

interface Write {
  readonly length: number
}
