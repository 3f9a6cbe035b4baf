import { setImmediate as turn } from 'node:timers/promises'
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import { BlockDriver, DriverTransport, EntropyDriver, type MmioBus } from '../src/driver.ts'
import {
  BlockDevice,
  type DescriptorChain,
  EntropyDevice,
  MemoryDisk,
  MmioTransport,
  VIRTIO_MMIO_QUEUE_NOTIFY,
  type VirtioDevice,
} from '../src/index.ts'
import { GuestDouble } from './doubles/driver-guest.ts'

const BASE = 0x0200_0000

let guest: GuestDouble
beforeEach(() => {
  guest = new GuestDouble({ frames: 512 })
})

/** The bus, with accesses that a test holds back. */
class HeldBus implements MmioBus {
  /** Whether accesses stay behind one that waits, as those of one processor do. */
  ordered = false
  /** Which accesses wait, by register and direction. */
  holds: ((register: number, write: boolean) => boolean) | undefined
  readonly held: { readonly go: () => void; readonly fail: (error: Error) => void }[] = []
  #before: Promise<unknown> = Promise.resolve()

  async read(address: number | bigint, size: 1 | 2 | 4 | 8): Promise<number> {
    return await this.#access(address, false, () => guest.bus.read(address, size))
  }

  async write(address: number | bigint, value: number, size: 1 | 2 | 4 | 8): Promise<void> {
    await this.#access(address, true, () => guest.bus.write(address, value, size))
  }

  async #access<Result>(
    address: number | bigint,
    write: boolean,
    act: () => Promise<Result>,
  ): Promise<Result> {
    const before = this.ordered ? this.#before : Promise.resolve()
    const access = before.then(() => this.#pass(address, write)).then(act)
    this.#before = access.catch(() => {})
    return await access
  }

  async #pass(address: number | bigint, write: boolean): Promise<void> {
    if (this.holds?.(Number(address) - BASE, write) !== true) return
    await new Promise<void>((go, fail) => {
      this.held.push({ go, fail })
    })
  }

  /** Resolves when so many accesses wait. */
  async waiting(count: number): Promise<void> {
    while (this.held.length < count) await turn()
  }
}

function serve(device: VirtioDevice): MmioTransport {
  const transport = new MmioTransport({
    device,
    memory: guest,
    interrupt: guest.line,
    onFault: () => {},
  })
  guest.bus.slots.set(BigInt(BASE), transport)
  return transport
}

function options(bus: MmioBus = guest.bus) {
  const { line: interrupt, frames: pages, granted: dma } = guest
  return { bus, address: BASE, interrupt, pages, dma }
}

async function outcome(promise: Promise<unknown>): Promise<string> {
  return await promise.then(
    () => 'done',
    (error: unknown) =>
      error instanceof Error && 'code' in error ? String(error.code) : String(error),
  )
}

/** A block device whose requests never end by themselves. */
function stuck(): BlockDevice {
  const disk = new MemoryDisk(2 ** 20)
  const ends: (() => void)[] = []
  const device = new BlockDevice({ disk, queueSize: 16 })
  return Object.assign(device, {
    handle: () =>
      new Promise<number>((resolve) => {
        ends.push(() => resolve(0))
      }),
    stop: () => {
      for (const end of ends.splice(0)) end()
    },
  })
}

describe('every request that is outstanding ends, with a typed error', () => {
  test.each([
    [
      'throws',
      (): number => {
        throw new TypeError('a mistake')
      },
    ],
    ['rejects', (): Promise<number> => Promise.reject(new TypeError('a mistake'))],
    ['gives too much', (): number => 1_000_000],
  ] as const)('when a device %s', async (_, mistake) => {
    const device = stuck()
    const hold = device.handle.bind(device)
    let handled = 0
    serve(
      Object.assign(device, {
        handle: (chain: DescriptorChain) => {
          handled += 1
          return handled === 10 ? mistake() : hold(chain)
        },
      }),
    )
    const driver = new BlockDriver({ ...options(), queueSize: 16 })
    await driver.start()
    // Some are with the device then, and some wait in the driver.
    const reads = Array.from({ length: 30 }, () => outcome(driver.readBytes(0, 512)))
    expect(new Set(await Promise.all(reads))).toEqual(new Set(['ERR_XMC_DEVICE_NEEDS_RESET']))
    expect(handled).toBeLessThan(17)
    expect(driver.transport.state).toBe('failed')
    await driver.close()
    expect(guest.frames.takenCount).toBe(0)
  })

  test('when the host takes the device away without a word', async () => {
    const transport = serve(stuck())
    const driver = new BlockDriver({ ...options(), timeoutMilliseconds: 200 })
    await driver.start()
    const read = outcome(driver.readBytes(0, 512))
    while (transport.inFlight === 0) await turn()
    await transport.close()
    expect(await read).toBe('ERR_XMC_DEVICE_RESET')
    await driver.close().catch(() => {})
  })

  test('for whoever uses a queue of a transport: told when the device fails, and when it is reset', async () => {
    for (const how of ['fails', 'reset'] as const) {
      guest = new GuestDouble({ frames: 512 })
      const device = Object.assign(new EntropyDevice(), {
        handle: () =>
          how === 'fails' ? Promise.reject(new Error('a mistake')) : Promise.resolve(1),
      })
      serve(device)
      const transport = new DriverTransport(options())
      await transport.negotiate({ required: 0n, wanted: 0n })
      const told: string[] = []
      const queue = await transport.addQueue(0, {
        completed: () => {},
        takenBack: () => {},
        fail: (error) => told.push(Object.assign({ code: '' }, error).code),
      })
      await transport.setDriverOk()
      const frame = guest.frames.allocate(1)
      if (frame === undefined) throw new Error('no frame')
      if (how === 'fails') {
        queue.begin(1)
        queue.add(frame, 0, 16, 'from-device')
        queue.commit(0)
        while (told.length === 0) await turn()
      } else await transport.reset()
      expect(told).toEqual([
        how === 'fails' ? 'ERR_XMC_DEVICE_NEEDS_RESET' : 'ERR_XMC_DEVICE_RESET',
      ])
      await transport.close()
    }
  })
})

describe('what comes back late changes nothing', () => {
  test('a notification of before a reset that fails', async () => {
    serve(new EntropyDevice())
    const bus = new HeldBus()
    const driver = new EntropyDriver(options(bus))
    await driver.start()
    bus.holds = (register) => register === VIRTIO_MMIO_QUEUE_NOTIFY
    const before = outcome(driver.read(16))
    await bus.waiting(1)
    bus.holds = undefined
    await driver.reset()
    expect(await before).toBe('ERR_XMC_DEVICE_RESET')
    await driver.start()
    bus.held[0]?.fail(new Error('the bus was slow, and failed'))
    for (let count = 0; count < 5; count += 1) await turn()
    expect(driver.transport.state).toBe('live')
    expect(await driver.read(16)).toHaveLength(16)
    await driver.close()
  })

  test('a configuration that was read before a reset', async () => {
    const disk = new MemoryDisk(2 ** 20)
    const device = new BlockDevice({ disk })
    serve(device)
    const bus = new HeldBus()
    const driver = new BlockDriver(options(bus))
    await driver.start()
    const seen: number[] = []
    driver.onConfigurationChange(({ capacity }) => seen.push(capacity))
    bus.holds = (register, write) => !write && register >= 0x100
    disk.resize(2 ** 19)
    device.resized()
    await bus.waiting(1)
    bus.holds = undefined
    await driver.reset()
    disk.resize(2 ** 21)
    device.resized()
    await driver.start()
    for (const { go } of bus.held) go()
    for (let count = 0; count < 20; count += 1) await turn()
    expect(driver.configuration.capacity).toBe(2 ** 12)
    expect(seen).toEqual([])
    expect(driver.transport.state).toBe('live')
    await driver.close()
  })

  test.each(Array.from({ length: 24 }, (_, step) => step))(
    'a start that a reset and another start overtake, at its access %i',
    async (step) => {
      serve(new BlockDevice({ disk: new MemoryDisk(2 ** 20) }))
      const bus = new HeldBus()
      const driver = new BlockDriver(options(bus))
      let accesses = 0
      bus.ordered = true
      bus.holds = () => accesses++ === step
      const first = outcome(driver.start())
      await bus.waiting(1)
      bus.holds = undefined
      // A reset that is under way is waited for.
      const resetting = outcome(driver.reset())
      bus.held[0]?.go()
      await resetting
      const second = outcome(driver.start())
      const outcomes = [await first, await second]
      // One of them may find that the other has reset the device: never both, and never half of one.
      expect(outcomes).toContain('done')
      for (const each of outcomes) expect(['done', 'ERR_XMC_DEVICE_RESET']).toContain(each)
      expect(driver.transport.state).toBe('live')
      await driver.writeBytes(8, Buffer.alloc(512, 7))
      expect((await driver.readBytes(8, 512))[511]).toBe(7)
      await driver.close()
      expect(guest.frames.takenCount).toBe(0)
      expect(guest.grants.entries.size).toBe(0)
    },
  )

  test('a listener of the configuration that throws is a warning, and the device goes on', async () => {
    const warnings: string[] = []
    const onWarning = (warning: Error): void => void warnings.push(warning.message)
    process.on('warning', onWarning)
    onTestFinished(() => void process.off('warning', onWarning))
    const disk = new MemoryDisk(2 ** 20)
    const device = new BlockDevice({ disk })
    serve(device)
    const driver = new BlockDriver(options())
    await driver.start()
    driver.onConfigurationChange(() => {
      throw new Error('a mistake in a listener')
    })
    disk.resize(2 ** 21)
    device.resized()
    while (driver.configuration.capacity !== 2 ** 12) await turn()
    for (let count = 0; count < 5; count += 1) await turn()
    expect(warnings).toEqual([expect.stringContaining('a mistake in a listener')])
    expect(driver.transport.state).toBe('live')
    await driver.close()
  })
})
