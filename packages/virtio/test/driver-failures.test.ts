import { setImmediate as turn } from 'node:timers/promises'
import fc from 'fast-check'
import { beforeEach, describe, expect, test } from 'vitest'
import { propertyRuns } from '../../../vitest.properties.ts'
import { BlockDriver, type BlockDriverOptions } from '../src/driver.ts'
import {
  VIRTIO_BLK_F_FLUSH,
  VIRTIO_BLK_F_SIZE_MAX,
  VIRTIO_F_ACCESS_PLATFORM,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_INDIRECT_DESC,
} from '../src/index.ts'
import { ManualDevice } from './doubles/driver-device.ts'
import { GuestDouble } from './doubles/driver-guest.ts'

const BASE = 0x0200_0000
const FEATURES = [VIRTIO_F_ACCESS_PLATFORM, VIRTIO_F_EVENT_IDX, VIRTIO_BLK_F_FLUSH]

let guest: GuestDouble
let device: ManualDevice
beforeEach(() => {
  guest = new GuestDouble({ frames: 256 })
  device = new ManualDevice(guest, FEATURES)
  device.queueMaximum = 16
  guest.bus.slots.set(BigInt(BASE), device)
})

function driverWith(options: Partial<BlockDriverOptions> = {}): BlockDriver {
  const { bus, line: interrupt, frames: pages, granted: dma } = guest
  return new BlockDriver({
    bus,
    address: BASE,
    interrupt,
    pages,
    dma,
    timeoutMilliseconds: 120_000,
    ...options,
  })
}

async function start(options: Partial<BlockDriverOptions> = {}): Promise<BlockDriver> {
  const driver = driverWith(options)
  await driver.start()
  return driver
}

/** Resolves when the device has been notified `count` times. */
async function notified(count = 1): Promise<void> {
  while (device.notifications < count) await turn()
}

/** What a promise ends with: the code of its error, or `done`. */
async function outcome(promise: Promise<unknown>): Promise<string> {
  return await promise.then(
    () => 'done',
    (error: unknown) =>
      error instanceof Error && 'code' in error ? String(error.code) : String(error),
  )
}

async function expectNothingLeft(): Promise<void> {
  expect(guest.grants.entries.size).toBe(0)
  expect(guest.frames.takenCount).toBe(0)
}

describe('a device that asks for a reset', () => {
  test('2.1.2 every request ends with ERR_XMC_DEVICE_NEEDS_RESET, and a restart helps', async () => {
    const driver = await start()
    const reads = Array.from({ length: 20 }, () => outcome(driver.readBytes(0, 512)))
    await notified()
    device.status |= 64
    device.interrupt(2)
    expect(new Set(await Promise.all(reads))).toEqual(new Set(['ERR_XMC_DEVICE_NEEDS_RESET']))
    expect(driver.transport.state).toBe('failed')
    expect(driver.transport.failure).toMatchObject({ status: 79 })
    expect(await outcome(driver.flush())).toBe('ERR_XMC_DEVICE_NEEDS_RESET')
    // The device may still write to the buffers of what it had: they are not free.
    expect(guest.frames.takenCount).toBeGreaterThan(3)
    await driver.reset()
    await expectNothingLeft()
    await driver.start()
    device.notifications = 0
    const flush = outcome(driver.flush())
    await notified()
    device.complete(device.take())
    device.interrupt(1)
    expect(await flush).toBe('done')
    await driver.close()
    await expectNothingLeft()
  })

  test('2.1.2 it is also noticed when its interrupt was lost', async () => {
    const driver = await start({ timeoutMilliseconds: 80 })
    const read = outcome(driver.readBytes(0, 512))
    await notified()
    device.status |= 64
    expect(await read).toBe('ERR_XMC_DEVICE_NEEDS_RESET')
    await driver.close()
    await expectNothingLeft()
  })
})

describe('a grant that the device still has', () => {
  test('S78 when a request completes: the driver is broken for ever', async () => {
    const driver = await start()
    const buffer = driver.allocateBuffer(512)
    const first = outcome(driver.read(0, buffer))
    const second = outcome(driver.read(1, buffer))
    await notified()
    const [chain] = device.takeAll()
    if (chain === undefined) throw new Error('no chain')
    const data = chain.descriptors[1]
    const range = guest.map(data?.page ?? 0, 0, 512, true)
    device.complete(chain)
    device.interrupt(1)
    expect(await Promise.all([first, second])).toEqual(['ERR_XMC_DMA_BROKEN', 'ERR_XMC_DMA_BROKEN'])
    range.release(512)
    expect(guest.granted.broken).toBe(true)
    expect(await outcome(driver.flush())).toBe('ERR_XMC_DMA_BROKEN')
    expect(await outcome(driver.getId())).toBe('ERR_XMC_DMA_BROKEN')
    expect(await outcome(driver.reset())).toBe('ERR_XMC_DMA_BROKEN')
    expect(await outcome(driver.start())).toBe('ERR_XMC_DMA_BROKEN')
    expect(device.status).toBe(0)
    buffer.release()
    // Leaked on purpose: ring, control pages, and the buffer the device had.
    expect(guest.frames.takenCount).toBe(2 + 2 + 1)
    expect(await outcome(driver.close())).toBe('ERR_XMC_DMA_BROKEN')
    expect(await outcome(driver.flush())).toBe('ERR_XMC_CLOSED')
  })

  test('S78 when the device is reset: a ring that it kept breaks the driver', async () => {
    const driver = await start()
    const range = guest.map(Number(device.addresses.descriptors >> 12n), 0, 16, true)
    expect(await outcome(driver.reset())).toBe('ERR_XMC_DMA_BROKEN')
    range.release(0)
    expect(driver.transport.state).toBe('failed')
    expect(await outcome(driver.start())).toBe('ERR_XMC_DMA_BROKEN')
  })

  test('S78 when the device is reset: a kept control page or table breaks the driver', async () => {
    device.features |= 1n << BigInt(VIRTIO_F_INDIRECT_DESC)
    const driver = await start({ keepControlPages: true, indirectFrom: 2 })
    const flush = outcome(driver.flush())
    await notified()
    const table = device.ring.readDescriptor(device.ring.availableHead(0))
    const range = guest.map(table.page, 0, 16, false)
    expect(await outcome(driver.reset())).toBe('ERR_XMC_DMA_BROKEN')
    range.release(0)
    expect(await flush).toBe('ERR_XMC_DEVICE_RESET')
  })

  test('S78 another device of the same guest stops at its next request', async () => {
    const driver = await start()
    guest.grants.broken = true
    expect(await outcome(driver.flush())).toBe('ERR_XMC_DMA_BROKEN')
  })
})

describe('a device against the specification', () => {
  test.each([
    { what: 'an id beyond the queue', id: 16, length: 1 },
    { what: 'an id of 32 bits', id: 0xffff_ffff, length: 1 },
    { what: 'an id that is not in flight', id: 5, length: 1 },
  ])('2.7.8 $what gives the device up', async ({ id, length }) => {
    const driver = await start()
    const flush = outcome(driver.flush())
    await notified()
    device.publish(id, length)
    device.interrupt(1)
    expect(await flush).toBe('ERR_XMC_DEVICE_PROTOCOL')
    expect(driver.transport.failure).toMatchObject({ section: '2.7.8' })
    await driver.close()
    await expectNothingLeft()
  })

  test('2.7.8 a used index that runs ahead gives the device up', async () => {
    const driver = await start()
    const flush = outcome(driver.flush())
    await notified()
    device.ring.usedIndex = 2
    device.interrupt(1)
    expect(await flush).toBe('ERR_XMC_DEVICE_PROTOCOL')
    expect(driver.transport.failure?.message).toContain(
      'used index 2 is 2 beyond the last, but 1 chains are in flight',
    )
    await driver.close()
    await expectNothingLeft()
  })

  test('2.7.8 a chain that is used twice gives the device up', async () => {
    const driver = await start()
    const flushes = [outcome(driver.flush()), outcome(driver.flush())]
    await notified()
    const chain = device.take()
    device.complete(chain)
    device.complete(chain)
    device.interrupt(1)
    expect(await Promise.all(flushes)).toEqual(['done', 'ERR_XMC_DEVICE_PROTOCOL'])
    await driver.close()
    await expectNothingLeft()
  })

  test('nothing the device writes into table or available ring changes what the driver does', async () => {
    const driver = await start()
    const reads = Array.from({ length: 12 }, () => outcome(driver.readBytes(0, 512)))
    await notified()
    const chains = device.takeAll()
    device.ring.descriptors.fill(0xff)
    device.ring.available.fill(0xff)
    for (const chain of chains) device.complete(chain)
    expect(chains.length).toBe(5)
    device.interrupt(1)
    expect(await Promise.all(reads.slice(0, 5))).toEqual(Array.from({ length: 5 }, () => 'done'))
    await driver.close()
    expect(new Set(await Promise.all(reads.slice(5)))).toEqual(new Set(['ERR_XMC_DEVICE_RESET']))
    await expectNothingLeft()
  })

  test('2.7.8 whatever the used ring holds, every request ends and a reset helps', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.integer({ min: 0, max: 20 }), fc.nat()), { maxLength: 20 }),
        fc.integer({ min: 0, max: 0xffff }),
        async (elements, index) => {
          const driver = await start()
          const requests = Array.from({ length: 20 }, () => outcome(driver.readBytes(0, 512)))
          device.notifications = 0
          await notified()
          for (const [position, [id, length]] of elements.entries()) {
            device.ring.setUsedElement(position, id, length)
          }
          device.ring.usedIndex = index
          device.interrupt(1)
          while (driver.statistics.interrupts === 0) await turn()
          await driver.close()
          expect((await Promise.all(requests)).every((code) => code !== 'done')).toBe(true)
          await expectNothingLeft()
        },
      ),
      propertyRuns(50),
    )
  })

  test('5.2.6 a status that was not written, or is unknown, fails the request alone', async () => {
    const driver = await start()
    const requests = [outcome(driver.flush()), outcome(driver.flush()), outcome(driver.flush())]
    await notified()
    const [first, second, third] = device.takeAll()
    if (!first || !second || !third) throw new Error('chains are missing')
    device.complete(first, 0xff)
    device.complete(second, 3)
    device.complete(third)
    device.interrupt(1)
    expect(await Promise.all(requests)).toEqual([
      'ERR_XMC_DEVICE_PROTOCOL',
      'ERR_XMC_DEVICE_PROTOCOL',
      'done',
    ])
    expect(driver.transport.state).toBe('live')
    await driver.close()
  })

  test('2.7.8.2 a read that succeeds with too few bytes written fails', async () => {
    const driver = await start()
    const read = driver.readBytes(0, 1024)
    await notified()
    device.complete(device.take(), 0, 1024)
    device.interrupt(1)
    await expect(read).rejects.toMatchObject({
      code: 'ERR_XMC_DEVICE_PROTOCOL',
      section: '2.7.8.2',
      message: expect.stringContaining('with 1024 bytes written, of 1025'),
    })
    await driver.close()
  })

  test('5.2.4 a limit of 0 is refused at the start', async () => {
    device.features |= 1n << BigInt(VIRTIO_BLK_F_SIZE_MAX)
    const driver = driverWith()
    await expect(driver.start()).rejects.toMatchObject({
      code: 'ERR_XMC_DEVICE_PROTOCOL',
      message: expect.stringContaining('size_max is 0'),
    })
    expect(await outcome(driver.flush())).toBe('ERR_XMC_DEVICE_NOT_STARTED')
    await driver.close()
    await expectNothingLeft()
  })

  test('4.2.3.4 an interrupt that cannot be acknowledged gives the device up', async () => {
    const driver = await start()
    const flush = outcome(driver.flush())
    await notified()
    device.ignoresAcknowledge = true
    device.interrupt(1)
    expect(await flush).toBe('ERR_XMC_DEVICE_PROTOCOL')
    expect(driver.transport.failure).toMatchObject({ section: '4.2.3.4' })
    device.ignoresAcknowledge = false
    await driver.close()
    await expectNothingLeft()
  })

  test('4.2.3.4 a spurious interrupt does nothing', async () => {
    const driver = await start()
    guest.line.setLevel(true)
    guest.line.setLevel(false)
    while (driver.statistics.spuriousInterrupts === 0) await turn()
    expect(driver.statistics).toMatchObject({ interrupts: 1, spuriousInterrupts: 1 })
    expect(driver.transport.state).toBe('live')
    await driver.close()
  })
})

describe('a device or bus that does not answer', () => {
  test('a request that is not completed ends within the time limit, and a reset gives its buffer back', async () => {
    const driver = await start({ timeoutMilliseconds: 80 })
    const buffer = driver.allocateBuffer(512)
    await expect(driver.read(0, buffer)).rejects.toMatchObject({
      code: 'ERR_XMC_DEVICE_TIMEOUT',
      operation: 'a request',
      milliseconds: 80,
      unsignalled: 0,
    })
    buffer.release()
    expect(buffer.uses).toBe(1)
    expect(guest.frames.takenCount).toBe(2 + 2 + 1)
    await driver.reset()
    expect(buffer.uses).toBe(0)
    await expectNothingLeft()
  })

  test('a completion without an interrupt is named in the error', async () => {
    const driver = await start({ timeoutMilliseconds: 80 })
    const flush = Promise.allSettled([driver.flush()])
    await notified()
    device.complete(device.take())
    const [settled] = await flush
    expect(settled).toMatchObject({
      reason: {
        code: 'ERR_XMC_DEVICE_TIMEOUT',
        unsignalled: 1,
        message: expect.stringContaining('1 requests were completed without an interrupt'),
      },
    })
    await driver.close()
  })

  test('a bus that hangs ends requests and calls within the time limit', async () => {
    const driver = await start({ timeoutMilliseconds: 80 })
    guest.bus.hangs = true
    expect(await outcome(driver.flush())).toBe('ERR_XMC_DEVICE_TIMEOUT')
    expect(await outcome(driver.reset())).toBe('ERR_XMC_DEVICE_TIMEOUT')
    guest.bus.hangs = false
    await driver.reset()
    await expectNothingLeft()
  })

  test('a bus that fails ends every request with its error as cause', async () => {
    const driver = await start({ timeoutMilliseconds: 80 })
    guest.bus.failure = new Error('the device model is gone')
    await expect(driver.flush()).rejects.toMatchObject({
      code: 'ERR_XMC_MMIO_ACCESS',
      register: 0x50,
      cause: { message: 'the device model is gone' },
    })
    expect(driver.transport.state).toBe('failed')
    guest.bus.failure = undefined
    await driver.close()
    await expectNothingLeft()
  })

  test('a bus that fails in the interrupt handler gives the device up', async () => {
    const driver = await start({ timeoutMilliseconds: 80 })
    const flush = outcome(driver.flush())
    await notified()
    guest.bus.failure = new Error('gone')
    device.interrupt(1)
    expect(await flush).toBe('ERR_XMC_MMIO_ACCESS')
    guest.bus.failure = undefined
    await driver.close()
  })

  test('without a time limit nothing ends by itself', async () => {
    const driver = await start({ timeoutMilliseconds: Number.POSITIVE_INFINITY })
    const flush = outcome(driver.flush())
    await notified()
    device.complete(device.take())
    device.interrupt(1)
    expect(await flush).toBe('done')
    await driver.close()
  })
})

describe('suppression', () => {
  test('2.7.10 without EVENT_IDX, NO_NOTIFY keeps the driver from notifying', async () => {
    device.features &= ~(1n << BigInt(VIRTIO_F_EVENT_IDX))
    const driver = await start()
    device.ring.usedFlags = 1
    const flush = outcome(driver.flush())
    await turn()
    await turn()
    expect(driver.statistics).toMatchObject({ notifies: 0, suppressedNotifies: 1 })
    device.complete(device.take())
    device.interrupt(1)
    expect(await flush).toBe('done')
    await driver.close()
  })

  test('2.7.10 with EVENT_IDX, the driver notifies when avail_event is passed', async () => {
    const driver = await start({ queueSize: 16 })
    device.ring.availableEvent = 1
    const requests = [outcome(driver.flush())]
    await turn()
    await turn()
    expect(driver.statistics).toMatchObject({ notifies: 0, suppressedNotifies: 1 })
    requests.push(outcome(driver.flush()))
    await notified()
    expect(driver.statistics).toMatchObject({ notifies: 1, suppressedNotifies: 1 })
    for (const chain of device.takeAll()) device.complete(chain)
    device.interrupt(1)
    expect(await Promise.all(requests)).toEqual(['done', 'done'])
    expect(device.ring.usedEvent).toBe(0)
    while (device.ring.usedEvent !== 2) await turn()
    await driver.close()
  })

  test('2.7.7 without EVENT_IDX, interrupts are off while one is served', async () => {
    device.features &= ~(1n << BigInt(VIRTIO_F_EVENT_IDX))
    const driver = await start()
    const flags: number[] = []
    guest.bus.onAccess = (offset) => {
      if (offset === 0x60 || offset === 0x64) flags.push(device.ring.availableFlags)
    }
    const flush = outcome(driver.flush())
    await notified()
    device.complete(device.take())
    device.interrupt(1)
    expect(await flush).toBe('done')
    while (flags.length < 2 || device.ring.availableFlags !== 0) await turn()
    expect(flags).toEqual([1, 1])
    await driver.close()
  })

  test('chains that complete while an interrupt is served need no other one', async () => {
    const driver = await start()
    const requests = [outcome(driver.flush()), outcome(driver.flush()), outcome(driver.flush())]
    await notified()
    const [first, second, third] = device.takeAll()
    if (!first || !second || !third) throw new Error('chains are missing')
    device.complete(first)
    guest.bus.onAccess = (offset) => {
      if (offset === 0x60) device.complete(second)
      if (offset === 0x64) device.complete(third)
    }
    device.interrupt(1)
    expect(await Promise.all(requests)).toEqual(['done', 'done', 'done'])
    expect(driver.statistics.interrupts).toBe(1)
    await driver.close()
  })

  test('new requests while a notification is under way are announced by one more', async () => {
    device.features &= ~(1n << BigInt(VIRTIO_F_EVENT_IDX))
    const driver = await start()
    const requests = [outcome(driver.flush())]
    await Promise.resolve()
    requests.push(outcome(driver.flush()))
    await Promise.resolve()
    requests.push(outcome(driver.flush()))
    await notified(2)
    expect(device.availableCount).toBe(3)
    for (const chain of device.takeAll()) device.complete(chain)
    device.interrupt(1)
    await Promise.all(requests)
    expect(driver.statistics.notifies).toBe(2)
    await driver.close()
  })
})

test('5.2.6.2 a device without FLUSH needs none, and is not asked', async () => {
  device.features &= ~(1n << BigInt(VIRTIO_BLK_F_FLUSH))
  const driver = await start()
  await driver.flush()
  expect(driver.statistics.requests).toBe(0)
  await driver.close()
  expect(await outcome(driver.flush())).toBe('ERR_XMC_CLOSED')
})

test('before the start there is nothing to ask', async () => {
  const driver = driverWith()
  expect(await outcome(driver.flush())).toBe('ERR_XMC_DEVICE_NOT_STARTED')
  expect(() => driver.configuration).toThrow('start()')
  expect(driver.inFlight + driver.waiting).toBe(0)
})
