import { describe, expect, test } from 'vitest'
import { BlockDevice, MemoryDisk, TurnBudget, VIRTIO_F_INDIRECT_DESC } from '../src/index.ts'
import { EchoDevice, HoldingDevice } from './doubles/devices.ts'
import { CopyingGuestMemory, GuestMemoryDouble } from './doubles/guest-memory.ts'
import { DATA, Machine, type TestQueue, turns } from './doubles/machine.ts'

const TABLE = 256 * 4096
const NEXT = 1
const WRITE = 2

/** A queue of 8 whose descriptor 0 is a table of `count` descriptors, and what was read of it. */
function tableOf(
  count: number,
  memory: GuestMemoryDouble = new GuestMemoryDouble(1024),
  mapping: 'synchronous' | 'asynchronous' = 'synchronous',
): { machine: Machine; queue: TestQueue; read: number[]; send: () => void } {
  const turnBudget = new TurnBudget({ now: () => 0 })
  const machine = new Machine(new EchoDevice([{ size: 8 }]), { memory, mapping, turnBudget })
  const queue = machine.start(8, VIRTIO_F_INDIRECT_DESC)
  const read: number[] = []
  memory.onMap = (page, _offset, length) => {
    if (page >= TABLE / 4096) read.push(length)
  }
  const address = machine.deviceAddress(TABLE)
  machine.descriptor(queue.descriptors, 0, { address, length: 16 * count, flags: 4 })
  const send = (): void => {
    machine.offer(queue, 0)
    machine.notify(queue)
  }
  return { machine, queue, read, send }
}

function describeAt(machine: Machine, index: number, at: number, flags: number, next = 0): void {
  const address = machine.deviceAddress(at)
  machine.descriptor(TABLE, index, { address, length: 4, flags, next })
}

describe('2.7.5.3.1 a chain is as long as the queue, its table may be longer', () => {
  test.each([
    ['synchronous', () => new GuestMemoryDouble(1024)],
    ['asynchronous', () => new GuestMemoryDouble(1024)],
    ['synchronous', () => new CopyingGuestMemory(1024)],
  ] as const)('a page with a chain of 2 in a queue of 8: %s', async (mapping, make) => {
    const { machine, queue, send } = tableOf(256, make(), mapping)
    await turns(3)
    machine.put(DATA, 'ping')
    describeAt(machine, 0, DATA, NEXT, 1)
    describeAt(machine, 1, DATA + 4096, WRITE)
    send()
    await turns(4)
    expect(machine.used(queue)).toEqual([{ id: 0, length: 4 }])
    expect(machine.text(DATA + 4096, 4)).toBe('ping')
  })

  test('65,536 descriptors: the part that the chain uses is read', () => {
    const { machine, queue, read, send } = tableOf(65_536)
    machine.put(DATA, 'ping')
    describeAt(machine, 0, DATA, NEXT, 65_535)
    describeAt(machine, 65_535, DATA + 4096, WRITE)
    send()
    expect(machine.used(queue)).toEqual([{ id: 0, length: 4 }])
    expect(read).toEqual([4096, 4096])
  })

  test('a chain that jumps is bounded by the queue, not by the table', () => {
    const { machine, read, send } = tableOf(65_536)
    for (let step = 0; step < 20; step += 1)
      describeAt(machine, step * 3000, DATA, NEXT, step * 3000 + 3000)
    send()
    expect(machine.transport.fault).toMatchObject({ reason: 'chain-length' })
    expect(read.length).toBe(9)
  })

  test('so is a loop', () => {
    const { machine, send } = tableOf(1000)
    describeAt(machine, 0, DATA, NEXT, 999)
    describeAt(machine, 999, DATA, NEXT, 0)
    send()
    expect(machine.transport.fault).toMatchObject({ reason: 'chain-length' })
  })

  test('a next behind the table, and a table over 65,536 descriptors, are refused', () => {
    const { machine, send } = tableOf(300)
    describeAt(machine, 0, DATA, NEXT, 300)
    send()
    expect(machine.transport.fault).toMatchObject({ reason: 'next-index' })
    const long = tableOf(65_537)
    long.send()
    expect(long.machine.transport.fault).toMatchObject({ reason: 'indirect-length' })
  })

  test.each(['synchronous', 'asynchronous'] as const)(
    'a part that cannot be read: %s',
    async (mapping) => {
      const { machine, send } = tableOf(1024, new GuestMemoryDouble(1024), mapping)
      await turns(3)
      describeAt(machine, 0, DATA, NEXT, 600)
      machine.memory.withdrawn.add(TABLE / 4096 + 2)
      send()
      await turns(4)
      expect(machine.transport.fault).toMatchObject({ reason: 'indirect-unmapped' })
      expect(machine.memory.live).toBe(0)
    },
  )

  test('a walk that stops for a turn reads nothing twice that it has used', async () => {
    const memory = new GuestMemoryDouble(1024)
    const device = new HoldingDevice([{ size: 1024 }])
    const turnBudget = new TurnBudget({ turnDescriptors: 16, now: () => 0 })
    const machine = new Machine(device, { memory, turnBudget })
    machine.negotiate(VIRTIO_F_INDIRECT_DESC)
    const [available, used] = [4 * 4096, 5 * 4096]
    const queue = machine.enable({ index: 0, size: 1024, descriptors: 0, available, used })
    machine.driverOk()
    for (let index = 0; index < 1000; index += 1) {
      describeAt(machine, index, DATA + 4096, index === 999 ? WRITE : NEXT | WRITE, index + 1)
    }
    machine.descriptor(0, 0, { address: machine.deviceAddress(TABLE), length: 16_000, flags: 4 })
    machine.offer(queue, 0)
    machine.notify(queue)
    await turns(1)
    // The guest changes what was read.
    for (let index = 0; index < 20; index += 1) describeAt(machine, index, DATA, 0)
    while (device.held.length === 0) await turns(1)
    expect(device.held[0]?.chain).toMatchObject({ readableLength: 0, writableLength: 4000 })
    device.held[0]?.resolve(0)
    await turns(100)
    expect(machine.usedIndex(queue)).toBe(1)
    expect(memory.live).toBe(3)
  })
})

describe('what counts in flight', () => {
  test('a buffer counts 1024 bytes beside its own', async () => {
    const device = new HoldingDevice()
    const machine = new Machine(device)
    const queue = machine.start(16)
    machine.send(
      queue,
      Array.from({ length: 10 }, () => ({ at: DATA, length: 1, write: true })),
    )
    expect(machine.transport.statistics.bytesInFlight).toBe(10 * 1025)
    device.held[0]?.resolve(0)
    await turns(1)
    expect(machine.transport.statistics.bytesInFlight).toBe(0)
  })

  test('so that requests of small parts are few', () => {
    const reads: Uint8Array[][] = []
    const disk = new MemoryDisk(2 ** 20)
    disk.read = (buffers) => {
      reads.push([...buffers])
      return new Promise(() => {})
    }
    const memory = new GuestMemoryDouble(64)
    const machine = new Machine(new BlockDevice({ disk, queueSize: 256 }), {
      memory,
      bytesInFlight: 2 ** 20,
    })
    machine.negotiate()
    const queue = machine.enable({
      index: 0,
      size: 256,
      descriptors: 0,
      available: 4096,
      used: 8192,
    })
    machine.driverOk()
    const parts = Array.from({ length: 254 }, (_, index) => ({
      at: DATA + 4096,
      length: index === 0 ? 512 - 253 : 1,
      write: true,
    }))
    machine.chain(0, 0, [
      { at: DATA, length: 16 },
      ...parts,
      { at: DATA + 64, length: 1, write: true },
    ])
    for (let index = 0; index < 256; index += 1) machine.offer(queue, 0)
    machine.notify(queue)
    // 256 KiB each, for what the host keeps of 256 buffers.
    expect(reads.length).toBe(4)
    expect(machine.transport.statistics.bytesInFlight).toBe(4 * (256 * 1024 + 16 + 512 + 1))
  })
})
