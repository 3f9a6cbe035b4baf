import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  BlockDevice,
  type DescriptorChain,
  eventPassed,
  MemoryDisk,
  TurnBudget,
  VIRTIO_BLK_F_FLUSH,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_INDIRECT_DESC,
} from '../src/index.ts'
import { EchoDevice, HoldingDevice } from './doubles/devices.ts'
import { GuestMemoryDouble } from './doubles/guest-memory.ts'
import { DATA, Machine, type TestBuffer, type TestQueue, turns } from './doubles/machine.ts'

const IN: TestBuffer = { at: DATA + 4096, length: 1, write: true }

/** A budget with so many descriptors, and a clock that stands still. */
function budgetOf(turnDescriptors: number): TurnBudget {
  return new TurnBudget({ turnDescriptors, now: () => 0 })
}

/** Offers requests as a driver with EVENT_IDX does, which notifies where avail_event was passed. */
function push(machine: Machine, queue: TestQueue, count: number): void {
  const before = machine.view.getUint16(queue.available + 2, true)
  for (let index = 0; index < count; index += 1) machine.offer(queue, 0)
  const after = (before + count) & 0xffff
  if (eventPassed(machine.availableEvent(queue), after, before)) machine.notify(queue)
}

/** The most that `count` grew within a turn of the event loop, until `done`. */
async function mostInTurn(count: () => number, done: () => boolean): Promise<number> {
  let most = count()
  let before = count()
  for (let turn = 0; turn < 100_000 && !done(); turn += 1) {
    await turns(1)
    most = Math.max(most, count() - before)
    before = count()
  }
  expect(done()).toBe(true)
  return most
}

/** A device whose requests end at different times, and that is not ready from time to time. */
function changing(
  ends: readonly string[],
  closed: readonly boolean[],
  inFlight: number,
): EchoDevice {
  let handled = 0
  let asked = 0
  const device = new EchoDevice([{ size: 16, inFlight }])
  return Object.assign(device, {
    ready: () => {
      const ready = !(closed[asked % closed.length] ?? false)
      asked += 1
      if (!ready) setImmediate(() => device.host?.resume(0))
      return ready || asked > 500
    },
    handle: () => {
      const end = ends[handled % ends.length]
      handled += 1
      if (end === 'now') return 0
      if (end === 'microtask') return Promise.resolve(0)
      return turns(end === 'turn' ? 1 : 3).then(() => 0)
    },
  })
}

describe('a queue that is left is armed, or has its turn to come', () => {
  test.each([1, 2, 4, 8])(
    'as many requests as the queue of %i is long, then one more',
    async (size) => {
      const machine = new Machine(new EchoDevice())
      const queue = machine.start(size, VIRTIO_F_EVENT_IDX)
      machine.chain(queue.descriptors, 0, [IN])
      for (let round = 1; round <= 3; round += 1) {
        push(machine, queue, size)
        await turns(2)
        push(machine, queue, 1)
        await turns(2)
        expect(machine.transport.statistics.used).toBe(round * (size + 1))
      }
    },
  )

  test('requests that a block device answers at once: identity, and errors', async () => {
    for (const type of [8, 99, 4]) {
      const disk = new MemoryDisk(65_536, { readOnly: true })
      const machine = new Machine(new BlockDevice({ disk, queueSize: 4 }))
      const queue = machine.start(4, VIRTIO_F_EVENT_IDX, VIRTIO_F_INDIRECT_DESC, VIRTIO_BLK_F_FLUSH)
      machine.view.setUint32(DATA, type, true)
      machine.chain(DATA + 256, 0, [
        { at: DATA, length: 16 },
        { at: DATA + 512, length: 20, write: true },
        { at: DATA + 600, length: 1, write: true },
      ])
      const address = machine.deviceAddress(DATA + 256)
      machine.descriptor(queue.descriptors, 0, { address, length: 48, flags: 4 })
      push(machine, queue, 4)
      await turns(3)
      push(machine, queue, 1)
      await turns(3)
      expect(machine.transport.statistics.used).toBe(5)
    }
  })

  test('requests and their notification from before DRIVER_OK', async () => {
    const machine = new Machine(new EchoDevice())
    machine.negotiate(VIRTIO_F_EVENT_IDX)
    const queue = machine.enable(machine.queue(0, 4))
    machine.chain(queue.descriptors, 0, [IN])
    push(machine, queue, 2)
    machine.driverOk()
    await turns(2)
    expect(machine.usedIndex(queue)).toBe(2)
    push(machine, queue, 1)
    expect(machine.usedIndex(queue)).toBe(3)
  })

  test('an avail_event of old is not what a driver meets', async () => {
    const machine = new Machine(new EchoDevice())
    machine.negotiate(VIRTIO_F_EVENT_IDX)
    const queue = machine.enable(machine.queue(0, 4))
    machine.view.setUint16(queue.used + 4 + 8 * 4, 77, true)
    machine.driverOk()
    await turns(2)
    expect(machine.availableEvent(queue)).toBe(0)
  })

  test('at the limit of requests in flight, and while the device is not ready', async () => {
    let open = true
    const device = Object.assign(new HoldingDevice([{ size: 8, inFlight: 2 }]), {
      ready: () => open,
    })
    const machine = new Machine(device)
    const queue = machine.start(8, VIRTIO_F_EVENT_IDX)
    machine.chain(queue.descriptors, 0, [IN])
    push(machine, queue, 5)
    expect(device.held.length).toBe(2)
    expect(machine.availableEvent(queue)).toBe(2)
    open = false
    for (const { resolve } of device.held) resolve(0)
    await turns(1)
    expect(device.held.length).toBe(2)
    push(machine, queue, 1)
    open = true
    device.host?.resume(0)
    expect(device.held.length).toBe(4)
    expect(machine.availableEvent(queue)).toBe(4)
  })

  const script = fc.record({
    size: fc.constantFrom(1, 2, 4, 16),
    inFlight: fc.integer({ min: 1, max: 16 }),
    eventIndex: fc.boolean(),
    asynchronous: fc.boolean(),
    descriptors: fc.constantFrom(16, 64, 4096),
    ends: fc.array(fc.constantFrom('now', 'microtask', 'turn', 'turns'), {
      minLength: 1,
      maxLength: 9,
    }),
    closed: fc.array(fc.boolean(), { minLength: 1, maxLength: 5 }),
    rounds: fc.array(fc.record({ count: fc.integer({ min: 1, max: 16 }), wait: fc.nat(2) }), {
      minLength: 1,
      maxLength: 12,
    }),
  })

  test('whatever ends requests, and whenever: all that are offered are served', async () => {
    await fc.assert(
      fc.asyncProperty(script, async (setting) => {
        const { size, inFlight, eventIndex, asynchronous, descriptors, ends, closed } = setting
        const machine = new Machine(changing(ends, closed, Math.min(inFlight, 16)), {
          mapping: asynchronous ? 'asynchronous' : 'synchronous',
          turnBudget: budgetOf(descriptors),
        })
        const queue = machine.start(size, ...(eventIndex ? [VIRTIO_F_EVENT_IDX] : []))
        machine.chain(queue.descriptors, 0, [IN])
        let offered = 0
        for (const { count, wait } of setting.rounds) {
          const free = size - (offered - machine.transport.statistics.used)
          const now = Math.min(count, free)
          if (now > 0) {
            offered += now
            if (eventIndex) push(machine, queue, now)
            else {
              for (let index = 0; index < now; index += 1) machine.offer(queue, 0)
              machine.notify(queue)
            }
          }
          await turns(wait)
        }
        for (let turn = 0; turn < 700 && machine.transport.statistics.used < offered; turn += 1) {
          await turns(1)
        }
        expect(machine.transport.statistics.used).toBe(offered)
        expect(machine.faults).toEqual([])
        await machine.transport.close()
        expect(machine.memory.live).toBe(0)
      }),
      { numRuns: 60 },
    )
  })
})

describe('the work of a turn is bounded', () => {
  const handlers: [string, (chain: DescriptorChain) => number | Promise<number>][] = [
    ['at once', () => 0],
    ['by a microtask', () => Promise.resolve(0)],
    [
      'by many microtasks',
      async () => {
        for (let step = 0; step < 20; step += 1) await Promise.resolve()
        return 0
      },
    ],
  ]

  test.each(handlers)(
    'a guest that refills from its interrupt, requests that end %s',
    async (_, handle) => {
      const device = Object.assign(new EchoDevice(), { handle })
      const machine = new Machine(device, { turnBudget: budgetOf(64) })
      const queue = machine.start(16)
      machine.chain(queue.descriptors, 0, [IN])
      let left = 3000
      machine.onInterrupt = (high) => {
        if (!high) return
        machine.write(0x064, 1)
        const used = machine.usedIndex(queue)
        const offered = machine.view.getUint16(queue.available + 2, true)
        for (
          let free = 16 - ((offered - used) & 0xffff);
          free > 0 && left > 0;
          free -= 1, left -= 1
        ) {
          machine.offer(queue, 0)
        }
        machine.notify(queue)
      }
      machine.send(queue, [IN])
      const served = (): number => machine.transport.statistics.used
      // 64 descriptors are 64 × 4 units of work, a request of one buffer takes 8 or more.
      expect(await mostInTurn(served, () => served() === 3001)).toBeLessThan(64)
    },
  )

  test('a device that takes its time, by the clock', async () => {
    let time = 0
    const device = Object.assign(new EchoDevice(), {
      handle: async () => {
        time += 0.3
        return 0
      },
    })
    const turnBudget = new TurnBudget({ turnMicroseconds: 1000, now: () => time })
    const machine = new Machine(device, { turnBudget })
    const queue = machine.start(64)
    machine.chain(queue.descriptors, 0, [IN])
    for (let index = 0; index < 64; index += 1) machine.offer(queue, 0)
    machine.notify(queue)
    const served = (): number => machine.transport.statistics.used
    // Looked at each 64 units: 3 ms are 10 requests.
    expect(await mostInTurn(served, () => served() === 64)).toBeLessThan(20)
    expect(turnBudget.statistics.exhausted).toBeGreaterThan(3)
  })

  test.each([
    ['good', false, 'synchronous'],
    ['bad', true, 'synchronous'],
    ['good', false, 'asynchronous'],
    ['bad', true, 'asynchronous'],
  ] as const)(
    'one notification of 256 chains of 253 %s buffers (%s), %s',
    async (_, bad, mapping) => {
      const memory = new GuestMemoryDouble(64)
      const disk = new MemoryDisk(2 ** 20)
      const machine = new Machine(new BlockDevice({ disk }), {
        memory,
        mapping,
        turnBudget: budgetOf(512),
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
      const place = { at: 16 * 4096, length: 512, write: true }
      machine.chain(0, 0, [
        { at: DATA, length: 16 },
        ...Array.from({ length: 253 }, () => place),
        { at: DATA + 512, length: 1, write: true },
      ])
      if (bad) memory.withdrawn.add(16)
      let touched = 0
      memory.onMap = () => (touched += 1)
      memory.onRelease = () => (touched += 1)
      for (let index = 0; index < 256; index += 1) machine.offer(queue, 0)
      machine.notify(queue)
      const served = (): number => machine.transport.statistics.used
      const most = await mostInTurn(
        () => touched,
        () => served() === 256,
      )
      expect(most).toBeLessThan(512 * 4)
      // Of a bad chain: header, first buffer, status, and with asynchronous mapping those that were under way.
      const touches = bad ? (mapping === 'synchronous' ? 6 : 140) : 600
      expect(touched).toBeLessThan(256 * touches)
      expect(memory.bytes[DATA + 512]).toBe(bad ? 1 : 0)
      await machine.transport.close()
      expect(memory.live).toBe(0)
    },
  )

  test('one chain of 32,768 buffers: read, mapped and released in many turns', async () => {
    const memory = new GuestMemoryDouble(512)
    const device = new HoldingDevice([{ size: 32_768 }])
    const machine = new Machine(device, { memory, turnBudget: budgetOf(64) })
    machine.negotiate()
    const [available, used, place] = [200 * 4096, 240 * 4096, 400 * 4096]
    const queue = machine.enable({ index: 0, size: 32_768, descriptors: 0, available, used })
    machine.driverOk()
    machine.chain(
      0,
      0,
      Array.from({ length: 32_768 }, () => ({ at: place, length: 1, write: true })),
    )
    machine.offer(queue, 0)
    let maps = 0
    let releases = 0
    memory.onMap = () => (maps += 1)
    machine.notify(queue)
    const mapped = await mostInTurn(
      () => maps,
      () => device.held.length === 1,
    )
    expect(maps).toBe(32_768)
    expect(mapped).toBeLessThanOrEqual(64 * 4)
    memory.onRelease = () => (releases += 1)
    device.held[0]?.resolve(32_768)
    const released = await mostInTurn(
      () => releases,
      () => machine.usedIndex(queue) === 1,
    )
    expect(releases).toBe(32_768)
    // A turn and what was done before it.
    expect(released).toBeLessThanOrEqual(2 * 64 * 4)
    expect(machine.transport.statistics.postponed).toBeGreaterThan(100)
  })

  test.each(['synchronous', 'asynchronous'] as const)(
    'one buffer in 5000 pieces, %s',
    async (mapping) => {
      const memory = new GuestMemoryDouble(64)
      const machine = new Machine(new EchoDevice(), { memory, mapping, turnBudget: budgetOf(64) })
      const queue = machine.start(4)
      await turns(3)
      memory.longest = 4
      let touched = 0
      memory.onMap = () => (touched += 1)
      memory.onRelease = () => (touched += 1)
      machine.send(queue, [{ at: DATA, length: 20_000, write: true }])
      const most = await mostInTurn(
        () => touched,
        () => machine.usedIndex(queue) === 1,
      )
      expect(touched).toBe(10_000)
      expect(most).toBeLessThan(64 * 4 * 3)
      expect(memory.live).toBe(3)
    },
  )

  test('what was stopped in the middle is given back by a reset, and the reset completes', async () => {
    const memory = new GuestMemoryDouble(64)
    const machine = new Machine(new EchoDevice([{ size: 1024 }]), {
      memory,
      turnBudget: budgetOf(16),
    })
    machine.negotiate()
    const [available, used] = [4 * 4096, 5 * 4096]
    const queue = machine.enable({ index: 0, size: 1024, descriptors: 0, available, used })
    machine.driverOk()
    machine.chain(
      0,
      0,
      Array.from({ length: 1000 }, () => ({ at: 16 * 4096, length: 8, write: true })),
    )
    machine.offer(queue, 0)
    machine.notify(queue)
    await turns(30)
    expect(memory.live).toBeGreaterThan(10)
    machine.write(0x070, 0)
    expect(machine.transport.draining).toBe(true)
    await machine.transport.drained()
    expect(memory.live).toBe(0)
    expect(machine.read(0x070)).toBe(0)
    expect(machine.usedIndex(queue)).toBe(0)
  })

  test('a budget is refused where nothing could be done with it', () => {
    const invalid = { code: 'ERR_XMC_ARGUMENT' }
    expect(() => new TurnBudget({ turnMicroseconds: 0 })).toThrow(expect.objectContaining(invalid))
    expect(() => new TurnBudget({ turnDescriptors: 15 })).toThrow(expect.objectContaining(invalid))
    expect(() => new TurnBudget({ turnMicroseconds: Number.NaN })).toThrow(
      expect.objectContaining(invalid),
    )
  })

  test('those that share a budget take turns', async () => {
    const turnBudget = budgetOf(16)
    const machines = [0, 1, 2].map(() => new Machine(new EchoDevice(), { turnBudget }))
    const queues = machines.map((machine) => machine.start(64))
    for (const [index, machine] of machines.entries()) {
      const queue = queues[index]
      if (queue === undefined) continue
      machine.chain(queue.descriptors, 0, [IN])
      for (let request = 0; request < 60; request += 1) machine.offer(queue, 0)
      machine.notify(queue)
    }
    await turns(6)
    const served = machines.map((machine) => machine.transport.statistics.used)
    expect(Math.min(...served)).toBeGreaterThan(4)
    expect(Math.max(...served)).toBeLessThan(60)
    await turns(40)
    expect(machines.map((machine) => machine.transport.statistics.used)).toEqual([60, 60, 60])
  })
})
