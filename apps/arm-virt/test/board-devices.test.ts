import { setImmediate } from 'node:timers/promises'
import { EntropyDevice, MemoryDisk, TurnBudget } from '@xmc/virtio'
import { describe, expect, it, onTestFinished } from 'vitest'
import type { SimulatedHypervisor } from '../src/index.ts'
import { blockDevices, openWorld } from './helpers/board.ts'
import { GatedDisk } from './helpers/gated-disk.ts'

const STATUS = 0x70
const NOTIFY = 0x50
const ACKNOWLEDGE = 0x64

/** A store of a processor into a slot's registers; notes when it is done. */
function store(
  { guest }: SimulatedHypervisor,
  vcpu: number,
  slot: number,
  register: number,
  value: number,
): { done: boolean; readonly promise: Promise<unknown> } {
  const address = 0x0200_0000n + BigInt(slot * 0x200 + register)
  const access = { address, size: 4, write: true, data: BigInt(value), vcpu } as const
  const result = {
    done: false,
    promise: guest.ioreq.access(access).finally(() => {
      result.done = true
    }),
  }
  return result
}

async function turns(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn += 1) await setImmediate()
}

describe('a disk that hangs while it is reset', () => {
  it('holds the processor that resets it, and no other', async () => {
    const disk = new GatedDisk(2 ** 20)
    const { board, guest, hypervisor } = openWorld({
      virtualCpus: 4,
      devices: blockDevices(disk, new MemoryDisk(2 ** 20)),
    })
    const drivers = [guest.blockDriver(0), guest.blockDriver(1)] as const
    for (const driver of drivers) await driver.start()
    disk.hold()
    const reading = drivers[0].readBytes(0, 4096).catch((error: unknown) => error)
    while (disk.held === 0) await setImmediate()

    const reset = store(hypervisor, 0, 0, STATUS, 0)
    await turns(5)
    const others = [
      store(hypervisor, 1, 1, NOTIFY, 0),
      store(hypervisor, 2, 0, ACKNOWLEDGE, 1),
    ] as const
    // What it begins has no effect before the reset is complete.
    const again = store(hypervisor, 3, 0, STATUS, 1)
    await turns(20)
    expect(others.map(({ done }) => done)).toEqual([true, true])
    expect([reset.done, again.done]).toEqual([false, false])
    expect(board.statistics.ioreq.held).toBe(2)
    disk.release()
    await Promise.all([reset.promise, again.promise])
    expect(board.transports[0]?.mappedRanges).toBe(0)
    drivers[0].transport.fail(new Error('reset by hand'))
    expect(await reading).toMatchObject({ message: 'reset by hand' })
    for (const driver of drivers) await driver.close()
    await board.close()
  })
})

/** Warnings of the process until the test ends. */
function warnings(): { readonly code: string; readonly message: string }[] {
  const seen: { code: string; message: string }[] = []
  const listener = (warning: Error & { code?: string }): void => {
    seen.push({ code: warning.code ?? '', message: warning.message })
  }
  process.on('warning', listener)
  onTestFinished(() => void process.off('warning', listener))
  return seen
}

describe('faults of a board that nobody listens to', () => {
  it('are warnings of the process with the name of the device, once for each kind', async () => {
    const seen = warnings()
    const disk = new MemoryDisk(2 ** 20)
    const devices = blockDevices(disk)
    const [device] = devices
    if (device === undefined) throw new Error('no device')
    const broken = Object.assign(device, {
      handle: () => {
        throw new TypeError('a mistake in a device')
      },
    })
    const { board, guest } = openWorld({
      devices: [new EntropyDevice(), broken],
      onFault: undefined,
    })
    const driver = guest.blockDriver(1)
    for (let round = 0; round < 3; round += 1) {
      await driver.start()
      await expect(driver.readBytes(0, 512)).rejects.toMatchObject({
        code: 'ERR_XMC_DEVICE_NEEDS_RESET',
      })
    }
    await turns(2)
    expect(seen).toEqual([
      {
        code: 'WARN_XMC_DEVICE_FAULT',
        message: 'virtio-mmio.1 (block device): a mistake in a device',
      },
    ])
    expect(board.statistics.faults).toBe(3)
    await driver.close()
    await board.close()
  })

  it('a listener that throws does not end the process', async () => {
    const seen = warnings()
    const devices = blockDevices(new MemoryDisk(2 ** 20))
    const { board, guest } = openWorld({
      devices,
      onFault: () => {
        throw new Error('a mistake in a listener')
      },
    })
    const driver = guest.blockDriver(0)
    await driver.start()
    const ring = driver.queue?.ring
    if (ring === undefined) throw new Error('no ring')
    ring.availableIndex += 0x8000
    await driver.transport.notify(0)
    while (driver.transport.failure === undefined) await setImmediate()
    expect(driver.transport.failure).toMatchObject({ code: 'ERR_XMC_DEVICE_NEEDS_RESET' })
    expect(seen.map(({ message }) => message)).toEqual([
      expect.stringContaining('a mistake in a listener'),
    ])
    await driver.close()
    await board.close()
  })
})

describe('the budget of a turn', () => {
  it('is one for all devices of a board', async () => {
    const budget = new TurnBudget({ turnDescriptors: 16, now: () => 0 })
    const disks = [new MemoryDisk(2 ** 20), new MemoryDisk(2 ** 20)]
    const { board, guest } = openWorld({ devices: blockDevices(...disks), turnBudget: budget })
    const drivers = [guest.blockDriver(0), guest.blockDriver(1)]
    for (const driver of drivers) await driver.start()
    await Promise.all(
      drivers.flatMap((driver) =>
        Array.from({ length: 50 }, (_, sector) => driver.readBytes(sector, 512)),
      ),
    )
    const { exhausted, mostInTurn } = budget.statistics
    expect(exhausted).toBeGreaterThan(20)
    // One request and one look at the clock over what is allowed.
    expect(mostInTurn).toBeLessThan(16 + 32)
    for (const { postponed } of board.statistics.transports) expect(postponed).toBeGreaterThan(0)
    for (const driver of drivers) await driver.close()
    await board.close()
  })
})
