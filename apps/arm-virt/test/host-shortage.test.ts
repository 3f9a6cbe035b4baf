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
})
