import { type Disk, MemoryDisk } from '../../src/index.ts'

/** A disk whose requests take a turn of the event loop, and of which every seventh fails. */
export class SlowDisk implements Disk {
  readonly size: number
  readonly readOnly: boolean
  readonly identity = 'slow'
  private readonly memory: MemoryDisk
  private requests = 0

  constructor(size: number, readOnly: boolean = false) {
    this.size = size
    this.readOnly = readOnly
    this.memory = new MemoryDisk(size, { readOnly })
  }

  async read(buffers: readonly Uint8Array[], position: number): Promise<void> {
    await this.turn()
    await this.memory.read(buffers, position)
  }

  async write(buffers: readonly Uint8Array[], position: number): Promise<void> {
    await this.turn()
    await this.memory.write(buffers, position)
  }

  async flush(): Promise<void> {
    await this.turn()
  }

  async discard(position: number, length: number): Promise<void> {
    await this.turn()
    await this.memory.discard(position, length)
  }

  async writeZeroes(position: number, length: number): Promise<void> {
    await this.turn()
    await this.memory.writeZeroes(position, length)
  }

  private async turn(): Promise<void> {
    this.requests += 1
    const failing = this.requests % 7 === 0
    await new Promise((resolve) => {
      setImmediate(resolve)
    })
    if (failing) throw new Error('the disk fails')
  }
}
