import { callAll, throwAll } from './call-all.ts'

/** Bytes for bounce buffers, and who waits for some. */
export class BounceBudget {
  readonly limit: number
  private taken = 0
  private readonly clients: Set<() => void> = new Set()

  constructor(limit: number) {
    this.limit = limit
  }

  /** Bytes in use. */
  get used(): number {
    return this.taken
  }

  /** Takes up to `length` bytes; returns how many, 0 when none are left. */
  take(length: number): number {
    const granted = Math.min(length, this.limit - this.taken)
    this.taken += granted
    return granted
  }

  /** Gives bytes back, and calls everybody who waits, once. */
  give(length: number): void {
    this.taken -= length
    if (length > 0) this.notify()
  }

  /** Calls `client` once when bytes are free: now, or with the next that are given back. */
  wait(client: () => void): () => void {
    // An object of its own: the same function may wait twice.
    const entry = (): void => client()
    this.clients.add(entry)
    if (this.taken < this.limit) this.notify()
    return () => {
      this.clients.delete(entry)
    }
  }

  private notify(): void {
    const errors: unknown[] = []
    // A copy: those that wait again while they are called wait for the next time.
    const waiting = [...this.clients]
    for (const client of waiting) {
      if (this.clients.delete(client)) callAll([client], errors)
    }
    throwAll(errors)
  }
}
