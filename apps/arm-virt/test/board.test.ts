import { createHash, randomFillSync } from 'node:crypto'
import { PassThrough } from 'node:stream'
import { setImmediate } from 'node:timers/promises'
import { Hypervisor as Simulator } from '@xmc/sim'
import { BlockDevice, ConsoleDevice, EntropyDevice, MemoryDisk } from '@xmc/virtio'
import { EntropyDriver } from '@xmc/virtio/driver'
import { describe, expect, it, onTestFinished } from 'vitest'
import {
  type Addressing,
  Board,
  readDisk,
  SimulatedHypervisor,
  transportAddress,
} from '../src/index.ts'
import { blockDevices, openWorld } from './helpers/board.ts'
import { GatedDisk } from './helpers/gated-disk.ts'

const MODES: readonly Addressing[] = ['grants', 'foreign']

function randomDisk(bytes: number): MemoryDisk {
  return new MemoryDisk(randomFillSync(new Uint8Array(bytes)))
}

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}

describe.each(MODES)('a board whose guest uses %s', (addressing) => {
  it('serves a disk from start to end', async () => {
    const disk = randomDisk(3 * 2 ** 20 + 512)
    const { board, guest, hypervisor, faults } = openWorld({
      addressing,
      devices: blockDevices(disk),
    })
    expect(await guest.findDisks()).toEqual([
      { slot: 0, address: 0x0200_0000n, deviceId: 2, vendorId: 0x0043_4d58 },
    ])
    const driver = guest.blockDriver(0)
    await driver.start()
    const result = await readDisk(driver, { blockBytes: 64 * 1024 })
    expect(result).toEqual({ bytes: 3 * 2 ** 20 + 512, sha256: sha256(disk.bytes) })
    await driver.close()
    await board.close()
    expect(faults).toEqual([])
    expect(hypervisor.leftovers()).toEqual([])
  })

  it('serves a guest whose memory is in high RAM', async () => {
    const disk = randomDisk(2 ** 20)
    const { board, guest, hypervisor } = openWorld({
      addressing,
      memoryBytes: 3 * 2 ** 30 + 2 ** 25,
      bank: 1,
      devices: blockDevices(disk),
    })
    const driver = guest.blockDriver(0)
    await driver.start()
    expect(await readDisk(driver)).toMatchObject({ sha256: sha256(disk.bytes) })
    expect(driver.allocateBuffer(1).frame).toBeGreaterThanOrEqual(0x20_0000)
    await driver.close()
    await board.close()
    expect(hypervisor.leftovers()).toEqual([])
  })

  it('serves two disks at a time', async () => {
    const disks = [randomDisk(2 ** 20), randomDisk(2 ** 19)]
    const { board, guest } = openWorld({ addressing, devices: blockDevices(...disks) })
    const drivers = [guest.blockDriver(0), guest.blockDriver(1)]
    await Promise.all(drivers.map((driver) => driver.start()))
    const results = await Promise.all(
      drivers.map((driver) => readDisk(driver, { blockBytes: 65536 })),
    )
    expect(results.map((result) => result.sha256)).toEqual(disks.map(({ bytes }) => sha256(bytes)))
    for (const driver of drivers) await driver.close()
    await board.close()
  })

  it('maps asynchronously when that is asked for', async () => {
    const disk = randomDisk(2 ** 20)
    const { board, guest } = openWorld({
      addressing,
      mapping: 'asynchronous',
      devices: blockDevices(disk),
    })
    const driver = guest.blockDriver(0)
    await driver.start()
    expect(await readDisk(driver)).toMatchObject({ sha256: sha256(disk.bytes) })
    await driver.close()
    await board.close()
  })

  it('lets go of everything while a disk is still busy, and the guest waits', async () => {
    const disk = new GatedDisk(2 ** 20)
    const { board, guest, hypervisor } = openWorld({ addressing, devices: blockDevices(disk) })
    const driver = guest.blockDriver(0)
    await driver.start()
    disk.hold()
    const reading = driver.readBytes(0, 4096).catch((error: unknown) => error)
    while (disk.held === 0) await setImmediate()
    let reset = false
    const resetting = driver.reset().finally(() => {
      reset = true
    })
    for (let turn = 0; turn < 50; turn++) await setImmediate()
    // The guest's processor is held, so that it cannot take its memory back too early.
    expect(reset).toBe(false)
    expect(board.statistics.ioreq.held).toBe(1)
    disk.release()
    await resetting
    expect(await reading).toMatchObject({ code: 'ERR_XMC_DEVICE_RESET' })
    expect(board.transports[0]?.mappedRanges).toBe(0)
    await driver.start()
    expect(await driver.readBytes(0, 512)).toEqual(new Uint8Array(512))
    await driver.close()
    await board.close()
    expect(hypervisor.leftovers()).toEqual([])
  })

  it.each(['shutdown', 'crashed', 'destroyed'] as const)(
    'releases everything when the guest is %s with requests under way',
    async (end) => {
      const disk = new GatedDisk(2 ** 20)
      const { board, guest, hypervisor } = openWorld({ addressing, devices: blockDevices(disk) })
      const driver = guest.blockDriver(0)
      await driver.start()
      disk.hold()
      const reading = driver.readBytes(0, 4096).catch((error: unknown) => error)
      while (disk.held === 0) await setImmediate()
      if (end === 'shutdown') hypervisor.guest.shutdown()
      else if (end === 'crashed') hypervisor.guest.crash()
      else hypervisor.guest.destroy()
      expect(board.end).toBe(end)
      disk.release()
      await board.close()
      expect(hypervisor.leftovers()).toEqual([])
      expect(hypervisor.usage).toMatchObject({ mappedPages: 0, pinnedGrants: 0 })
      driver.transport.fail(new Error('the guest is gone'))
      expect(await reading).toMatchObject({ message: 'the guest is gone' })
    },
  )
})

describe('a board', () => {
  it('waits for calls that map before it closes its windows', async () => {
    const { board, hypervisor } = openWorld({ devices: [] })
    const page = board.memory.foreign.backend.page(0x40000)
    const mapping = board.memory.foreign.mapAsync(page, 0, 64).catch((error: unknown) => error)
    await board.close()
    expect(await mapping).toMatchObject({ code: 'ERR_XMC_CLOSED' })
    expect(hypervisor.leftovers()).toEqual([])
  })

  it('holds no grant when its guest is idle, but the rings', async () => {
    const { board, guest, hypervisor } = openWorld({ devices: blockDevices(randomDisk(2 ** 20)) })
    const driver = guest.blockDriver(0)
    await driver.start()
    await readDisk(driver)
    expect(hypervisor.usage.mappedPages).toBe(3)
    await driver.reset()
    expect(hypervisor.usage).toMatchObject({ mappedPages: 0, pinnedGrants: 0 })
    await board.close()
  })

  it('refuses a driver that does not use grants, unless it may', async () => {
    const { board, hypervisor, guest } = openWorld({ devices: blockDevices(new MemoryDisk(512)) })
    const { bus } = guest
    const status = async (): Promise<number> => {
      await bus.write(0x0200_0070n, 0, 4)
      await bus.write(0x0200_0070n, 3, 4)
      await bus.write(0x0200_0024n, 1, 4)
      await bus.write(0x0200_0020n, 1, 4) // VIRTIO_F_VERSION_1 alone
      await bus.write(0x0200_0070n, 11, 4)
      return await bus.read(0x0200_0070n, 4)
    }
    expect(await status()).toBe(3)
    await board.close()
    const other = Board.open(hypervisor, {
      addressing: 'foreign',
      devices: blockDevices(new MemoryDisk(512)),
    })
    expect(await status()).toBe(11)
    await other.close()
  })

  it('is the only one of its hypervisor until it is closed', async () => {
    const { board, hypervisor } = openWorld()
    const second = expect.objectContaining({
      code: 'ERR_XMC_ARGUMENT',
      field: 'hypervisor',
      message:
        'hypervisor: expected a hypervisor that has no board: close the board that it has first, got SimulatedHypervisor',
    })
    expect(() => Board.open(hypervisor)).toThrow(second)
    const closing = board.close()
    expect(() => Board.open(hypervisor)).toThrow(second)
    await closing
    const other = Board.open(hypervisor)
    await other.close()
    expect(hypervisor.leftovers()).toEqual([])
  })

  it.each([[undefined], [{}], [{ createIoreqServer: () => {} }]])(
    'refuses %o as a hypervisor',
    (hypervisor) => {
      // @ts-expect-error as a program in JavaScript may call it
      expect(() => Board.open(hypervisor)).toThrow(
        expect.objectContaining({ code: 'ERR_XMC_ARGUMENT', field: 'hypervisor' }),
      )
    },
  )

  it('refuses a device without an answer to requests, and leaves nothing of the guest', () => {
    const hypervisor = SimulatedHypervisor.create({ memoryBytes: 64 * 2 ** 20 })
    onTestFinished(() => hypervisor.close())
    const device = { deviceId: 4, features: 0n, queues: [], configuration: new Uint8Array() }
    // @ts-expect-error as a program in JavaScript may call it
    expect(() => Board.open(hypervisor, { devices: [device] })).toThrow(
      'device: expected an object with the method handle, got Object',
    )
    expect(hypervisor.leftovers()).toEqual([])
  })

  it('has transports without a device at the slots that are left', async () => {
    const { board, guest } = openWorld({
      devices: [new EntropyDevice(), new ConsoleDevice({ output: new PassThrough() })],
    })
    const read = (slot: number, register: bigint): Promise<number> =>
      guest.bus.read(transportAddress(slot) + register, 4)
    expect(await read(0, 8n)).toBe(4)
    expect(await read(1, 8n)).toBe(3)
    expect(await read(2, 8n)).toBe(0)
    expect(await read(10, 0n)).toBe(0x7472_6976)
    expect(await read(10, 8n)).toBe(0)
    await board.close()
  })

  it('answers accesses of 1, 2, 4 and 8 bytes to a configuration space', async () => {
    const { board, guest } = openWorld({ devices: blockDevices(new MemoryDisk(0x1_0200)) })
    const at = transportAddress(0) + 0x100n
    expect(await guest.bus.read(at, 1)).toBe(0x81)
    expect(await guest.bus.read(at, 2)).toBe(0x81)
    expect(await guest.bus.read(at, 4)).toBe(0x81)
    expect(await guest.bus.read(at, 8)).toBe(0x81)
    await board.close()
  })

  it('answers an access that no device takes, and goes on', async () => {
    const { board, guest, faults } = openWorld({ devices: blockDevices(new MemoryDisk(512)) })
    expect(await guest.bus.read(transportAddress(0) + 2n, 4)).toBe(0xffff_ffff)
    expect(faults).toEqual([
      { slot: undefined, error: expect.objectContaining({ code: 'ERR_XMC_INVALID_ACCESS' }) },
    ])
    expect(board.statistics).toMatchObject({ faults: 1, ioreq: { ignored: 1 } })
    expect(await guest.bus.read(transportAddress(0), 4)).toBe(0x7472_6976)
    await board.close()
  })

  it('serves devices other than disks', async () => {
    const { board, guest } = openWorld({ devices: [new EntropyDevice()] })
    const driver = new EntropyDriver(guest.deviceAt(0))
    await driver.start()
    expect(await driver.read(64)).toHaveLength(64)
    await driver.close()
    await board.close()
  })

  it('lets no device reach registers by DMA', async () => {
    const { board } = openWorld({ devices: blockDevices(new MemoryDisk(512)) })
    expect(() => board.memory.dma.mapAt(transportAddress(0), 4, true)).toThrow(
      expect.objectContaining({ code: 'ERR_XMC_UNASSIGNED' }),
    )
    expect(board.space.loadUint32At(transportAddress(0))).toBe(0x7472_6976)
    await board.close()
  })

  it('S38 drops foreign mappings, and no grant, when the guest gives memory up', async () => {
    const { board, guest, hypervisor } = openWorld({
      addressing: 'foreign',
      devices: blockDevices(randomDisk(2 ** 20)),
    })
    const driver = guest.blockDriver(0)
    await driver.start()
    await readDisk(driver)
    const warm = board.memory.foreign.statistics.entries
    expect(warm).toBeGreaterThan(1)
    const [reference = 0] = hypervisor.guest.grants.share([0x4_3000], { to: 0 })
    const grant = board.memory.grants.map(board.memory.grants.backend.page(reference), 0, 4096)
    hypervisor.guest.depopulate(0x4_2000, 16)
    while (board.statistics.ioreq.invalidations === 0) await setImmediate()
    await setImmediate()
    // What the rings lie in stays, hidden.
    expect(board.memory.foreign.statistics).toMatchObject({ invalidations: 1, entries: 1 })
    expect(board.memory.grants.statistics.entries).toBe(1)
    grant.release()
    expect((await readDisk(driver)).bytes).toBe(2 ** 20)
    await driver.close()
    await board.close()
    expect(hypervisor.leftovers()).toEqual([])
  })

  it('resets every device and forgets the guest, as for a new start', async () => {
    const { board, guest, hypervisor } = openWorld({
      addressing: 'foreign',
      devices: blockDevices(new MemoryDisk(2 ** 20), new MemoryDisk(2 ** 20)),
    })
    const drivers = [guest.blockDriver(0), guest.blockDriver(1)]
    for (const driver of drivers) await driver.start()
    await board.reset()
    expect(board.transports.map(({ status }) => status)).toEqual([0, 0])
    expect(hypervisor.usage.mappedPages).toBe(0)
    for (const driver of drivers) await driver.start()
    expect(await drivers[1]?.readBytes(0, 512)).toEqual(new Uint8Array(512))
    await board.close()
  })

  it('closes once, whoever asks', async () => {
    const { board, hypervisor } = openWorld({ devices: blockDevices(new MemoryDisk(512)) })
    const closing = board.close()
    expect(board.close()).toBe(closing)
    await closing
    expect(hypervisor.leftovers()).toEqual([])
  })

  it('reports how large its windows came out', async () => {
    const { board } = openWorld({ foreignWindowBytes: 2 ** 24, grantWindowBytes: 2 ** 22 })
    expect(board.memory.windows).toEqual([
      { cache: 'foreign', requestedBytes: 2 ** 24, bytes: 2 ** 24, reason: 'as-requested' },
      { cache: 'grants', requestedBytes: 2 ** 22, bytes: 2 ** 22, reason: 'as-requested' },
    ])
    await board.close()
  })

  it('divides its windows among its devices, and counts what each has', async () => {
    const { board } = openWorld({
      devices: blockDevices(new MemoryDisk(512), new MemoryDisk(512)),
      addressing: 'foreign',
      foreignWindowBytes: 2 ** 24,
    })
    const { users } = board.memory.dma
    // 16 slots of 1 MiB; half of them are divided.
    const held = Array.from({ length: 12 }, (_, bucket) =>
      users[0]?.map(0x40000 + bucket * 256, 0, 4096, false),
    )
    expect(() => users[0]?.map(0x40c00, 0, 4096, false)).toThrow(
      expect.objectContaining({ code: 'ERR_XMC_SHARE', user: 'virtio-mmio.0' }),
    )
    held.push(users[1]?.map(0x40c00, 0, 4096, false))
    expect(board.statistics.shares.map(([foreign]) => foreign)).toEqual([
      expect.objectContaining({ slots: 16, guaranteed: 4, used: 12, most: 12, refused: 1 }),
      expect.objectContaining({ slots: 16, guaranteed: 4, used: 1, most: 1, refused: 0 }),
    ])
    for (const mapping of held) mapping?.release(0)
    await board.close()
  })

  it('takes a smaller window where the one asked for is refused, and says so', async () => {
    const { board } = openWorld({ foreignWindowBytes: 2 ** 43, grantWindowBytes: 2 ** 22 })
    const [foreign] = board.memory.windows
    expect(foreign?.requestedBytes).toBe(2 ** 43)
    expect(foreign?.bytes).toBeLessThan(2 ** 43)
    expect(foreign?.reason).not.toBe('as-requested')
    await board.close()
  })

  it('leaves nothing behind when it cannot be built', () => {
    const hypervisor = SimulatedHypervisor.create({ memoryBytes: 2 ** 24, virtualCpus: 2 })
    const { faults } = hypervisor.simulator
    for (const fault of [{ site: 'ioreq.create' }, { site: 'event.bind', nth: 2 }] as const) {
      faults.fail({ ...fault, errno: 'ENOSPC' })
      expect(() => Board.open(hypervisor, { foreignWindowBytes: 2 ** 24 })).toThrow(
        expect.objectContaining({ code: 'ERR_XMC_SYSTEM_CALL', errnoName: 'ENOSPC' }),
      )
      expect(hypervisor.leftovers()).toEqual([])
    }
    hypervisor.close()
  })

  it('refuses a guest that has RAM where the map has none', () => {
    const simulator = new Simulator()
    const guest = simulator.createDomain({ memoryBytes: 2 ** 24, ramBase: 0x100 })
    const ram = [{ name: 'ram', address: 0x10_0000n, size: 2n ** 24n }]
    const hypervisor = SimulatedHypervisor.attach(simulator, guest, { ram })
    expect(() => Board.open(hypervisor)).toThrow(
      expect.objectContaining({ code: 'ERR_XMC_RAM_PLACE', address: 0x10_0000n }),
    )
    hypervisor.close()
    simulator.close()
  })

  it('serves a guest of an embedded hypervisor that the caller made, and leaves that open', async () => {
    const simulator = new Simulator()
    const guest = simulator.createDomain({ memoryBytes: 2 ** 24, vcpus: 2 })
    const ram = [{ name: 'ram', address: 0x4000_0000n, size: 2n ** 24n }]
    const hypervisor = SimulatedHypervisor.attach(simulator, guest, { ram, virtualCpus: 2 })
    const device = new BlockDevice({ disk: new MemoryDisk(512) })
    const board = Board.open(hypervisor, { devices: [device], foreignWindowBytes: 2 ** 24 })
    const magic = { address: transportAddress(0), size: 4, write: false } as const
    expect(await guest.ioreq.access({ ...magic, vcpu: 1 })).toBe(0x7472_6976n)
    await board.close()
    hypervisor.close()
    expect(guest.state).toBe('running')
    simulator.close()
  })
})

it('a board without a budget for foreign memory keeps nothing mapped that no request uses', async () => {
  expect(await mappedAfterReading(0)).toBe(0)
  expect(await mappedAfterReading(undefined)).toBeGreaterThan(0)
})

/** Pages that a board has mapped when all requests for its disk have ended. */
async function mappedAfterReading(foreignBudgetBytes: number | undefined): Promise<number> {
  const disk = randomDisk(2 ** 18)
  const world = openWorld({
    addressing: 'foreign',
    foreignBudgetBytes,
    devices: blockDevices(disk),
  })
  const driver = world.guest.blockDriver(0, { queueSize: 16 })
  await driver.start()
  expect(await readDisk(driver)).toMatchObject({ sha256: sha256(disk.bytes) })
  await driver.close()
  const { mappedPages } = world.hypervisor.usage
  await world.board.close()
  return mappedPages
}
