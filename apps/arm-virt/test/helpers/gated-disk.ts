import { MemoryDisk } from '@xmc/virtio'
import { type Gate, makeGate } from './gate.ts'

/** A memory disk whose requests wait until they are let through. */
export class GatedDisk extends MemoryDisk {
  /** Requests that wait. */
  held = 0
  #gate: Gate | undefined

  /** Holds the requests that come from now on. */
  hold(): void {
    this.#gate = makeGate()
  }

  /** Lets the requests that were held through, and those that come. */
  release(): void {
    this.#gate?.open()
    this.#gate = undefined
  }

  override async read(buffers: readonly Uint8Array[], position: number): Promise<void> {
    await this.#pass()
    await super.read(buffers, position)
  }

  override async write(buffers: readonly Uint8Array[], position: number): Promise<void> {
    await this.#pass()
    await super.write(buffers, position)
  }

  async #pass(): Promise<void> {
    this.held += 1
    await this.#gate?.promise
    this.held -= 1
  }
}
