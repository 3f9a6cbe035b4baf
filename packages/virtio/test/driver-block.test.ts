import { beforeEach, describe, expect, test } from 'vitest'
import { BlockDriver, type BlockDriverOptions, type DmaMapper } from '../src/driver.ts'
import {
  BlockDevice,
  type BlockDeviceOptions,
  MemoryDisk,
  MmioTransport,
  VIRTIO_F_ACCESS_PLATFORM,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_INDIRECT_DESC,
} from '../src/index.ts'
import { GuestDouble } from './doubles/driver-guest.ts'

const BASE = 0x0200_0000
const SECTORS = 1024

let guest: GuestDouble
let disk: MemoryDisk
let transport: MmioTransport
let device: BlockDevice

function attach(content: MemoryDisk, options: Partial<BlockDeviceOptions> = {}): void {
  disk = content
  device = new BlockDevice({ disk, ...options })
  transport = new MmioTransport({ device, memory: guest, interrupt: guest.line })
  guest.bus.slots.set(BigInt(BASE), transport)
}

function driverWith(options: Partial<BlockDriverOptions> = {}): BlockDriver {
  const { bus, line: interrupt, frames: pages, granted: dma } = guest
  return new BlockDriver({ bus, address: BASE, interrupt, pages, dma, ...options })
}

async function start(options: Partial<BlockDriverOptions> = {}): Promise<BlockDriver> {
  const driver = driverWith(options)
  await driver.start()
  return driver
}

/** Ends the driver, and shows that neither side has kept anything. */
async function end(driver: BlockDriver): Promise<void> {
  await driver.close()
  expect(transport.fault).toBeUndefined()
  expect(guest.mapped).toBe(0)
  expect(guest.grants.entries.size).toBe(0)
  expect(guest.frames.takenCount).toBe(0)
}

/** Bytes that differ from sector to sector. */
function pattern(length: number, seed = 0): Uint8Array {
  const bytes = new Uint8Array(length)
  for (let i = 0; i < length; i++) bytes[i] = i * 31 + (i >>> 9) * 7 + seed
  return bytes
}

beforeEach(() => {
  guest = new GuestDouble({ frames: 2048 })
  attach(new MemoryDisk(pattern(SECTORS * 512), { identity: 'disk-1' }))
})

describe.each([
  { name: 'grants', grants: true },
  { name: 'plain addresses', grants: false },
])('a block device by $name', ({ grants }) => {
  const dma = (): Partial<BlockDriverOptions> => ({ dma: grants ? guest.granted : guest.plain })

  test('5.2.6 reads, writes, flushes, discards, zeroes and identifies', async () => {
    const driver = await start(dma())
    expect(driver.configuration).toMatchObject({
      capacity: SECTORS,
      blockSize: 512,
      readOnly: false,
      flush: true,
    })
    expect(await driver.readBytes(8, 4096)).toEqual(disk.bytes.slice(4096, 8192))
    await driver.writeBytes(16, pattern(1024, 99))
    expect(disk.bytes.slice(8192, 9216)).toEqual(pattern(1024, 99))
    await driver.flush()
    expect(disk.flushes).toBe(1)
    await driver.writeZeroes(17, 2, { unmap: true })
    expect(disk.bytes.slice(8704, 9728)).toEqual(new Uint8Array(1024))
    await driver.discard(100, 8)
    expect(await driver.getId()).toBe('disk-1')
    expect(driver.statistics).toMatchObject({
      requests: 6,
      completions: 6,
      errors: 0,
      bytesRead: 4096,
      bytesWritten: 1024,
    })
    await end(driver)
  })

  test.each([
    { eventIndex: true, indirectDescriptors: true, indirectFrom: 2, held: 16 },
    { eventIndex: true, indirectDescriptors: false, held: 5 },
    { eventIndex: false, indirectDescriptors: true, held: 12 },
    { eventIndex: false, indirectDescriptors: false, held: 5 },
    { eventIndex: true, indirectDescriptors: true, keepControlPages: true, held: 12 },
    { eventIndex: true, indirectDescriptors: false, keepControlPages: true, held: 5 },
  ])('200 reads through 16 descriptors: %o', async ({ held, ...how }) => {
    const driver = await start({ ...dma(), queueSize: 16, ...how })
    const buffers = Array.from({ length: 200 }, () => driver.allocateBuffer(4096))
    const reads = buffers.map((buffer, i) => driver.read((i * 10) % (SECTORS - 8), buffer))
    expect(driver.inFlight).toBe(held)
    expect(driver.waiting).toBe(200 - held)
    await Promise.all(reads)
    for (const [i, buffer] of buffers.entries()) {
      const position = ((i * 10) % (SECTORS - 8)) * 512
      expect(Buffer.compare(buffer.bytes, disk.bytes.subarray(position, position + 4096))).toBe(0)
      buffer.release()
    }
    const { features, statistics } = driver.transport
    expect(features & (1n << BigInt(VIRTIO_F_EVENT_IDX))).toBe(how.eventIndex ? 1n << 29n : 0n)
    expect(statistics.requests).toBe(200)
    expect(statistics.bytesRead).toBe(200 * 4096)
    expect(statistics.indirectChains > 0).toBe(how.indirectDescriptors)
    expect(features & (1n << BigInt(VIRTIO_F_INDIRECT_DESC))).toBe(
      how.indirectDescriptors ? 1n << 28n : 0n,
    )
    await end(driver)
  })

  test('a scattered request of many segments, unaligned, goes and comes in one piece', async () => {
    const driver = await start(dma())
    const buffer = driver.allocateBuffer(64 * 1024)
    const segments = Array.from({ length: 32 }, (_, i) => buffer.slice(i * 2000 + 3, 1024))
    for (const [i, segment] of segments.entries()) {
      buffer.bytes.fill(i + 1, segment.offset, segment.offset + segment.length)
    }
    await driver.write(0, segments)
    for (let i = 0; i < 32; i++) {
      expect(disk.bytes.subarray(i * 1024, (i + 1) * 1024).every((byte) => byte === i + 1)).toBe(
        true,
      )
    }
    buffer.bytes.fill(0)
    await driver.read(0, segments.toReversed())
    for (const [i, segment] of segments.entries()) {
      expect(buffer.bytes[segment.offset]).toBe(32 - i)
      expect(buffer.bytes[segment.offset - 1]).toBe(0)
    }
    expect(driver.statistics.indirectChains).toBe(2)
    buffer.release()
    await end(driver)
  })

  test('a reset with requests in flight ends them, and the device starts again', async () => {
    const driver = await start(dma())
    const reads = Array.from({ length: 300 }, () => driver.readBytes(0, 4096))
    const outcomes = Promise.allSettled(reads)
    await driver.reset()
    const codes = new Set<unknown>()
    for (const outcome of await outcomes) {
      if (outcome.status === 'rejected') codes.add(outcome.reason.code)
    }
    expect([...codes]).toEqual(['ERR_XMC_DEVICE_RESET'])
    expect(guest.mapped).toBe(0)
    expect(guest.grants.entries.size).toBe(0)
    expect(guest.frames.takenCount).toBe(0)
    await expect(driver.readBytes(0, 512)).rejects.toMatchObject({
      code: 'ERR_XMC_DEVICE_NOT_STARTED',
    })
    await driver.start()
    expect(await driver.readBytes(0, 512)).toEqual(disk.bytes.slice(0, 512))
    await end(driver)
  })
})

describe('what the device may touch', () => {
  test('S77 header and written data are granted read-only, status and read data writable, each for one request', async () => {
    const driver = await start({ keepControlPages: false })
    const buffer = driver.allocateBuffer(8192)
    const ringGrants = guest.grants.entries.size
    guest.grants.log.length = 0
    await driver.write(0, buffer.slice(0x800, 4096))
    expect(guest.grants.log.map(({ readOnly }) => readOnly)).toEqual([true, true, true, false])
    expect(guest.grants.log.map(({ reference }) => reference)).toEqual(
      guest.grants.log.map((_, i) => (guest.grants.log[0]?.reference ?? 0) + i),
    )
    guest.grants.log.length = 0
    await driver.read(0, buffer)
    expect(guest.grants.log.map(({ readOnly }) => readOnly)).toEqual([true, false, false, false])
    expect(guest.grants.entries.size).toBe(ringGrants)
    buffer.release()
    await end(driver)
  })

  test('kept control pages cost one grant for each page of data', async () => {
    const driver = await start({ keepControlPages: true, indirectFrom: 2 })
    const buffer = driver.allocateBuffer(4096)
    await driver.read(0, buffer)
    guest.grants.log.length = 0
    await driver.read(8, buffer)
    await driver.write(8, buffer)
    expect(guest.grants.log.map(({ readOnly }) => readOnly)).toEqual([false, true])
    buffer.release()
    await end(driver)
  })

  test('requests wait when the grant table is full, and all come through', async () => {
    guest = new GuestDouble({ frames: 2048, references: 8 + 3 + 24 })
    attach(disk)
    const driver = await start()
    const reads = Array.from({ length: 64 }, (_, i) => driver.readBytes(i, 512))
    expect(driver.inFlight).toBe(8)
    expect(driver.waiting).toBe(56)
    const bytes = await Promise.all(reads)
    expect(Buffer.concat(bytes)).toEqual(Buffer.from(disk.bytes.subarray(0, 64 * 512)))
    expect(driver.statistics.waits).toBe(56)
    await end(driver)
  })

  test('a mapper that throws ends the request, undoes its chain, and the next one comes through', async () => {
    let refuses = false
    const dma: DmaMapper = {
      needsAccessPlatform: true,
      broken: false,
      map: (frame, offset, length, direction) => {
        if (refuses && direction === 'from-device') throw new RangeError('no such frame')
        return guest.granted.map(frame, offset, length, direction)
      },
      unmap: (page, offset) => guest.granted.unmap(page, offset),
      allocateCoherent: (frame, count) => guest.granted.allocateCoherent(frame, count),
      freeCoherent: (page) => guest.granted.freeCoherent(page),
    }
    const driver = await start({ dma })
    refuses = true
    await expect(driver.readBytes(0, 512)).rejects.toThrow('no such frame')
    refuses = false
    expect(await driver.readBytes(0, 512)).toEqual(disk.bytes.slice(0, 512))
    await end(driver)
  })

  test('a guest without memory for the control pages says so at the start, and close gives all back', async () => {
    const spare = guest.frames.freeCount - 4
    const held = guest.frames.allocate(spare)
    if (held === undefined) throw new Error('no frames')
    const driver = driverWith()
    await expect(driver.start()).rejects.toMatchObject({
      code: 'ERR_XMC_GUEST_MEMORY_EXHAUSTED',
      count: 2,
    })
    await driver.close()
    expect(guest.frames.takenCount).toBe(spare)
    expect(guest.grants.entries.size).toBe(0)
  })

  test('a request for which the grant table is too small ends with an error, and others go on', async () => {
    guest = new GuestDouble({ frames: 2048, references: 8 + 3 + 8 })
    attach(disk)
    const driver = await start()
    await expect(driver.readBytes(0, 65_536)).rejects.toMatchObject({
      code: 'ERR_XMC_DMA_EXHAUSTED',
    })
    expect(await driver.readBytes(0, 512)).toEqual(disk.bytes.slice(0, 512))
    await end(driver)
  })
})

describe('limits of the device', () => {
  test('5.2.4 segments are cut to size_max', async () => {
    attach(disk, { segmentBytes: 1024 })
    const driver = await start()
    expect(driver.configuration.maximumSegmentSize).toBe(1024)
    expect(await driver.readBytes(1, 8704)).toEqual(disk.bytes.slice(512, 512 + 8704))
    await end(driver)
  })

  test('5.2.6.1 sectors beyond the disk, odd lengths and too many segments are refused', async () => {
    attach(disk, { queueSize: 8 })
    const driver = await start()
    const buffer = driver.allocateBuffer(8192)
    const refused = { code: 'ERR_XMC_ARGUMENT' }
    await expect(driver.read(SECTORS, buffer)).rejects.toMatchObject(refused)
    await expect(driver.read(SECTORS - 15, buffer)).rejects.toMatchObject(refused)
    await expect(driver.read(-1, buffer)).rejects.toMatchObject(refused)
    await expect(driver.read(0.5, buffer)).rejects.toMatchObject(refused)
    await expect(driver.read(0, buffer.slice(0, 100))).rejects.toMatchObject(refused)
    await expect(driver.read(0, [])).rejects.toMatchObject(refused)
    await expect(driver.discard(0, 0)).rejects.toMatchObject(refused)
    await expect(driver.writeZeroes(SECTORS, 1)).rejects.toMatchObject(refused)
    const seven = Array.from({ length: 7 }, () => buffer.slice(0, 512))
    await expect(driver.read(0, seven)).rejects.toMatchObject(refused)
    await expect(
      driver.request({ type: 0, payload: 'from-device', data: seven }),
    ).rejects.toMatchObject(refused)
    expect(driver.statistics.requests).toBe(0)
    buffer.release()
    await expect(driver.read(0, buffer)).rejects.toMatchObject({ code: 'ERR_XMC_RELEASED' })
    expect(() => buffer.release()).toThrow('released')
    await end(driver)
  })

  test('a read-only disk: the driver refuses changes, and the device does when it is asked anyway', async () => {
    attach(new MemoryDisk(pattern(8192), { readOnly: true }))
    const driver = await start()
    const readOnly = { code: 'ERR_XMC_DISK_READ_ONLY' }
    await expect(driver.writeBytes(0, new Uint8Array(512))).rejects.toMatchObject(readOnly)
    await expect(driver.discard(0, 1)).rejects.toMatchObject(readOnly)
    await expect(driver.writeZeroes(0, 1)).rejects.toMatchObject(readOnly)
    const buffer = driver.allocateBuffer(512)
    await expect(
      driver.request({ type: 1, payload: 'to-device', data: buffer }),
    ).rejects.toMatchObject({ code: 'ERR_XMC_BLOCK_IO', type: 1, sector: 0 })
    buffer.release()
    expect(driver.statistics).toMatchObject({ errors: 1, bytesWritten: 0 })
    await end(driver)
  })

  test('5.2.6 raw requests: unknown types and sectors beyond the disk are the device’s errors', async () => {
    const driver = await start()
    await expect(driver.request({ type: 77 })).rejects.toMatchObject({
      code: 'ERR_XMC_BLOCK_UNSUPPORTED',
      type: 77,
    })
    const buffer = driver.allocateBuffer(512)
    await expect(
      driver.request({ type: 0, sector: 2 ** 52, payload: 'from-device', data: buffer }),
    ).rejects.toMatchObject({ code: 'ERR_XMC_BLOCK_IO', sector: 2 ** 52 })
    buffer.release()
    await end(driver)
  })
})

describe('interrupts and notifications', () => {
  test('2.7.10 requests that are made together need one notification', async () => {
    const driver = await start()
    await Promise.all(Array.from({ length: 32 }, (_, i) => driver.readBytes(i, 512)))
    expect(driver.statistics.notifies).toBe(1)
    expect(transport.statistics.notifications).toBe(1)
    expect(driver.statistics.interrupts).toBe(guest.line.rises)
    expect(driver.statistics.interrupts).toBeLessThan(32)
    await end(driver)
  })

  test('2000 requests wait in order', async () => {
    const driver = await start({ queueSize: 16 })
    const buffer = driver.allocateBuffer(512)
    const order: number[] = []
    const done = Array.from({ length: 2000 }, async (_, i) => {
      await driver.read(i % SECTORS, buffer)
      order.push(i)
    })
    expect(driver.waiting).toBeGreaterThan(1900)
    await Promise.all(done)
    expect(order).toEqual(Array.from({ length: 2000 }, (_, i) => i))
    buffer.release()
    await end(driver)
  })

  test('5.2.5 a resized disk is noticed', async () => {
    const driver = await start()
    const resized = new Promise<number>((resolve) => {
      driver.onConfigurationChange(({ capacity }) => resolve(capacity))
    })
    Object.assign(disk, { size: 1024 * 512 })
    device.resized()
    expect(await resized).toBe(1024)
    expect(driver.configuration.capacity).toBe(1024)
    await end(driver)
  })
})

test('grants: a device that is not asked for ACCESS_PLATFORM would be given plain addresses', async () => {
  const driver = await start()
  expect(driver.transport.features & (1n << BigInt(VIRTIO_F_ACCESS_PLATFORM))).toBe(1n << 33n)
  await end(driver)
})
