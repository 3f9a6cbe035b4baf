import { beforeEach, describe, expect, test } from 'vitest'
import {
  DriverTransport,
  type DriverTransportOptions,
  discoverTransports,
  guestFrame,
} from '../src/driver.ts'
import {
  VIRTIO_F_ACCESS_PLATFORM,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_ID_BLOCK,
  VIRTIO_ID_ENTROPY,
} from '../src/index.ts'
import { ManualDevice } from './doubles/driver-device.ts'
import { GuestDouble } from './doubles/driver-guest.ts'

const BASE = 0x0200_0000
const NOTHING = { required: 0n, wanted: 0n }

let guest: GuestDouble
let device: ManualDevice
beforeEach(() => {
  guest = new GuestDouble({ frames: 64 })
  device = new ManualDevice(guest)
  guest.bus.slots.set(BigInt(BASE), device)
})

function options(change: Partial<DriverTransportOptions> = {}): DriverTransportOptions {
  const { bus, line: interrupt, frames: pages, plain: dma } = guest
  return { bus, address: BASE, interrupt, pages, dma, timeoutMilliseconds: 120_000, ...change }
}

describe('discoverTransports', () => {
  test('4.2.2.2 finds devices in order, and passes over empty, legacy and foreign slots', async () => {
    const ignored: [number, string][] = []
    const add = (slot: number, change: Partial<ManualDevice>): void => {
      const file = Object.assign(new ManualDevice(guest), change)
      guest.bus.slots.set(BigInt(BASE + slot * 0x200), file)
    }
    add(1, { deviceId: 0 })
    add(2, { deviceId: VIRTIO_ID_ENTROPY })
    add(3, { version: 1 })
    add(4, { magic: 0x1234_5678 })
    const found = await discoverTransports(guest.bus, {
      address: BASE,
      count: 6,
      onIgnored: (slot, problem) => ignored.push([slot, problem]),
    })
    expect(found).toEqual([
      { slot: 0, address: 0x0200_0000, deviceId: VIRTIO_ID_BLOCK, vendorId: 0x1234 },
      { slot: 2, address: 0x0200_0400, deviceId: VIRTIO_ID_ENTROPY, vendorId: 0x1234 },
    ])
    expect(ignored).toEqual([
      [3, 'its version is 1, not 2'],
      [4, 'its magic value is 0x12345678, not "virt"'],
      [5, 'its magic value is 0xffffffff, not "virt"'],
    ])
  })

  test('addresses above 2^53 are bigint, and slots may lie apart', async () => {
    const address = 0xffff_0000_0000_0000n
    guest.bus.slots.set(address + 0x1000n, device)
    const found = await discoverTransports(guest.bus, { address, count: 2, stride: 0x1000 })
    expect(found).toEqual([
      { slot: 1, address: 0xffff_0000_0000_1000n, deviceId: 2, vendorId: 0x1234 },
    ])
  })

  test('a bus that fails is an error, not an empty slot', async () => {
    guest.bus.failure = new Error('data abort')
    await expect(discoverTransports(guest.bus, { address: BASE, count: 1 })).rejects.toMatchObject({
      code: 'ERR_XMC_MMIO_ACCESS',
      register: 0,
      cause: { message: 'data abort' },
    })
  })

  test('a bus that does not answer ends within the time limit', async () => {
    guest.bus.hangs = true
    await expect(
      discoverTransports(guest.bus, { address: BASE, count: 1, timeoutMilliseconds: 20 }),
    ).rejects.toMatchObject({
      code: 'ERR_XMC_DEVICE_TIMEOUT',
      operation: 'the read of register 0x0',
      milliseconds: 20,
    })
  })

  test('a count or stride that cannot be is refused', async () => {
    await expect(discoverTransports(guest.bus, { address: BASE, count: 0 })).rejects.toMatchObject({
      code: 'ERR_XMC_ARGUMENT',
      field: 'count',
    })
    await expect(
      discoverTransports(guest.bus, { address: BASE, count: 1, stride: 0x100 }),
    ).rejects.toMatchObject({ code: 'ERR_XMC_ARGUMENT', field: 'stride' })
  })
})

describe('start of a device', () => {
  test('3.1.1 and 4.2.3.2 the registers are written in order', async () => {
    device.features |= 1n << BigInt(VIRTIO_F_EVENT_IDX)
    device.queueMaximum = 8
    const transport = new DriverTransport(options())
    await transport.negotiate({ required: 0n, wanted: 1n << BigInt(VIRTIO_F_EVENT_IDX) })
    const ring = await transport.addRing(0, 32)
    await transport.setDriverOk()
    expect(ring.frame).toBe(guestFrame(0x40000))
    expect(device.log).toEqual([
      [0x070, 0],
      [0x070, 1],
      [0x070, 3],
      [0x014, 0],
      [0x014, 1],
      [0x024, 0],
      [0x020, 0x2000_0000],
      [0x024, 1],
      [0x020, 1],
      [0x070, 11],
      [0x030, 0],
      [0x038, 8],
      [0x080, 0x4000_0000],
      [0x084, 0],
      [0x090, 0x4000_0080],
      [0x094, 0],
      [0x0a0, 0x4000_1000],
      [0x0a4, 0],
      [0x044, 1],
      [0x070, 15],
    ])
    expect(transport.state).toBe('live')
  })

  test('grants: rings are given by consecutive references, and ACCESS_PLATFORM is required', async () => {
    const transport = new DriverTransport(options({ dma: guest.granted }))
    await expect(transport.negotiate(NOTHING)).rejects.toMatchObject({
      code: 'ERR_XMC_FEATURES',
      message: expect.stringContaining('feature 33'),
    })
    expect(device.status).toBe(0x80 | 3)
    device.features |= 1n << BigInt(VIRTIO_F_ACCESS_PLATFORM)
    expect(await transport.negotiate(NOTHING)).toBe(3n << 32n)
    await transport.addRing(0, 8)
    expect(device.addresses).toEqual({
      descriptors: 0x8000_0000_0000_8000n,
      driver: 0x8000_0000_0000_8080n,
      device: 0x8000_0000_0000_9000n,
    })
    expect(guest.grants.log).toEqual([
      { reference: 8, frame: 0x40000, readOnly: false },
      { reference: 9, frame: 0x40001, readOnly: false },
    ])
    await transport.close()
    expect(guest.grants.entries.size).toBe(0)
    expect(guest.frames.takenCount).toBe(0)
  })

  test('6.1 a device without VERSION_1 is refused', async () => {
    device.features = 0n
    const transport = new DriverTransport(options())
    await expect(transport.negotiate(NOTHING)).rejects.toMatchObject({
      code: 'ERR_XMC_FEATURES',
      offered: 0n,
      requested: 1n << 32n,
    })
  })

  test('6.1 plain addresses take ACCESS_PLATFORM where it is offered', async () => {
    device.features |= 1n << BigInt(VIRTIO_F_ACCESS_PLATFORM)
    expect(await new DriverTransport(options()).negotiate(NOTHING)).toBe(3n << 32n)
  })

  test('3.1.1 a device that refuses FEATURES_OK is given up as FAILED', async () => {
    device.refusesFeatures = true
    await expect(new DriverTransport(options()).negotiate(NOTHING)).rejects.toMatchObject({
      code: 'ERR_XMC_FEATURES',
    })
    expect(device.status).toBe(0x80 | 3)
  })

  test('4.2.3.2 a queue that is in use or does not exist is refused', async () => {
    const transport = new DriverTransport(options())
    await transport.negotiate(NOTHING)
    device.queueInUse = true
    await expect(transport.addRing(0, 8)).rejects.toMatchObject({
      code: 'ERR_XMC_NO_QUEUE',
      index: 0,
    })
    device.queueInUse = false
    device.queueMaximum = 0
    await expect(transport.addRing(1, 8)).rejects.toMatchObject({
      code: 'ERR_XMC_NO_QUEUE',
      index: 1,
    })
    expect(guest.frames.takenCount).toBe(0)
  })

  test('a queue size that is no power of 2 is refused', async () => {
    const transport = new DriverTransport(options())
    await transport.negotiate(NOTHING)
    for (const size of [0, 3, 65_536, 1.5]) {
      await expect(transport.addRing(0, size)).rejects.toMatchObject({ code: 'ERR_XMC_ARGUMENT' })
    }
  })

  test('a guest without memory for the ring says so, and keeps nothing', async () => {
    const transport = new DriverTransport(options())
    await transport.negotiate(NOTHING)
    guest.frames.allocate(63)
    await expect(transport.addRing(0, 8)).rejects.toMatchObject({
      code: 'ERR_XMC_GUEST_MEMORY_EXHAUSTED',
      count: 2,
    })
    expect(guest.frames.freeCount).toBe(1)
  })

  test('identify says what is there', async () => {
    const transport = new DriverTransport(options())
    expect(await transport.identify()).toEqual({ deviceId: 2, vendorId: 0x1234 })
    await expect(transport.identify(VIRTIO_ID_ENTROPY)).rejects.toMatchObject({
      code: 'ERR_XMC_NO_DEVICE',
      message: expect.stringContaining('its device id is 2, not 4'),
    })
    device.deviceId = 0
    await expect(transport.identify()).rejects.toMatchObject({ code: 'ERR_XMC_NO_DEVICE' })
  })

  test('calls out of order are refused', async () => {
    const transport = new DriverTransport(options())
    await expect(transport.setDriverOk()).rejects.toMatchObject({
      code: 'ERR_XMC_DEVICE_NOT_STARTED',
    })
  })

  test('a time limit that is none is refused', () => {
    for (const timeoutMilliseconds of [0, -1, Number.NaN, 2 ** 31]) {
      expect(() => new DriverTransport(options({ timeoutMilliseconds }))).toThrow(
        'timeoutMilliseconds: expected a number from 1 to 2147483647, or Infinity',
      )
    }
  })
})

describe('configuration', () => {
  test('2.5.1 fields that belong together are read again when the generation changed', async () => {
    const transport = new DriverTransport(options())
    let reads = 0
    const value = await transport.readConfiguration(async (registers) => {
      reads++
      if (reads === 1) device.generation++
      device.configuration[0] = reads
      return await registers.readConfiguration(0, 1)
    })
    expect([reads, value]).toEqual([2, 2])
  })

  test('2.5.1 a configuration that never settles is an error', async () => {
    const transport = new DriverTransport(options())
    const read = transport.readConfiguration(async () => {
      device.generation++
    })
    await expect(read).rejects.toMatchObject({ code: 'ERR_XMC_DEVICE_PROTOCOL', section: '2.5.1' })
  })
})

describe('reset', () => {
  test('2.4.2 it is over when the status reads 0', async () => {
    const transport = new DriverTransport(options())
    await transport.negotiate(NOTHING)
    await transport.addRing(0, 8)
    device.resetTakes = 3
    await transport.reset()
    expect(device.resetTakes).toBe(0)
    expect(transport.state).toBe('reset')
    expect(guest.frames.takenCount).toBe(0)
    expect(transport.statistics.resets).toBe(2)
  })

  test('a device that is never reset ends in a time limit, keeps its memory, and can be tried again', async () => {
    const transport = new DriverTransport(options({ timeoutMilliseconds: 40 }))
    await transport.negotiate(NOTHING)
    await transport.addRing(0, 8)
    device.resetTakes = Number.POSITIVE_INFINITY
    await expect(transport.reset()).rejects.toMatchObject({
      code: 'ERR_XMC_DEVICE_TIMEOUT',
      operation: 'the reset',
    })
    expect(transport.state).toBe('failed')
    expect(guest.frames.takenCount).toBe(2)
    device.resetTakes = 0
    await transport.reset()
    expect(transport.state).toBe('reset')
    expect(guest.frames.takenCount).toBe(0)
  })

  test('a call that is under way ends with ERR_XMC_DEVICE_RESET, and writes nothing after it', async () => {
    const transport = new DriverTransport(options())
    const negotiation = Promise.allSettled([transport.negotiate(NOTHING)])
    await new Promise<void>((resolve) => {
      guest.bus.onAccess = (offset) => {
        if (offset === 0x014) resolve()
      }
    })
    await transport.reset()
    expect(await negotiation).toMatchObject([{ reason: { code: 'ERR_XMC_DEVICE_RESET' } }])
    expect(device.status).toBe(0)
    expect(device.log.at(-1)).toEqual([0x070, 0])
  })

  test('two resets at a time are one', async () => {
    const transport = new DriverTransport(options())
    await Promise.all([transport.reset(), transport.reset()])
    expect(device.log).toEqual([[0x070, 0]])
  })

  test('after close every call is refused, and closing again does nothing', async () => {
    const transport = new DriverTransport(options())
    await transport.close()
    await transport.close()
    await expect(transport.reset()).rejects.toMatchObject({ code: 'ERR_XMC_CLOSED' })
    await expect(transport.identify()).rejects.toMatchObject({ code: 'ERR_XMC_CLOSED' })
    await expect(transport.addRing(0, 8)).rejects.toMatchObject({ code: 'ERR_XMC_CLOSED' })
    expect(device.log).toEqual([[0x070, 0]])
  })

  test('a start that is under way at close does not come through', async () => {
    const transport = new DriverTransport(options())
    const negotiation = Promise.allSettled([transport.negotiate(NOTHING)])
    await transport.close()
    expect(await negotiation).toMatchObject([{ reason: { code: 'ERR_XMC_CLOSED' } }])
    expect(device.log).toEqual([[0x070, 0]])
    expect(transport.state).toBe('closed')
  })

  test('a bus that fails at close is reported, and the driver is closed', async () => {
    const transport = new DriverTransport(options())
    guest.bus.failure = new Error('gone')
    await expect(transport.close()).rejects.toMatchObject({ code: 'ERR_XMC_MMIO_ACCESS' })
    expect(transport.state).toBe('closed')
  })
})

describe('rings written by hand', () => {
  test('whatever is written reaches the device, and each interrupt is heard', async () => {
    const transport = new DriverTransport(options())
    await transport.negotiate(NOTHING)
    let interrupts = 0
    const ring = await transport.addRing(0, 8, () => interrupts++)
    await transport.setDriverOk()
    ring.writer.writeDescriptor(7, 2 ** 52 - 1, 0xfff, 0xffff_ffff, 0xffff, 0xffff)
    ring.writer.setAvailableHead(0, 0xffff)
    ring.writer.availableIndex = 40_000
    await transport.notify(0)
    expect(device.notifications).toBe(1)
    expect(device.ring.readDescriptor(7)).toEqual({
      page: 2 ** 52 - 1,
      offset: 0xfff,
      length: 0xffff_ffff,
      flags: 0xffff,
      next: 0xffff,
    })
    expect(device.ring.availableHead(8)).toBe(0xffff)
    expect(device.availableCount).toBe(40_000)
    const heard = new Promise<void>((resolve) => {
      guest.bus.onAccess = (offset) => {
        if (offset === 0x064) resolve()
      }
    })
    device.interrupt(1)
    await heard
    expect(interrupts).toBe(1)
    await transport.close()
    expect(guest.frames.takenCount).toBe(0)
  })
})
