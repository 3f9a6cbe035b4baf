import type { Disk } from '@xmc/virtio'

/** A disk of zeros that takes its time. Its requests hold what they have mapped meanwhile. */
export class SlowDisk implements Disk {
  readonly size: number = 2 ** 30
  readonly readOnly: boolean = false
  readonly identity: string = 'slow'
  readonly #milliseconds: number
  readonly #open = new Set<() => void>()

  /** @param milliseconds that each request takes; `Infinity` until {@link release} */
  constructor(milliseconds: number) {
    this.#milliseconds = milliseconds
  }

  read(): Promise<void> {
    return this.#wait()
  }

  write(): Promise<void> {
    return this.#wait()
  }

  async flush(): Promise<void> {}

  /** Answers all that wait. */
  release(): void {
    for (const done of this.#open) done()
  }

  #wait(): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        this.#open.delete(done)
        resolve()
      }
      this.#open.add(done)
      if (Number.isFinite(this.#milliseconds)) setTimeout(done, this.#milliseconds)
    })
  }
}
