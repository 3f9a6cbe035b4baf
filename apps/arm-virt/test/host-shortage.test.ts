import { guestFrame } from '@xmc/interface'
import { Hypervisor as Simulator } from '@xmc/sim'
import { BlockDevice, type BlockRequestError, MemoryDisk } from '@xmc/virtio'
import { GuestBuffer } from '@xmc/virtio/driver'
import { describe, expect, it, onTestFinished } from 'vitest'
import {
  Board,
  type BoardOptions,
  ramBanks,
  SimulatedGuest,
  SimulatedHypervisor,
} from '../src/index.ts'

const RAM = 64 * 2 ** 20

interface Shortage {
  readonly board: BoardOptions
  /** Frames of map-track of the control domain, for 255 mappings and 256 for each more. */
  readonly mapTrackFrames?: number
}

/** Reads `requests` times at once into `pages` buffers of a page each, and tells what came of it. */
async function readAll(
  { board: options, mapTrackFrames }: Shortage,
  requests: number,
  pages: number,
) {
  const simulator = new Simulator({ maximumMaptrackFrames: mapTrackFrames })
  onTestFinished(() => simulator.close())
  const domain = simulator.createDomain({ memoryBytes: RAM, ramBase: 0x40000, vcpus: 1 })
  const hypervisor = SimulatedHypervisor.attach(simulator, domain, { ram: ramBanks(RAM) })
  const errors: BlockRequestError[] = []
  const disk = new MemoryDisk(Uint8Array.from({ length: 2 ** 20 }, (_, at) => at % 251))
  const device = new BlockDevice({ disk, onError: (error) => errors.push(error) })
  const board = Board.open(hypervisor, { devices: [device], ...options })
  const guest = new SimulatedGuest(hypervisor, { addressing: board.configuration.addressing })
  const driver = guest.blockDriver(0)
  await driver.start()
  const reads = Array.from({ length: requests }, async () => {
    const buffers = Array.from({ length: pages }, () => new GuestBuffer(guest.pages, 4096))
    await driver.read(
      0,
      buffers.map((buffer) => ({ buffer, offset: 0, length: 4096 })),
    )
    return buffers.every(({ bytes }, page) => bytes[4] === (page * 4096 + 4) % 251)
  })
  const outcomes = await Promise.allSettled(reads)
  const right = outcomes.filter((outcome) => outcome.status === 'fulfilled' && outcome.value)
  await driver.close()
  await board.close()
  expect(hypervisor.leftovers()).toEqual([])
  return { right: right.length, errors }
}

describe('a host with less room than the requests in flight need', () => {
  it.each([
    ['a window of 256 grants', { board: { grantWindowBytes: 2 ** 20 } }],
    [
      'a window of 256 grants, mapped without blocking',
      { board: { grantWindowBytes: 2 ** 20, mapping: 'asynchronous' } },
    ],
    [
      'a window of 3 MiB for foreign memory',
      { board: { addressing: 'foreign', foreignWindowBytes: 3 * 2 ** 20 } },
    ],
    ['255 mappings in its map-track table', { board: {}, mapTrackFrames: 1 }],
    [
      '255 mappings in its map-track table, mapped without blocking',
      { board: { mapping: 'asynchronous' }, mapTrackFrames: 1 },
    ],
  ] as const)('%s: serves all of them, some later', async (_what, shortage) => {
    const { right, errors } = await readAll(shortage, 6, 100)
    expect(errors).toEqual([])
    expect(right).toBe(6)
  })

  it('fails what could never fit, and names the limit instead of blaming the driver', async () => {
    const { right, errors } = await readAll({ board: { grantWindowBytes: 2 ** 19 } }, 2, 200)
    expect(right).toBe(0)
    expect(errors).toHaveLength(2)
    for (const { message } of errors) {
      expect(message).toContain('in a window of 128')
      expect(message).toContain('make the window larger')
      expect(message).not.toContain('the driver has to')
    }
  })

  it.each([
    ['one disk', 1, 'synchronous'],
    ['one disk, mapped without blocking', 1, 'asynchronous'],
    ['two disks', 2, 'synchronous'],
    ['two disks, mapped without blocking', 2, 'asynchronous'],
  ] as const)(
    'serves all requests of %s, although many try at once and fail for each other',
    async (_what, disks, mapping) => {
      const hypervisor = SimulatedHypervisor.create({ memoryBytes: 512 * 2 ** 20 })
      onTestFinished(() => hypervisor.close())
      const errors: BlockRequestError[] = []
      const devices = Array.from(
        { length: disks },
        () =>
          new BlockDevice({
            disk: new MemoryDisk(2 ** 20),
            onError: (error) => errors.push(error),
          }),
      )
      const board = Board.open(hypervisor, {
        devices,
        addressing: 'foreign',
        mapping,
        foreignWindowBytes: 6 * 2 ** 20,
      })
      const guest = new SimulatedGuest(hypervisor, { addressing: 'foreign' })
      // A page in each MiB, so that a request takes 3 of the 6 slots; the rings take one or two.
      let next = 0
      const scattered = {
        allocate: () => guestFrame(0x48000 + 256 * (next++ % 256)),
        free: () => {},
        bytes: (frame: number, count: number) => hypervisor.guest.memory.view(frame, count),
      }
      const drivers = devices.map((_, slot) => guest.blockDriver(slot))
      for (const driver of drivers) await driver.start()
      const reads = drivers.flatMap((driver) =>
        Array.from({ length: 30 }, () => {
          const segments = Array.from({ length: 3 }, () => ({
            buffer: new GuestBuffer(scattered, 4096),
            offset: 0,
            length: 4096,
          }))
          return driver.read(0, segments)
        }),
      )
      await Promise.all(reads)
      expect(errors).toEqual([])
      const { shares, foreign } = board.statistics
      for (const [window] of shares) expect(window?.most).toBeLessThanOrEqual(6)
      // Whoever waits tries again when something was released, not all the time.
      const refused = shares.reduce((sum, [window]) => sum + (window?.refused ?? 0), 0)
      expect(refused).toBeLessThan(1000)
      expect(foreign.misses).toBeLessThan(3000)
      for (const driver of drivers) await driver.close()
      await board.close()
    },
  )
})
