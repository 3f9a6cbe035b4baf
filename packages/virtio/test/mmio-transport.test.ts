import { describe, expect, test } from 'vitest'
import {
  EmptyTransport,
  featureSet,
  MmioTransport,
  VIRTIO_F_ACCESS_PLATFORM,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_INDIRECT_DESC,
  VIRTIO_F_RING_RESET,
  VIRTIO_F_VERSION_1,
  VirtqueueError,
} from '../src/index.ts'
import { EchoDevice, HoldingDevice } from './doubles/devices.ts'
import { GuestMemoryDouble } from './doubles/guest-memory.ts'
import { DATA, Machine, turns } from './doubles/machine.ts'

const REGISTERS = Array.from({ length: 64 }, (_, index) => index * 4)
const WRITE_ONLY = [
  0x14, 0x20, 0x24, 0x30, 0x38, 0x50, 0x64, 0x80, 0x84, 0x90, 0x94, 0xa0, 0xa4, 0xac,
]
const READ_ONLY = [0x00, 0x04, 0x08, 0x0c, 0x10, 0x34, 0x60, 0xb0, 0xb4, 0xb8, 0xbc, 0xfc]

function featuresOk(machine: Machine, low: number, high: number, beyond?: number): boolean {
  machine.write(0x070, 0)
  machine.write(0x070, 3)
  if (beyond !== undefined) {
    machine.write(0x024, 2)
    machine.write(0x020, beyond)
  }
  machine.write(0x024, 0)
  machine.write(0x020, low)
  machine.write(0x024, 1)
  machine.write(0x020, high)
  machine.write(0x070, 11)
  return (machine.read(0x070) & 8) !== 0
}

describe('registers', () => {
  test('4.2.2.1 magic, version 2, device id and vendor', () => {
    const machine = new Machine(new EchoDevice())
    expect(machine.read(0x000)).toBe(0x74726976)
    expect(machine.read(0x004)).toBe(2)
    expect(machine.read(0x008)).toBe(42)
    expect(machine.read(0x00c)).toBe(0x434d58)
    expect(machine.transport.size).toBe(0x200)
    const other = new Machine(new EchoDevice(), { vendorId: 0x1af4 })
    expect(other.read(0x00c)).toBe(0x1af4)
  })

  test('4.2.2 a transport with no device has id 0, and nothing else', () => {
    const empty = new EmptyTransport()
    expect(empty.size).toBe(0x200)
    const values = REGISTERS.map((register) => empty.read(register, 4))
    expect(values.slice(0, 4)).toEqual([0x74726976, 2, 0, 0])
    expect(values.slice(4).every((value) => value === 0)).toBe(true)
    expect(empty.read(0, 1)).toBe(0)
    expect(() => empty.write(0x70, 1, 4)).not.toThrow()
    expect(empty.read(0x70, 4)).toBe(0)
  })

  test('4.2.2.2 write-only and unknown registers read 0, and are counted', () => {
    const machine = new Machine(new EchoDevice())
    for (const register of WRITE_ONLY) expect(machine.read(register)).toBe(0)
    expect(machine.read(0x028)).toBe(0)
    expect(machine.transport.statistics.ignored).toBe(WRITE_ONLY.length + 1)
  })

  test('4.2.2.2 read-only registers keep their value', () => {
    const machine = new Machine(new EchoDevice())
    const before = READ_ONLY.map((register) => machine.read(register))
    for (const register of READ_ONLY) machine.write(register, 0x55)
    expect(READ_ONLY.map((register) => machine.read(register))).toEqual(before)
    expect(machine.transport.statistics.ignored).toBe(READ_ONLY.length)
  })

  test.each([
    [0x000, 1],
    [0x000, 2],
    [0x002, 4],
    [0x000, 8],
    [0x070, 1],
  ])('4.2.2.2 registers take aligned accesses of 4 bytes only: 0x%s of %i', (offset, size) => {
    const machine = new Machine(new EchoDevice())
    expect(machine.transport.read(offset, size)).toBe(0)
    machine.transport.write(offset, 1, size)
    expect(machine.transport.status).toBe(0)
    expect(machine.transport.statistics.ignored).toBe(2)
  })

  test('4.2.2 no shared memory: length and base are -1', () => {
    const machine = new Machine(new EchoDevice())
    machine.write(0x0ac, 0)
    for (const register of [0xb0, 0xb4, 0xb8, 0xbc]) {
      expect(machine.read(register)).toBe(0xffff_ffff)
    }
  })

  test('4.2.3.2 QueueNumMax is the size of the queue, 0 where there is none', () => {
    const machine = new Machine(new EchoDevice())
    const sizes = [0, 1, 2, 0xffff_ffff].map((index) => {
      machine.write(0x030, index)
      return machine.read(0x034)
    })
    expect(sizes).toEqual([64, 16, 0, 0])
  })
})

describe('configuration space', () => {
  test('2.5.3, 4.2.2.2 reads of 1, 2 and 4 bytes at any offset, before any status', () => {
    const { transport } = new Machine(new EchoDevice())
    expect(transport.read(0x100, 1)).toBe(1)
    expect(transport.read(0x101, 2)).toBe(0x0302)
    expect(transport.read(0x103, 4)).toBe(0x07060504)
    expect(transport.read(0x104, 4)).toBe(0x08070605)
  })

  test('2.5.1 behind its fields is padding of zeros', () => {
    const { transport } = new Machine(new EchoDevice())
    expect(transport.read(0x108, 4)).toBe(9)
    expect(transport.read(0x1fc, 4)).toBe(0)
    expect(transport.statistics.ignored).toBe(0)
  })

  test('accesses of other sizes, or over the end, read 0', () => {
    const { transport } = new Machine(new EchoDevice())
    expect(transport.read(0x100, 8)).toBe(0)
    expect(transport.read(0x100, 3)).toBe(0)
    expect(transport.read(0x1fe, 4)).toBe(0)
    expect(transport.read(0x200, 4)).toBe(0)
    expect(transport.statistics.ignored).toBe(4)
  })

  test('writes reach a device that takes them, within its fields', () => {
    const written: number[][] = []
    const device = Object.assign(new EchoDevice(), {
      writeConfiguration: (offset: number, value: number, size: number) => {
        written.push([offset, value, size])
      },
    })
    const { transport } = new Machine(device)
    transport.write(0x108, 0x1ff, 1)
    transport.write(0x100, 0xffff_ffff, 4)
    transport.write(0x102, 0x12345, 2)
    transport.write(0x106, 1, 4)
    transport.write(0x100, 1, 8)
    expect(written).toEqual([
      [8, 0xff, 1],
      [0, 0xffff_ffff, 4],
      [2, 0x2345, 2],
    ])
    expect(transport.statistics.ignored).toBe(2)
    const readOnly = new Machine(new EchoDevice())
    readOnly.transport.write(0x100, 9, 1)
    expect(readOnly.transport.read(0x100, 1)).toBe(1)
    expect(readOnly.transport.statistics.ignored).toBe(1)
  })

  test('2.5, 4.2.2.1 a change moves the generation, and notifies once the driver is ready', () => {
    const device = new EchoDevice()
    const machine = new Machine(device)
    const before = machine.read(0x0fc)
    device.configuration[0] = 77
    device.host?.configurationChanged()
    expect(machine.read(0x0fc)).toBe(before + 1)
    expect(machine.levels).toEqual([])
    machine.start(4)
    device.host?.configurationChanged()
    expect(machine.read(0x0fc)).toBe(before + 2)
    expect(machine.read(0x060)).toBe(2)
    expect(machine.levels).toEqual([true])
  })
})

describe('feature negotiation', () => {
  test('2.2 the device offers its own features, ring features, VERSION_1 and ACCESS_PLATFORM', () => {
    const device = Object.assign(new EchoDevice(), { features: featureSet(0, 5, 23, 50) })
    const machine = new Machine(device)
    machine.write(0x014, 0)
    const low = machine.read(0x010)
    machine.write(0x014, 1)
    const high = machine.read(0x010)
    expect((BigInt(high) << 32n) | BigInt(low)).toBe(
      featureSet(
        0,
        5,
        23,
        50,
        VIRTIO_F_INDIRECT_DESC,
        VIRTIO_F_EVENT_IDX,
        VIRTIO_F_VERSION_1,
        VIRTIO_F_ACCESS_PLATFORM,
      ),
    )
    machine.write(0x014, 2)
    expect(machine.read(0x010)).toBe(0)
    machine.write(0x014, 0xffff_ffff)
    expect(machine.read(0x010)).toBe(0)
  })

  test('2.2.2 FEATURES_OK is refused without VERSION_1, or for what was not offered', () => {
    const machine = new Machine(new EchoDevice())
    expect(featuresOk(machine, 0, 1)).toBe(true)
    expect(featuresOk(machine, 0, 0)).toBe(false)
    expect(featuresOk(machine, 1, 1)).toBe(false)
    expect(featuresOk(machine, 2 ** 28 + 2 ** 29, 3)).toBe(true)
    expect(featuresOk(machine, 0, 1 | (1 << (VIRTIO_F_RING_RESET - 32)))).toBe(false)
    expect(featuresOk(machine, 0, 1, 4)).toBe(false)
    expect(featuresOk(machine, 0, 1, 0)).toBe(true)
  })

  test('6.1 ACCESS_PLATFORM is a condition where the option says so', () => {
    const machine = new Machine(new EchoDevice(), { accessPlatform: 'required' })
    expect(featuresOk(machine, 0, 1)).toBe(false)
    expect(featuresOk(machine, 0, 3)).toBe(true)
  })

  test('2.2 the device learns what the driver took; later writes change nothing', () => {
    const device = new EchoDevice()
    const machine = new Machine(device)
    machine.negotiate(VIRTIO_F_EVENT_IDX)
    machine.write(0x024, 0)
    machine.write(0x020, 0xffff_ffff)
    machine.driverOk()
    expect(device.calls).toEqual(['attach', 'start 0x320000000'])
  })
})

describe('device status', () => {
  test('2.1.2 status is 0 after reset, and bits are kept as the driver sets them', () => {
    const machine = new Machine(new EchoDevice())
    expect(machine.read(0x070)).toBe(0)
    machine.write(0x070, 1)
    expect(machine.read(0x070)).toBe(1)
    machine.write(0x070, 2)
    expect(machine.read(0x070)).toBe(3)
    machine.write(0x070, 128)
    expect(machine.read(0x070)).toBe(131)
    machine.write(0x070, 0)
    expect(machine.read(0x070)).toBe(0)
  })

  test('2.1.1 the driver cannot set DEVICE_NEEDS_RESET or bits that do not exist', () => {
    const machine = new Machine(new EchoDevice())
    machine.write(0x070, 0x70)
    expect(machine.read(0x070)).toBe(0)
    machine.write(0x070, 0x100)
    expect(machine.read(0x070)).toBe(0)
  })

  test('3.1.1 FEATURES_OK needs ACKNOWLEDGE and DRIVER, DRIVER_OK needs FEATURES_OK', () => {
    const device = new EchoDevice()
    const machine = new Machine(device)
    machine.write(0x024, 1)
    machine.write(0x020, 1)
    machine.write(0x070, 9)
    expect(machine.read(0x070)).toBe(1)
    machine.write(0x070, 7)
    expect(machine.read(0x070)).toBe(3)
    expect(device.calls).toEqual(['attach'])
    machine.write(0x070, 15)
    expect(machine.read(0x070)).toBe(15)
    expect(device.calls).toEqual(['attach', 'start 0x100000000'])
  })

  test('2.1.2 no buffer is consumed before DRIVER_OK', () => {
    const machine = new Machine(new EchoDevice())
    machine.negotiate()
    const queue = machine.enable(machine.queue(0, 4))
    machine.send(queue, [{ at: DATA, length: 4, write: true }])
    expect(machine.usedIndex(queue)).toBe(0)
    expect(machine.memory.maps).toBe(0)
    machine.driverOk()
    machine.notify(queue)
    expect(machine.usedIndex(queue)).toBe(1)
  })

  test('2.1.2 after an error: DEVICE_NEEDS_RESET, a configuration interrupt, and the fault', async () => {
    const device = new EchoDevice()
    const machine = new Machine(device)
    const queue = machine.start(4)
    machine.offer(queue, 9)
    machine.notify(queue)
    expect(machine.read(0x070)).toBe(15 | 64)
    expect(machine.read(0x060)).toBe(2)
    expect(machine.levels).toEqual([true])
    expect(machine.transport.fault).toMatchObject({
      code: 'ERR_XMC_VIRTQUEUE',
      reason: 'head-index',
    })
    expect(machine.memory.live).toBe(0)
    expect(device.calls.at(-1)).toBe('stop')
    await turns(1)
    expect(machine.faults).toEqual([machine.transport.fault])
  })

  test('2.1.2 an error before DRIVER_OK interrupts when DRIVER_OK is set, and nothing starts', () => {
    const device = new EchoDevice()
    const machine = new Machine(device)
    machine.negotiate()
    machine.enable({ ...machine.queue(0, 4), size: 3 })
    expect(machine.read(0x070)).toBe(11 | 64)
    expect(machine.levels).toEqual([])
    machine.driverOk()
    expect(machine.levels).toEqual([true])
    expect(device.calls).toEqual(['attach'])
    expect(machine.memory.maps).toBe(0)
  })

  test('a broken device does nothing until it is reset, and works after that', () => {
    const machine = new Machine(new EchoDevice())
    const queue = machine.start(4)
    machine.offer(queue, 9)
    machine.notify(queue)
    machine.notify(queue)
    expect(machine.transport.statistics.faults).toBe(1)
    machine.memory.bytes.fill(0, 0, DATA)
    const again = machine.start(4)
    expect(machine.transport.fault).toBeUndefined()
    machine.put(DATA, 'ping')
    machine.send(again, [
      { at: DATA, length: 4 },
      { at: DATA + 100, length: 4, write: true },
    ])
    expect(machine.text(DATA + 100, 4)).toBe('ping')
  })
})

describe('interrupts', () => {
  test('4.2.2.1 a bit stands until it is acknowledged, and the line with it', () => {
    const device = new EchoDevice()
    const machine = new Machine(device)
    const queue = machine.start(4)
    machine.send(queue, [{ at: DATA, length: 4, write: true }])
    device.host?.configurationChanged()
    expect(machine.read(0x060)).toBe(3)
    expect(machine.levels).toEqual([true])
    machine.write(0x064, 1)
    expect(machine.read(0x060)).toBe(2)
    expect(machine.levels).toEqual([true])
    machine.write(0x064, 2)
    expect(machine.read(0x060)).toBe(0)
    expect(machine.levels).toEqual([true, false])
    machine.write(0x064, 0xffff_ffff)
    expect(machine.levels).toEqual([true, false])
    expect(machine.transport.statistics.interrupts).toBe(1)
  })

  test('a line that cannot be set is a fault that is reported, and the device goes on', async () => {
    const machine = new Machine(new EchoDevice())
    machine.onInterrupt = () => {
      throw new Error('event channel is closed')
    }
    const queue = machine.start(4)
    machine.send(queue, [{ at: DATA, length: 4, write: true }])
    expect(machine.usedIndex(queue)).toBe(1)
    expect(machine.read(0x070)).toBe(15)
    await turns(1)
    expect(machine.faults.map(String)).toEqual(['Error: event channel is closed'])
  })

  test('a guest that answers its interrupt at once is served, however deep', async () => {
    const machine = new Machine(new EchoDevice())
    const queue = machine.start(4)
    let left = 5000
    machine.onInterrupt = (high) => {
      if (!high || left === 0) return
      left -= 1
      machine.write(0x064, 1)
      machine.send(queue, [{ at: DATA, length: 4, write: true }])
    }
    machine.send(queue, [{ at: DATA, length: 4, write: true }])
    await turns(5000)
    expect(machine.usedIndex(queue)).toBe(5001)
    expect(machine.transport.inFlight).toBe(0)
  })

  test('a guest that resets the device from its interrupt finds it reset', async () => {
    const machine = new Machine(new EchoDevice())
    const queue = machine.start(4)
    machine.onInterrupt = (high) => {
      if (!high) return
      machine.onInterrupt = undefined
      machine.write(0x064, 1)
      machine.memory.bytes.fill(0, 0, DATA)
      machine.start(4)
      machine.send(queue, [{ at: DATA, length: 4, write: true }])
    }
    machine.send(queue, [{ at: DATA, length: 4, write: true }])
    await turns()
    expect(machine.usedIndex(queue)).toBe(1)
    expect(machine.read(0x070)).toBe(15)
    expect(machine.memory.live).toBe(3)
  })
})

describe('queue registers', () => {
  test.each([0, 3, 5, 128, 65536, 0xffff_ffff])('2.7 a size of %i is refused', (size) => {
    const machine = new Machine(new EchoDevice())
    machine.negotiate()
    machine.enable({ ...machine.queue(0, 4), size })
    expect(machine.read(0x044)).toBe(0)
    expect(machine.transport.fault).toMatchObject({ reason: 'queue-size', queue: 0 })
  })

  test.each([
    ['descriptors', 8],
    ['available', 1],
    ['used', 2],
  ])('2.7.1 %s that are %i bytes off are refused', (part, by) => {
    const machine = new Machine(new EchoDevice())
    machine.negotiate()
    const queue = machine.queue(0, 4)
    const off = { descriptors: 0, available: 0, used: 0, [part]: by }
    machine.enable({
      ...queue,
      descriptors: queue.descriptors + off.descriptors,
      available: queue.available + off.available,
      used: queue.used + off.used,
    })
    expect(machine.read(0x044)).toBe(0)
    expect(machine.transport.fault).toMatchObject({ reason: 'ring-address' })
  })

  test('2.7 a ring that runs over 2^64 is refused', () => {
    const machine = new Machine(new EchoDevice())
    machine.negotiate()
    machine.write(0x030, 0)
    machine.write(0x038, 4)
    for (const register of [0x80, 0x84, 0x90, 0x94, 0xa0, 0xa4]) {
      machine.write(register, 0xffff_fff0)
    }
    machine.write(0x084, 0xffff_ffff)
    machine.write(0x044, 1)
    expect(machine.transport.fault).toMatchObject({ reason: 'ring-address' })
  })

  test('4.2.2.2 registers of a ready queue, and of none, are not written', () => {
    const machine = new Machine(new EchoDevice())
    machine.negotiate()
    const queue = machine.enable(machine.queue(0, 4))
    const { ignored } = machine.transport.statistics
    machine.write(0x038, 3)
    machine.write(0x080, 1)
    machine.write(0x044, 1)
    machine.write(0x044, 2)
    machine.write(0x030, 7)
    machine.write(0x038, 4)
    machine.write(0x044, 1)
    expect(machine.read(0x044)).toBe(0)
    expect(machine.transport.statistics.ignored - ignored).toBe(6)
    machine.driverOk()
    machine.send(queue, [{ at: DATA, length: 4, write: true }])
    expect(machine.usedIndex(queue)).toBe(1)
  })

  test('4.2.2.1 the queue is not touched when QueueReady is 0', () => {
    const machine = new Machine(new EchoDevice())
    const queue = machine.start(4)
    expect(machine.memory.live).toBe(3)
    machine.write(0x030, 0)
    machine.write(0x044, 0)
    expect(machine.read(0x044)).toBe(0)
    expect(machine.memory.live).toBe(0)
    machine.send(queue, [{ at: DATA, length: 4, write: true }])
    expect(machine.usedIndex(queue)).toBe(0)
    expect(machine.transport.mappedRanges).toBe(0)
  })

  test('a queue may become ready after DRIVER_OK', () => {
    const machine = new Machine(new EchoDevice())
    machine.negotiate()
    machine.driverOk()
    const queue = machine.enable(machine.queue(1, 16))
    machine.send(queue, [{ at: DATA, length: 4, write: true }])
    expect(machine.usedIndex(queue)).toBe(1)
  })

  test('4.2.3.3 notifications of queues that are not there have no effect', () => {
    const machine = new Machine(new EchoDevice())
    machine.start(4)
    const { ignored } = machine.transport.statistics
    for (const value of [1, 2, 0xffff, 0xffff_ffff]) machine.write(0x050, value)
    expect(machine.transport.statistics.ignored - ignored).toBe(4)
    expect(machine.transport.statistics.notifications).toBe(0)
  })
})

describe('what a device may be', () => {
  test.each([
    ['features of rings', { features: featureSet(VIRTIO_F_VERSION_1) }],
    ['features over 63', { features: 1n << 64n }],
    ['a configuration space over 256 bytes', { configuration: new Uint8Array(257) }],
    ['a queue of 3', { queues: [{ size: 3 }] }],
    ['a queue of 65536', { queues: [{ size: 65536 }] }],
    ['a queue of 0', { queues: [{ size: 0 }] }],
  ])('%s: refused', (_, change) => {
    const device = Object.assign(new EchoDevice(), change)
    expect(
      () =>
        new MmioTransport({
          device,
          memory: new GuestMemoryDouble(1),
          interrupt: { setLevel: () => {} },
        }),
    ).toThrow(expect.objectContaining({ code: 'ERR_XMC_ARGUMENT' }))
  })

  test.each([
    [
      'throws',
      () => {
        throw new Error('bug')
      },
    ],
    [
      'throws nothing',
      () => {
        throw undefined
      },
    ],
    ['answers too much', () => 5],
    ['answers a fraction', () => 0.5],
    ['answers NaN', () => Number.NaN],
    ['answers less than nothing', () => -1],
    ['rejects', () => Promise.reject(new Error('bug'))],
    ['rejects with nothing', () => Promise.reject(undefined)],
    ['resolves with too much', () => Promise.resolve(99)],
  ])('a device that %s needs a reset, with nothing published or mapped', async (_, handle) => {
    const machine = new Machine(Object.assign(new EchoDevice(), { handle }))
    const queue = machine.start(4)
    machine.send(queue, [{ at: DATA, length: 4, write: true }])
    await turns(1)
    expect(machine.read(0x070)).toBe(15 | 64)
    expect(machine.usedIndex(queue)).toBe(0)
    expect(machine.memory.live).toBe(0)
    expect(machine.transport.inFlight).toBe(0)
    expect(machine.transport.fault).toBeInstanceOf(Error)
  })

  test.each(['start', 'stop', 'ready', 'writeConfiguration'])(
    'a device whose %s throws does not throw through the registers',
    async (method) => {
      const machine = new Machine(
        Object.assign(new EchoDevice(), {
          [method]: () => {
            throw new Error('bug')
          },
        }),
      )
      const queue = machine.start(4)
      machine.transport.write(0x100, 1, 4)
      machine.send(queue, [{ at: DATA, length: 4, write: true }])
      machine.write(0x070, 0)
      await turns(1)
      expect(machine.faults.length).toBeGreaterThan(0)
      expect(machine.memory.live).toBe(0)
      expect(machine.read(0x070)).toBe(0)
    },
  )
})

describe('close', () => {
  test('releases everything, and the guest cannot start it again', async () => {
    const device = new HoldingDevice()
    const machine = new Machine(device)
    const queue = machine.start(4)
    machine.send(queue, [{ at: DATA, length: 4, write: true }])
    const closed = machine.transport.close()
    expect(machine.transport.draining).toBe(true)
    expect(machine.memory.live).toBe(1)
    device.held[0]?.resolve(4)
    await closed
    expect(machine.transport.mappedRanges).toBe(0)
    expect(machine.usedIndex(queue)).toBe(0)
    machine.start(4)
    expect(machine.read(0x070)).toBe(0)
    expect(machine.memory.live).toBe(0)
    await machine.transport.close()
  })
})

describe('faults that a guest causes again and again', () => {
  test('the first five of a kind are told, and then how many there were', async () => {
    const heard: [string, number][] = []
    const machine = new Machine(new EchoDevice(), {
      onFault: (fault, repeated) => {
        heard.push([fault instanceof VirtqueueError ? fault.reason : fault.name, repeated])
      },
    })
    for (let round = 0; round < 100; round++) {
      const queue = machine.start(8)
      machine.view.setUint16(queue.available + 2, 9, true)
      machine.notify(queue)
      await turns(1)
    }
    const five = Array.from({ length: 5 }, () => ['available-index', 0])
    expect(heard).toEqual(five)
    expect(machine.transport.statistics.faults).toBe(100)
    await machine.transport.close()
    expect(heard).toEqual([...five, ['available-index', 95]])
  })
})
