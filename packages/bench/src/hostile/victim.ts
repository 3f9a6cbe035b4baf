import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Addressing, DiskMachine } from '@xmc/arm-virt'
import { FileDisk } from '@xmc/virtio'
import type { BlockDriver, GuestBuffer } from '@xmc/virtio/driver'
import { quantile } from '../median.ts'

const DISK_BYTES = 2 ** 26

/** More than what a disk tries on the calling thread: whether it does depends on how quick the last reads were. */
const BLOCK_BYTES = 65_536
const IN_FLIGHT = 8

/** How a disk does. */
export interface DiskRate {
  readonly requestsPerSecond: number
  /** Milliseconds that 99 of 100 requests take at most. */
  readonly p99: number
}

/** A well-behaved guest with a disk: a file that it reads blocks of 64 KiB of at random, 8 under way. */
export class Victim {
  readonly #driver: BlockDriver
  readonly #buffers: readonly GuestBuffer[]
  readonly #end: () => Promise<void>
  #random = 1

  /** A guest of its own. */
  static async open(addressing: Addressing): Promise<Victim> {
    const folder = await mkdtemp(join(tmpdir(), 'xmc-bench-'))
    const path = join(folder, 'disk.img')
    await writeFile(path, new Uint8Array(DISK_BYTES).fill(0x5a))
    const disk = await FileDisk.open(path, { readOnly: true })
    const machine = DiskMachine.open({ disks: [disk], addressing })
    const driver = machine.driver(0)
    await driver.start()
    return new Victim(driver, async () => {
      await driver.close()
      await machine.close()
      await disk.close()
      await rm(folder, { recursive: true })
    })
  }

  /** @param driver one that was started, of a disk of 64 MiB */
  constructor(driver: BlockDriver, end: () => Promise<void> = async () => {}) {
    this.#driver = driver
    this.#end = end
    this.#buffers = Array.from({ length: IN_FLIGHT }, () => driver.allocateBuffer(BLOCK_BYTES))
  }

  /** Reads for some time, and until what is under way then is done. */
  async run(milliseconds: number): Promise<DiskRate> {
    const start = performance.now()
    const latencies: number[] = []
    await Promise.all(
      this.#buffers.map(async (buffer) => {
        for (let began = start; began - start < milliseconds; ) {
          await this.#driver.read(this.#sector(), buffer)
          const now = performance.now()
          latencies.push(now - began)
          began = now
        }
      }),
    )
    const seconds = (performance.now() - start) / 1000
    return { requestsPerSecond: latencies.length / seconds, p99: quantile(latencies, 0.99) }
  }

  /** Ends guest and disk. */
  async close(): Promise<void> {
    await this.#end()
  }

  #sector(): number {
    this.#random = (Math.imul(this.#random, 1_664_525) + 1_013_904_223) | 0
    return ((this.#random >>> 8) % (DISK_BYTES / BLOCK_BYTES)) * (BLOCK_BYTES / 512)
  }
}
