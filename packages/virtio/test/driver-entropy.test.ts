import { setImmediate as turn } from 'node:timers/promises'
import { beforeEach, expect, test } from 'vitest'
import { discoverTransports, EntropyDriver } from '../src/driver.ts'
import {
  BlockDevice,
  EntropyDevice,
  MemoryDisk,
  MmioTransport,
  VIRTIO_F_ACCESS_PLATFORM,
  VIRTIO_ID_ENTROPY,
} from '../src/index.ts'
import { ManualDevice } from './doubles/driver-device.ts'
import { GuestDouble, LineDouble } from './doubles/driver-guest.ts'

const BASE = 0x0200_0000

let guest: GuestDouble
beforeEach(() => {
  guest = new GuestDouble({ frames: 128 })
})

function driverAt(address: number): EntropyDriver {
  const { bus, line: interrupt, frames: pages, granted: dma } = guest
  return new EntropyDriver({ bus, address, interrupt, pages, dma })
}

test('5.4.6 random bytes arrive, many requests at a time, behind a transport that was discovered', async () => {
  const memory = guest
  const block = new MmioTransport({
    device: new BlockDevice({ disk: new MemoryDisk(4096) }),
    memory,
    interrupt: new LineDouble(),
  })
  const entropy = new MmioTransport({
    device: new EntropyDevice(),
    memory,
    interrupt: guest.line,
  })
  guest.bus.slots.set(BigInt(BASE + 0x200), block)
  guest.bus.slots.set(BigInt(BASE + 0x600), entropy)
  const found = await discoverTransports(guest.bus, { address: BASE, count: 8 })
  expect(found.map(({ slot, deviceId }) => [slot, deviceId])).toEqual([
    [1, 2],
    [3, 4],
  ])
  const slot = found.find(({ deviceId }) => deviceId === VIRTIO_ID_ENTROPY)
  const driver = driverAt(Number(slot?.address))
  await driver.start()
  const reads = await Promise.all(Array.from({ length: 40 }, () => driver.read(64)))
  expect(reads.every((bytes) => bytes.length === 64)).toBe(true)
  expect(new Set(reads.map((bytes) => Buffer.from(bytes).toString('hex'))).size).toBe(40)
  expect((await driver.read(100_000)).length).toBe(65_536)
  expect(driver.statistics).toMatchObject({ requests: 41, bytesRead: 40 * 64 + 65_536 })
  await driver.close()
  expect(guest.mapped).toBe(0)
  expect(guest.grants.entries.size).toBe(0)
  expect(guest.frames.takenCount).toBe(0)
})

test('5.4.6.2 no bytes, or more than asked for, are an error', async () => {
  const device = new ManualDevice(guest, [VIRTIO_F_ACCESS_PLATFORM])
  device.deviceId = VIRTIO_ID_ENTROPY
  guest.bus.slots.set(BigInt(BASE), device)
  const driver = driverAt(BASE)
  await driver.start()
  const reads = Promise.allSettled([driver.read(8), driver.read(8), driver.read(8)])
  while (device.notifications === 0) await turn()
  for (const [i, chain] of device.takeAll().entries()) device.publish(chain.head, [0, 9, 8][i] ?? 0)
  device.interrupt(1)
  expect((await reads).map(({ status }) => status)).toEqual(['rejected', 'rejected', 'fulfilled'])
  await expect(driver.read(0)).rejects.toMatchObject({ code: 'ERR_XMC_ARGUMENT' })
  await driver.reset()
  await expect(driver.read(8)).rejects.toMatchObject({ code: 'ERR_XMC_DEVICE_NOT_STARTED' })
  expect(guest.frames.takenCount).toBe(0)
})
