import { createHash, randomFillSync } from 'node:crypto'
import { setTimeout } from 'node:timers/promises'
import { MemoryDisk } from '@xmc/virtio'
import { describe, expect, it } from 'vitest'
import { copyDisk, readDisk } from '../src/index.ts'
import { blockDevices, openWorld } from './helpers/board.ts'
import { GatedDisk } from './helpers/gated-disk.ts'

function randomBytes(length: number): Uint8Array {
  return randomFillSync(new Uint8Array(length))
}

/** A disk that notes how many requests it had at a time, and holds the first until there are `wanted`. */
class CountingDisk extends MemoryDisk {
  most = 0
  readonly #wanted: number
  #now = 0

  constructor(content: Uint8Array | number, wanted: number) {
    super(content)
    this.#wanted = wanted
  }

  override async read(buffers: readonly Uint8Array[], position: number): Promise<void> {
    await this.#during(() => super.read(buffers, position))
  }

  override async write(buffers: readonly Uint8Array[], position: number): Promise<void> {
    await this.#during(() => super.write(buffers, position))
  }

  async #during(request: () => Promise<void>): Promise<void> {
    this.#now += 1
    this.most = Math.max(this.most, this.#now)
    // The others that the guest has handed over come first, in later turns and after pauses.
    while (this.most < this.#wanted) await setTimeout(1)
    // Were there more than these, they would be here by then.
    await setTimeout(1)
    await request()
    this.#now -= 1
  }
}

describe('reading a disk', () => {
  it('keeps as many requests under way as it is told', async () => {
    const disk = new CountingDisk(randomBytes(2 ** 18), 24)
    const { board, guest } = openWorld({ devices: blockDevices(disk) })
    const driver = guest.blockDriver(0)
    await driver.start()
    await readDisk(driver, { blockBytes: 4096, inFlight: 24 })
    expect(disk.most).toBe(24)
    await driver.close()
    await board.close()
  })

  it('shows each block in order, and how much is done', async () => {
    const bytes = randomBytes(10_000)
    const disk = new MemoryDisk(Buffer.concat([bytes, new Uint8Array(240)]))
    const { board, guest } = openWorld({ devices: blockDevices(disk) })
    const driver = guest.blockDriver(0)
    await driver.start()
    const blocks: (readonly [number, number])[] = []
    const progress: (readonly [number, number])[] = []
    const result = await readDisk(driver, {
      bytes: 10_000,
      blockBytes: 4096,
      onBlock: async (position, block) => void blocks.push([position, block.length]),
      onProgress: (done, total) => void progress.push([done, total]),
    })
    expect(blocks).toEqual([
      [0, 4096],
      [4096, 4096],
      [8192, 1808],
    ])
    expect(progress).toEqual([
      [4096, 10_000],
      [8192, 10_000],
      [10_000, 10_000],
    ])
    expect(result.sha256).toBe(createHash('sha256').update(bytes).digest('hex'))
    await driver.close()
    await board.close()
  })

  it('waits for what is under way when it is ended, and gives its memory back', async () => {
    const disk = new GatedDisk(2 ** 20)
    const { board, guest } = openWorld({ devices: blockDevices(disk) })
    const driver = guest.blockDriver(0)
    await driver.start()
    const taken = guest.pages.takenCount
    const ending = new AbortController()
    const reason = new Error('enough')
    const reading = readDisk(driver, {
      blockBytes: 4096,
      signal: ending.signal,
      onProgress: (done) => {
        if (done >= 3 * 4096) ending.abort(reason)
      },
    })
    await expect(reading).rejects.toBe(reason)
    expect(driver.inFlight).toBe(0)
    expect(guest.pages.takenCount).toBe(taken)
    await driver.close()
    await board.close()
  })

  it.each([
    [{ blockBytes: 0 }, 'blockBytes'],
    [{ blockBytes: 513 }, 'blockBytes'],
    [{ blockBytes: 2 ** 21 }, 'blockBytes'],
    [{ inFlight: 0 }, 'inFlight'],
    [{ inFlight: 1.5 }, 'inFlight'],
  ])('refuses %j', async (options, field) => {
    const { board, guest } = openWorld({ devices: blockDevices(new MemoryDisk(512)) })
    const driver = guest.blockDriver(0)
    await driver.start()
    await expect(readDisk(driver, options)).rejects.toMatchObject({
      code: 'ERR_XMC_ARGUMENT',
      field,
    })
    await driver.close()
    await board.close()
  })
})

describe('copying a disk', () => {
  it('has many writes under way, and flushes at the end', async () => {
    const source = new MemoryDisk(randomBytes(2 ** 18))
    const target = new CountingDisk(2 ** 18, 9)
    const { board, guest } = openWorld({ devices: blockDevices(source, target) })
    const [reader, writer] = [guest.blockDriver(0), guest.blockDriver(1)]
    await reader.start()
    await writer.start()
    expect(await copyDisk(reader, writer, { blockBytes: 4096, inFlight: 16 })).toBe(2 ** 18)
    expect(Buffer.compare(target.bytes, source.bytes)).toBe(0)
    expect(target.most).toBeGreaterThan(8)
    expect(target.flushes).toBe(1)
    await reader.close()
    await writer.close()
    await board.close()
  })
})
