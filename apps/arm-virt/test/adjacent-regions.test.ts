import {
  AddressSpace,
  ContainerRegion,
  MmioRegion,
  PlainMemory,
  RamRegion,
} from '@xmc/memory-region'
import { BlockDevice, MemoryDisk, MmioTransport } from '@xmc/virtio'
import { describe, expect, test } from 'vitest'

const SECTORS = Uint8Array.from({ length: 65_536 }, (_, at) => at % 251)

/** Sets a device up by its registers, with the rings of queue 0 at 0x1000, 0x2000 and `used`. */
function start(transport: MmioTransport, size: number, used: number): void {
  const registers: readonly (readonly [number, number])[] = [
    [0x70, 1],
    [0x70, 3],
    [0x24, 1],
    [0x20, 1],
    [0x70, 11],
    [0x38, size],
    [0x80, 0x1000],
    [0x90, 0x2000],
    [0xa0, used],
    [0x44, 1],
    [0x70, 15],
  ]
  for (const [register, value] of registers) transport.write(register, value, 4)
}

/** Writes a descriptor of the table at 0x1000. */
function describeBuffer(
  space: AddressSpace,
  index: number,
  at: number,
  length: number,
  flags: number,
): void {
  const place = BigInt(0x1000 + 16 * index)
  space.storeBigUint64At(place, BigInt(at))
  space.storeUint32At(place + 8n, length)
  space.storeUint16At(place + 12n, flags)
  space.storeUint16At(place + 14n, index + 1)
}

/** A disk over two RAM regions side by side, 0 to 0x10000 and on to 0x20000, and a driver that writes registers. */
function diskOver(places: {
  used?: number
  data?: number
  mapping?: 'synchronous' | 'asynchronous'
}) {
  const { used = 0x6000, data = 0x8000, mapping = 'synchronous' } = places
  const root = new ContainerRegion({ name: 'system' })
  const space = new AddressSpace({ root })
  for (const [name, at] of [
    ['boot', 0n],
    ['plugged', 0x10000n],
  ] as const) {
    const backing = new PlainMemory({ pageCount: 16, name })
    root.add(new RamRegion({ name, size: 0x10000n, backing }), at)
  }
  const device = { read: () => 0, write: () => {} }
  root.add(new MmioRegion({ name: 'registers', size: 0x10000n, device }), 0x100_0000n)
  const faults: Error[] = []
  const disk = new BlockDevice({ disk: new MemoryDisk(SECTORS), queueSize: 256 })
  const transport = new MmioTransport({
    device: disk,
    memory: space,
    mapping,
    interrupt: { setLevel: () => {} },
    onFault: (fault) => faults.push(fault),
  })
  start(transport, 256, used)
  describeBuffer(space, 0, 0x4000, 16, 1)
  describeBuffer(space, 1, data, 4096, 3)
  describeBuffer(space, 2, 0x5000, 1, 2)
  space.storeUint8At(0x5000n, 0xff)
  const notify = async (): Promise<void> => {
    space.storeUint16At(0x2002n, 1)
    transport.write(0x50, 0, 4)
    for (let turn = 0; turn < 10; turn++) await new Promise((resolve) => setImmediate(resolve))
  }
  return { space, faults, transport, used, data, notify }
}

describe('a disk over two adjacent regions of RAM', () => {
  test.each([
    ['a buffer', { data: 0xf800 }],
    ['the used ring', { used: 0x1_0000 - 1024 }],
    ['the used ring, mapped without blocking', { used: 0x1_0000 - 1024, mapping: 'asynchronous' }],
  ] as const)('%s may lie over their border', async (_what, places) => {
    const { space, faults, used, data, notify } = diskOver(places)
    await notify()
    expect(faults).toEqual([])
    expect(space.loadUint16At(BigInt(used + 2))).toBe(1)
    expect(space.loadUint8At(0x5000n)).toBe(0)
    const got = new Uint8Array(4096)
    space.readAt(BigInt(data), got)
    expect(Buffer.compare(got, SECTORS.subarray(0, 4096))).toBe(0)
  })

  test('registers of a device are no place for a ring, and the fault says so', () => {
    const { transport } = diskOver({ used: 0x100_0000 })
    expect(transport.fault).toMatchObject({
      reason: 'ring-unmapped',
      message: expect.stringContaining('the used ring is not RAM'),
    })
    expect(transport.mappedRanges).toBe(0)
  })
})

/** A disk, and a device with 64 KiB of memory of its own at 0x100_0000. */
function diskAndDevice() {
  const own = new Uint8Array(0x10000)
  const view = new DataView(own.buffer)
  const device = {
    read: (offset: number) => view.getUint32(offset, true),
    write: (offset: number, value: number) => view.setUint32(offset, value, true),
  }
  const contents = Uint8Array.from({ length: 0x10000 }, (_, at) => at % 241)
  return { own, device, disk: new MemoryDisk(contents) }
}

describe('a buffer that is no RAM', () => {
  test.each([
    ['of twice the bounce bytes', 0x100_0000, 8192],
    ['behind RAM that it begins in', 0x100_0000 - 512, 12_288],
  ])('%s is copied in one piece', async (_what, at, length) => {
    const { own, device, disk } = diskAndDevice()
    const root = new ContainerRegion({ name: 'system' })
    const ram = new PlainMemory({ pageCount: 4096, name: 'ram' })
    root.add(new RamRegion({ name: 'ram', size: 0x100_0000n, backing: ram }), 0n)
    const valid = { minimum: 4, maximum: 4 } as const
    root.add(new MmioRegion({ name: 'own', size: 0x10000n, device, valid }), 0x100_0000n)
    const space = new AddressSpace({ root })
    const transport = new MmioTransport({
      device: new BlockDevice({ disk, queueSize: 16 }),
      memory: space,
      interrupt: { setLevel: () => {} },
    })
    start(transport, 16, 0x6000)
    describeBuffer(space, 0, 0x4000, 16, 1)
    describeBuffer(space, 1, at, length, 3)
    describeBuffer(space, 2, 0x5000, 1, 2)
    const before = new Uint8Array(512)
    space.storeUint8At(0x5000n, 0xff)
    space.storeUint16At(0x2002n, 1)
    transport.write(0x50, 0, 4)
    for (let turn = 0; turn < 10; turn++) await new Promise((resolve) => setImmediate(resolve))
    expect(transport.fault).toBeUndefined()
    expect(space.loadUint8At(0x5000n)).toBe(0)
    const inRam = Math.max(0, 0x100_0000 - at)
    ram.read(4095, 4096 - 512, before)
    expect([...before.subarray(0, inRam)]).toEqual([...disk.bytes.subarray(0, inRam)])
    expect(
      Buffer.compare(own.subarray(0, length - inRam), disk.bytes.subarray(inRam, length)),
    ).toBe(0)
    expect(space.bounceBytes).toBe(0)
    expect(space.mappings).toBe(3)
  })
})

test('a write listener hears of every page that a request stores into, when it does', async () => {
  const { space, notify } = diskOver({})
  const pages = new Set<number>()
  space.addWriteListener((_region, page, offset, length) => {
    for (let at = page; at <= page + Math.floor((offset + length - 1) / 4096); at++) pages.add(at)
  })
  await notify()
  // The available ring is the driver's own store.
  expect(pages).toEqual(new Set([0x2, 0x5, 0x6, 0x8]))
})
