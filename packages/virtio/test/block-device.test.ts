import fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import {
  BlockDevice,
  type BlockDeviceOptions,
  BlockRequestError,
  type Disk,
  DiskError,
  FileDisk,
  featureSet,
  hasFeature,
  MemoryDisk,
  VIRTIO_BLK_F_DISCARD,
  VIRTIO_BLK_F_FLUSH,
  VIRTIO_BLK_F_RO,
  VIRTIO_BLK_F_WRITE_ZEROES,
} from '../src/index.ts'
import { CopyingGuestMemory, GuestMemoryDouble } from './doubles/guest-memory.ts'
import { DATA, Machine, type TestBuffer, type TestQueue, turns } from './doubles/machine.ts'

const HEADER = DATA
const STATUS = DATA + 256
const BODY = DATA + 4096
const ALL = [VIRTIO_BLK_F_FLUSH, VIRTIO_BLK_F_DISCARD, VIRTIO_BLK_F_WRITE_ZEROES]

const IN = 0
const OUT = 1
const FLUSH = 4
const GET_ID = 8
const DISCARD = 11
const WRITE_ZEROES = 13

/** A disk whose sector n is filled with n + 1. */
function numbered(sectors: number, readOnly: boolean = false): MemoryDisk {
  const bytes = new Uint8Array(sectors * 512)
  for (let sector = 0; sector < sectors; sector += 1) {
    bytes.fill(sector + 1, sector * 512, (sector + 1) * 512)
  }
  return new MemoryDisk(bytes, { readOnly })
}

class BlockMachine extends Machine {
  readonly errors: BlockRequestError[] = []
  readonly block: BlockDevice
  readonly requests: TestQueue

  constructor(
    disk: Disk,
    options: {
      features?: number[]
      memory?: GuestMemoryDouble
      device?: Partial<BlockDeviceOptions>
    } = {},
  ) {
    const errors: BlockRequestError[] = []
    const block = new BlockDevice({
      disk,
      queueSize: 16,
      onError: (error) => errors.push(error),
      ...options.device,
    })
    super(block, options.memory === undefined ? {} : { memory: options.memory })
    this.errors = errors
    this.block = block
    this.requests = this.start(16, ...(options.features ?? []))
  }

  header(type: number, sector: bigint, at: number = HEADER): void {
    this.view.setUint32(at, type, true)
    this.view.setUint32(at + 4, 0, true)
    this.view.setBigUint64(at + 8, sector, true)
  }

  /** One request in the usual framing; resolves with its status byte, 0xff where none was written. */
  async request(
    type: number,
    sector: number | bigint,
    data: readonly TestBuffer[] = [],
    frame: readonly TestBuffer[] = [
      { at: HEADER, length: 16 },
      ...data,
      { at: STATUS, length: 1, write: true },
    ],
  ): Promise<number> {
    this.header(type, BigInt(sector))
    this.memory.bytes[STATUS] = 0xff
    this.send(this.requests, frame)
    await this.idle()
    await turns(1)
    return this.memory.bytes[STATUS] ?? -1
  }

  segments(...segments: [sector: bigint, count: number, flags: number][]): TestBuffer {
    for (const [index, [sector, count, flags]] of segments.entries()) {
      const at = BODY + 16 * index
      this.view.setBigUint64(at, sector, true)
      this.view.setUint32(at + 8, count, true)
      this.view.setUint32(at + 12, flags, true)
    }
    return { at: BODY, length: 16 * segments.length }
  }

  get lastUsed(): { id: number; length: number } | undefined {
    return this.used(this.requests).at(-1)
  }

  get reasons(): string[] {
    return this.errors.map(({ reason }) => reason)
  }
}

describe('configuration', () => {
  test('5.2.4 capacity, limits, block size and topology', () => {
    const device = new BlockDevice({
      disk: new MemoryDisk(64 * 4096),
      queueSize: 128,
      segmentBytes: 65_536,
      blockSize: 4096,
      physicalBlockExponent: 2,
      alignmentOffset: 1,
      minimumIoSize: 8,
      optimalIoSize: 32,
    })
    const view = new DataView(device.configuration.buffer)
    expect(device.configuration.length).toBe(72)
    expect(view.getBigUint64(0, true)).toBe(512n)
    expect(view.getUint32(8, true)).toBe(65_536)
    expect(view.getUint32(12, true)).toBe(126)
    expect(view.getUint32(20, true)).toBe(4096)
    expect([24, 25].map((offset) => view.getUint8(offset))).toEqual([2, 1])
    expect(view.getUint16(26, true)).toBe(8)
    expect(view.getUint32(28, true)).toBe(32)
    expect(device.queues).toEqual([{ size: 128, inFlight: 128, requestBytes: 126 * 65_536 + 1024 }])
    expect(device.deviceId).toBe(2)
  })

  test('5.2.5.2 padding and what no feature gates is 0; a disk over 2^32 sectors', () => {
    const disk = { ...emptyDisk(), size: (2 ** 32 + 5) * 512 }
    const view = new DataView(new BlockDevice({ disk }).configuration.buffer)
    expect(view.getBigUint64(0, true)).toBe(2n ** 32n + 5n)
    expect(view.getUint32(8, true)).toBe(2 ** 20)
    expect(view.getUint32(12, true)).toBe(254)
    for (let offset = 32; offset < 72; offset += 4) expect(view.getUint32(offset, true)).toBe(0)
  })

  test('5.2.3 features follow the disk', () => {
    const offered = [new MemoryDisk(512), emptyDisk(), new MemoryDisk(512, { readOnly: true })].map(
      (disk) => new BlockDevice({ disk }).features,
    )
    expect(offered).toEqual([
      featureSet(1, 2, 6, 9, 10, 13, 14),
      featureSet(1, 2, 6, 9, 10),
      featureSet(1, 2, 5, 6, 9, 10),
    ])
  })

  test('5.2.6.2 write_zeroes_may_unmap only where the disk can deallocate', () => {
    const disks = [new MemoryDisk(512), { ...emptyDisk(), writeZeroes: nothing }]
    expect(disks.map((disk) => new BlockDevice({ disk }).configuration[56])).toEqual([1, 0])
  })

  test('5.2.6.2 a disk that changes its size: capacity, generation and interrupt', () => {
    const disk = { ...emptyDisk(), size: 1024 }
    const machine = new BlockMachine(disk)
    disk.size = 4096
    machine.block.resized()
    expect(machine.transport.read(0x100, 4)).toBe(8)
    expect(machine.read(0x0fc)).toBe(1)
    expect(machine.read(0x060)).toBe(2)
  })

  test.each([
    ['queueSize', { queueSize: 2 }],
    ['queueSize', { queueSize: 100 }],
    ['inFlight', { inFlight: 0 }],
    ['inFlight', { inFlight: 1.5 }],
    ['inFlight', { queueSize: 16, inFlight: 17 }],
    ['blockSize', { blockSize: 256 }],
    ['blockSize', { blockSize: 1000 }],
    ['segmentBytes', { segmentBytes: 100 }],
    ['segmentBytes', { segmentBytes: 1000 }],
    ['physicalBlockExponent', { physicalBlockExponent: 256 }],
    ['minimumIoSize', { minimumIoSize: -1 }],
    ['optimalIoSize', { optimalIoSize: 1.5 }],
    ['disk.size', { disk: { ...emptyDisk(), size: 0 } }],
    ['disk.size', { disk: { ...emptyDisk(), size: 513 } }],
    ['disk.size', { blockSize: 4096, disk: { ...emptyDisk(), size: 512 } }],
    ['disk.identity', { disk: { ...emptyDisk(), identity: 'longer than 20 characters' } }],
    ['disk.identity', { disk: { ...emptyDisk(), identity: 'é' } }],
  ])('a wrong %s is refused', (field, change) => {
    expect(() => new BlockDevice({ disk: emptyDisk(), ...change })).toThrow(
      expect.objectContaining({ code: 'ERR_XMC_ARGUMENT', field }),
    )
  })
})

async function nothing(): Promise<void> {}

function emptyDisk(): {
  size: number
  readOnly: boolean
  identity: string
  read: () => Promise<void>
  write: () => Promise<void>
  flush: () => Promise<void>
} {
  return {
    size: 512,
    readOnly: false,
    identity: 'empty',
    read: nothing,
    write: nothing,
    flush: nothing,
  }
}

/** The capacity in sectors, as the guest reads it. */
function capacity(machine: BlockMachine): number {
  return machine.read(0x100) + machine.read(0x104) * 2 ** 32
}

describe('a disk whose size changes', () => {
  test('5.2.5 the guest is told of more sectors, and uses them', async () => {
    const disk = numbered(8)
    const machine = new BlockMachine(disk)
    const sector = { at: BODY, length: 512, write: true }
    expect(await machine.request(IN, 8, [sector])).toBe(1)
    const generation = machine.read(0x0fc)
    disk.resize(16 * 512)
    machine.write(0x064, 3)
    machine.block.resized()
    expect(machine.read(0x060) & 2).toBe(2)
    expect(machine.read(0x0fc)).not.toBe(generation)
    expect(capacity(machine)).toBe(16)
    expect(await machine.request(IN, 15, [sector])).toBe(0)
    expect(await machine.request(IN, 16, [sector])).toBe(1)
  })

  test('5.2.5 of fewer, and those behind the new end fail, of every kind of request', async () => {
    const disk = numbered(16)
    const machine = new BlockMachine(disk, { features: ALL })
    disk.resize(8 * 512)
    machine.block.resized()
    expect(capacity(machine)).toBe(8)
    const statuses = [
      await machine.request(IN, 8, [{ at: BODY, length: 512, write: true }]),
      await machine.request(OUT, 7, [{ at: BODY, length: 1024 }]),
      await machine.request(DISCARD, 0, [machine.segments([8n, 1, 0])]),
      await machine.request(WRITE_ZEROES, 0, [machine.segments([7n, 2, 0])]),
    ]
    expect(statuses).toEqual([1, 1, 1, 1])
    expect(machine.reasons).toEqual(['range', 'range', 'range', 'range'])
    expect(await machine.request(IN, 7, [{ at: BODY, length: 512, write: true }])).toBe(0)
  })

  test('a file is looked at: longer, shorter, and longer again', async () => {
    const folder = fs.mkdtempSync(join(tmpdir(), 'xmc-virtio-'))
    const path = join(folder, 'disk.img')
    fs.writeFileSync(path, new Uint8Array(4096).fill(5))
    const disk = await FileDisk.open(path)
    const machine = new BlockMachine(disk)
    const sector = { at: BODY, length: 512, write: true }
    const seen: number[][] = []
    for (const sectors of [20, 4, 8]) {
      fs.truncateSync(path, sectors * 512)
      machine.block.resized()
      seen.push([
        capacity(machine),
        await machine.request(IN, sectors - 1, [sector]),
        await machine.request(IN, sectors, [sector]),
      ])
    }
    expect(seen).toEqual([
      [20, 0, 1],
      [4, 0, 1],
      [8, 0, 1],
    ])
    await disk.close()
    expect(() => machine.block.resized()).toThrow(expect.objectContaining({ reason: 'closed' }))
    fs.rmSync(folder, { recursive: true })
  })

  test('the capacity is whole blocks', () => {
    const disk = new MemoryDisk(4096)
    const device = new BlockDevice({ disk, blockSize: 4096 })
    disk.resize(4096 + 512)
    device.resized()
    expect(new DataView(device.configuration.buffer).getBigUint64(0, true)).toBe(8n)
  })
})

describe('requests', () => {
  test('5.2.6 a read fills the guest pages, with its length in the used element', async () => {
    const machine = new BlockMachine(numbered(8))
    const status = await machine.request(IN, 2, [
      { at: BODY, length: 512, write: true },
      { at: BODY + 8192, length: 1024, write: true },
    ])
    expect(status).toBe(0)
    expect([0, 511, 8192, 8192 + 1023].map((at) => machine.memory.bytes[BODY + at])).toEqual([
      3, 3, 4, 5,
    ])
    expect(machine.lastUsed).toEqual({ id: 0, length: 1537 })
    expect(machine.block.statistics).toMatchObject({ requests: 1, reads: 1, bytesRead: 1536 })
  })

  test('the disk reads into the guest memory itself, and writes out of it: no copy', async () => {
    const seen: ArrayBufferLike[] = []
    const note = async (buffers: readonly Uint8Array[]): Promise<void> => {
      for (const { buffer } of buffers) seen.push(buffer)
    }
    const machine = new BlockMachine({ ...emptyDisk(), read: note, write: note })
    await machine.request(IN, 0, [{ at: BODY, length: 512, write: true }])
    await machine.request(OUT, 0, [{ at: BODY, length: 512 }])
    const { buffer } = machine.memory.bytes
    expect(seen.length).toBe(2)
    expect(seen.every((each) => each === buffer)).toBe(true)
  })

  test('5.2.6 a write takes the guest pages', async () => {
    const disk = numbered(8)
    const machine = new BlockMachine(disk, { features: ALL })
    machine.memory.bytes.fill(0xaa, BODY, BODY + 1024)
    expect(await machine.request(OUT, 3, [{ at: BODY, length: 1024 }])).toBe(0)
    expect([2, 3, 4, 5].map((sector) => disk.bytes[sector * 512])).toEqual([3, 0xaa, 0xaa, 6])
    expect(machine.lastUsed).toEqual({ id: 0, length: 1 })
    expect(machine.block.statistics).toMatchObject({ writes: 1, bytesWritten: 1024 })
    expect(disk.flushes).toBe(0)
  })

  test('5.2.6.2 a flush reaches the disk; without FLUSH each write is durable when it is answered', async () => {
    const disk = numbered(8)
    const machine = new BlockMachine(disk, { features: ALL })
    expect(await machine.request(FLUSH, 0)).toBe(0)
    expect(disk.flushes).toBe(1)
    expect(machine.block.statistics.flushes).toBe(1)
    const plain = new BlockMachine(disk, { features: [VIRTIO_BLK_F_WRITE_ZEROES] })
    expect(await plain.request(OUT, 0, [{ at: BODY, length: 512 }])).toBe(0)
    expect(disk.flushes).toBe(2)
    expect(await plain.request(WRITE_ZEROES, 0, [plain.segments([0n, 1, 0])])).toBe(0)
    expect(disk.flushes).toBe(3)
  })

  test.each([
    [20, 'memory', 21],
    [64, 'memory', 20],
    [4, 'memo', 5],
  ])('5.2.6 the identity in %i bytes', async (length, text, used) => {
    const machine = new BlockMachine(new MemoryDisk(512))
    machine.memory.bytes.fill(0xee, BODY, BODY + 64)
    expect(await machine.request(GET_ID, 0, [{ at: BODY, length, write: true }])).toBe(0)
    const end = Math.min(20, length)
    expect(machine.text(BODY, end)).toBe(text.padEnd(end, '\0'))
    expect(machine.memory.bytes[BODY + end]).toBe(0xee)
    expect(machine.lastUsed?.length).toBe(used)
  })

  test('5.2.6.2 discard and write-zeroes, segment by segment', async () => {
    const calls: unknown[][] = []
    const note =
      (name: string) =>
      async (...args: unknown[]): Promise<void> => {
        calls.push([name, ...args])
      }
    const disk = {
      ...emptyDisk(),
      size: 2 ** 40,
      discard: note('discard'),
      writeZeroes: note('zero'),
    }
    const machine = new BlockMachine(disk, { features: ALL })
    const ranges = machine.segments([1n, 2, 0], [0n, 0, 0], [2n ** 30n, 0x3fffff, 0])
    expect(await machine.request(DISCARD, 0, [ranges])).toBe(0)
    expect(await machine.request(WRITE_ZEROES, 0, [machine.segments([3n, 4, 0])])).toBe(0)
    expect(await machine.request(WRITE_ZEROES, 0, [machine.segments([3n, 65_536, 1])])).toBe(0)
    expect(calls).toEqual([
      ['discard', 512, 1024],
      ['discard', 2 ** 39, 0x3fffff * 512],
      ['zero', 1536, 2048, false],
      ['zero', 1536, 2 ** 25, true],
    ])
    expect(machine.transport.read(0x124, 4)).toBe(0x3fffff)
    expect(machine.transport.read(0x128, 4)).toBe(16)
    expect(machine.transport.read(0x12c, 4)).toBe(1)
    expect(machine.transport.read(0x130, 4)).toBe(65_536)
    expect(machine.transport.read(0x134, 4)).toBe(1)
  })

  test('5.2.6.2 after write-zeroes the sectors read as zeros', async () => {
    const disk = numbered(4)
    const machine = new BlockMachine(disk, { features: ALL })
    expect(await machine.request(WRITE_ZEROES, 0, [machine.segments([1n, 2, 0])])).toBe(0)
    expect([0, 1, 2, 3].map((sector) => disk.bytes[sector * 512])).toEqual([1, 0, 0, 4])
  })

  test('5.2.6 many requests are in flight, and finish in any order', async () => {
    const waiting: (() => void)[] = []
    const disk = {
      ...emptyDisk(),
      size: 16 * 512,
      read: () =>
        new Promise<void>((resolve) => {
          waiting.push(resolve)
        }),
    }
    const machine = new BlockMachine(disk)
    for (let index = 0; index < 5; index += 1) {
      machine.header(IN, BigInt(index), HEADER + 16 * index)
      machine.send(
        machine.requests,
        [
          { at: HEADER + 16 * index, length: 16 },
          { at: BODY + 512 * index, length: 512, write: true },
          { at: STATUS + index, length: 1, write: true },
        ],
        3 * index,
      )
    }
    expect(waiting.length).toBe(5)
    expect(machine.transport.inFlight).toBe(5)
    for (const index of [3, 0, 4, 1, 2]) {
      waiting[index]?.()
      await turns(1)
    }
    expect(machine.used(machine.requests).map(({ id }) => id)).toEqual([9, 0, 12, 3, 6])
    expect(machine.memory.live).toBe(3)
  })

  test.each(['mapped', 'copied'])('2.7.4.1 any framing is taken: %s', async (how) => {
    const memory = how === 'mapped' ? new GuestMemoryDouble(64) : new CopyingGuestMemory(64)
    const disk = numbered(8)
    const machine = new BlockMachine(disk, { memory, features: ALL })
    const pieces = Array.from({ length: 5 }, (_, index) => ({
      at: HEADER + 3 * index,
      length: 3,
    }))
    const status = await machine.request(
      IN,
      7,
      [],
      [
        ...pieces,
        { at: HEADER + 15, length: 1 },
        { at: BODY, length: 1, write: true },
        { at: BODY + 1, length: 500, write: true },
        { at: STATUS - 11, length: 12, write: true },
      ],
    )
    expect(status).toBe(0)
    expect([0, 1, 500].map((at) => machine.memory.bytes[BODY + at])).toEqual([8, 8, 8])
    expect(machine.memory.bytes[STATUS - 1]).toBe(8)
    expect(machine.lastUsed?.length).toBe(513)

    machine.memory.bytes.fill(0x77, HEADER + 16, HEADER + 16 + 512)
    await machine.request(
      OUT,
      0,
      [],
      [
        { at: HEADER, length: 16 + 512 },
        { at: STATUS + 600, length: 1, write: true },
      ],
    )
    expect(disk.bytes[0]).toBe(0x77)
  })
})

describe('requests that cannot be done', () => {
  test('5.2.6.2 a write to a read-only disk: IOERR, and nothing is written', async () => {
    const disk = numbered(8, true)
    const machine = new BlockMachine(disk)
    expect(hasFeature(machine.block.features, VIRTIO_BLK_F_RO)).toBe(true)
    machine.memory.bytes.fill(0xaa, BODY, BODY + 512)
    expect(await machine.request(OUT, 0, [{ at: BODY, length: 512 }])).toBe(1)
    expect(disk.bytes[0]).toBe(1)
    expect(await machine.request(DISCARD, 0, [machine.segments([0n, 1, 0])])).toBe(2)
    expect(await machine.request(WRITE_ZEROES, 0, [machine.segments([0n, 1, 0])])).toBe(2)
    expect(await machine.request(FLUSH, 0)).toBe(0)
    expect(machine.reasons).toEqual(['read-only', 'unsupported', 'unsupported'])
    expect(machine.read(0x070)).toBe(15)
  })

  test.each([
    [8n, 512],
    [7n, 1024],
    [2n ** 55n, 512],
    [2n ** 64n - 1n, 512],
  ])('sectors over the end: IOERR, from sector %i of 8 with %i bytes', async (sector, length) => {
    const machine = new BlockMachine(numbered(8))
    expect(await machine.request(IN, sector, [{ at: BODY, length, write: true }])).toBe(1)
    expect(await machine.request(OUT, sector, [{ at: BODY, length }])).toBe(1)
    expect(machine.reasons).toEqual(['range', 'range'])
    expect(machine.lastUsed).toEqual({ id: 0, length: 1 })
    expect(machine.errors[0]).toMatchObject({ code: 'ERR_XMC_BLOCK_REQUEST', status: 1 })
  })

  test.each([1, 511, 513])('data of %i bytes: IOERR', async (length) => {
    const machine = new BlockMachine(numbered(8))
    expect(await machine.request(IN, 0, [{ at: BODY, length, write: true }])).toBe(1)
    expect(await machine.request(OUT, 0, [{ at: BODY, length }])).toBe(1)
    expect(machine.reasons).toEqual(['length', 'length'])
    expect(machine.memory.bytes[BODY]).toBe(0)
  })

  test('a header that is short, or missing: IOERR', async () => {
    const machine = new BlockMachine(numbered(8))
    const status = { at: STATUS, length: 1, write: true }
    expect(await machine.request(IN, 0, [], [{ at: HEADER, length: 15 }, status])).toBe(1)
    expect(await machine.request(IN, 0, [], [status])).toBe(1)
    expect(machine.reasons).toEqual(['header', 'header'])
  })

  test('a request with no room for its status: DEVICE_NEEDS_RESET', async () => {
    const machine = new BlockMachine(numbered(8))
    await machine.request(IN, 0, [], [{ at: HEADER, length: 16 }])
    expect(machine.transport.fault).toMatchObject({
      code: 'ERR_XMC_VIRTQUEUE',
      reason: 'short-buffer',
    })
    expect(machine.read(0x070)).toBe(15 | 64)
    expect(machine.memory.live).toBe(0)
  })

  test.each([2, 5, 10, 14, 15, 0x8000_0000, 0xffff_ffff])(
    '5.2.6 type %i is not supported',
    async (type) => {
      const machine = new BlockMachine(numbered(8))
      expect(await machine.request(type, 0)).toBe(2)
      expect(machine.errors[0]).toMatchObject({ reason: 'unsupported', status: 2 })
    },
  )

  test('5.2.6.2 unknown flags, and UNMAP of a discard: UNSUPP', async () => {
    const machine = new BlockMachine(numbered(8), { features: ALL })
    for (const [type, flags] of [
      [DISCARD, 1],
      [DISCARD, 2],
      [WRITE_ZEROES, 2],
      [WRITE_ZEROES, 0x8000_0001],
    ] as const) {
      expect(await machine.request(type, 0, [machine.segments([0n, 1, flags])])).toBe(2)
    }
  })

  test('discard and write-zeroes that were not negotiated: UNSUPP', async () => {
    const machine = new BlockMachine(numbered(8))
    expect(await machine.request(DISCARD, 0, [machine.segments([0n, 1, 0])])).toBe(2)
    expect(await machine.request(WRITE_ZEROES, 0, [machine.segments([0n, 1, 0])])).toBe(2)
  })

  test('5.2.6.1 segments that are too many, too large, cut off, missing or over the end: IOERR', async () => {
    const disk = numbered(8)
    const machine = new BlockMachine(disk, { features: ALL })
    const many = Array.from({ length: 17 }, (): [bigint, number, number] => [0n, 1, 0])
    expect(await machine.request(DISCARD, 0, [machine.segments(...many)])).toBe(1)
    const two = machine.segments([0n, 1, 0], [0n, 1, 0])
    expect(await machine.request(WRITE_ZEROES, 0, [two])).toBe(1)
    expect(await machine.request(WRITE_ZEROES, 0, [machine.segments([0n, 65_537, 0])])).toBe(1)
    expect(await machine.request(DISCARD, 0, [{ at: BODY, length: 15 }])).toBe(1)
    expect(await machine.request(DISCARD, 0)).toBe(1)
    expect(await machine.request(DISCARD, 0, [machine.segments([0n, 1, 0], [8n, 1, 0])])).toBe(1)
    expect(machine.reasons).toEqual([
      'segments',
      'segments',
      'segments',
      'length',
      'length',
      'range',
    ])
    expect(disk.bytes[0]).toBe(1)
  })

  test.each(['mapped', 'copied'])(
    'a grant that is revoked in flight: IOERR while the status can be written: %s',
    async (how) => {
      const memory = how === 'mapped' ? new GuestMemoryDouble(64) : new CopyingGuestMemory(64)
      const machine = new BlockMachine(numbered(8), { memory })
      memory.withdrawn.add(BODY / 4096)
      expect(await machine.request(IN, 0, [{ at: BODY, length: 512, write: true }])).toBe(1)
      expect(await machine.request(OUT, 0, [{ at: BODY, length: 512 }])).toBe(1)
      expect(machine.reasons).toEqual(['buffer', 'buffer'])
      expect(machine.read(0x070)).toBe(15)
      memory.withdrawn.clear()
      memory.withdrawn.add(Math.floor(STATUS / 4096))
      machine.header(IN, 0n)
      machine.send(machine.requests, [
        { at: HEADER + 8192, length: 16 },
        { at: BODY, length: 512, write: true },
        { at: STATUS, length: 1, write: true },
      ])
      await machine.idle()
      expect(machine.transport.fault).toMatchObject({ code: 'ERR_XMC_GUEST_BUFFER' })
      expect(machine.read(0x070)).toBe(15 | 64)
      expect(memory.live).toBe(0)
    },
  )

  test('a header that cannot be read: IOERR', async () => {
    const machine = new BlockMachine(numbered(8))
    machine.memory.withdrawn.add(BODY / 4096)
    machine.send(machine.requests, [
      { at: BODY, length: 16 },
      { at: STATUS, length: 1, write: true },
    ])
    await machine.idle()
    await turns(1)
    expect(machine.memory.bytes[STATUS]).toBe(1)
    expect(machine.reasons).toEqual(['buffer'])
  })

  test('a disk that fails: IOERR, its error is told, and the next request is served', async () => {
    const failure = new DiskError('disk.img', 'full', 'no space', { errnoName: 'ENOSPC' })
    let failing = true
    const act = (): Promise<void> => (failing ? Promise.reject(failure) : Promise.resolve())
    const disk = { ...emptyDisk(), read: act, write: act, flush: act }
    const machine = new BlockMachine(disk, { features: [VIRTIO_BLK_F_FLUSH] })
    const data = { at: BODY, length: 512 }
    expect(await machine.request(IN, 0, [{ ...data, write: true }])).toBe(1)
    expect(machine.lastUsed?.length).toBe(0)
    expect(await machine.request(OUT, 0, [data])).toBe(1)
    expect(await machine.request(FLUSH, 0)).toBe(1)
    expect(machine.reasons).toEqual(['disk', 'disk', 'disk'])
    expect(machine.errors[0]?.cause).toBe(failure)
    expect(machine.block.statistics).toMatchObject({ requests: 3, failed: 3, reads: 0, flushes: 0 })
    failing = false
    expect(await machine.request(IN, 0, [{ ...data, write: true }])).toBe(0)
    expect(machine.read(0x070)).toBe(15)
  })

  test.each([
    ['of a request', [VIRTIO_BLK_F_FLUSH]],
    ['behind each write', []],
  ])(
    'a flush %s that failed: no later one succeeds, whatever the disk says',
    async (_, features) => {
      let failures = 1
      let flushes = 0
      const disk = {
        ...emptyDisk(),
        flush: async () => {
          flushes += 1
          if (failures-- > 0) throw Object.assign(new Error('EIO'), { code: 'EIO' })
        },
      }
      const machine = new BlockMachine(disk, { features })
      const durable = (): Promise<number> =>
        features.length > 0
          ? machine.request(FLUSH, 0)
          : machine.request(OUT, 0, [{ at: BODY, length: 512 }])
      expect([await durable(), await durable(), await durable()]).toEqual([1, 1, 1])
      expect(flushes).toBe(1)
      expect(await machine.request(IN, 0, [{ at: BODY, length: 512, write: true }])).toBe(0)
      // Nor after a reset: the disk is the same.
      machine.memory.bytes.fill(0, 0, DATA)
      machine.start(16, ...features)
      expect(await durable()).toBe(1)
      expect(machine.errors.map(({ cause }) => cause)).toEqual([
        expect.objectContaining({ code: 'EIO' }),
        ...Array.from({ length: 3 }, () =>
          expect.objectContaining({ reason: 'lost-writes', errnoName: 'EIO' }),
        ),
      ])
      expect(machine.block.statistics).toMatchObject({ flushes: 0, writes: 0 })
      // Opened again, that is as another device.
      expect(await new BlockMachine(disk, { features: ALL.slice(0, 1) }).request(FLUSH, 0)).toBe(0)
    },
  )

  test('flushes under way at the same time: all fail where one does', async () => {
    const ends: ((error?: Error) => void)[] = []
    const disk = {
      ...emptyDisk(),
      flush: () =>
        new Promise<void>((resolve, reject) => {
          ends.push((error) => (error === undefined ? resolve() : reject(error)))
        }),
    }
    const machine = new BlockMachine(disk, { features: [VIRTIO_BLK_F_FLUSH] })
    machine.header(FLUSH, 0n)
    for (const [index, at] of [STATUS, STATUS + 1].entries()) {
      const frame = [
        { at: HEADER, length: 16 },
        { at, length: 1, write: true },
      ]
      machine.send(machine.requests, frame, 2 * index)
    }
    ends[1]?.(new Error('EIO'))
    await turns(1)
    ends[0]?.()
    await machine.idle()
    expect([...machine.memory.bytes.subarray(STATUS, STATUS + 2)]).toEqual([1, 1])
  })

  test('a disk that has no discard or zeros after all: a hint is ignored, zeros are written', async () => {
    const disk = numbered(8)
    const unsupported = new DiskError('disk', 'unsupported', 'not here')
    disk.discard = () => Promise.reject(unsupported)
    disk.writeZeroes = () => Promise.reject(Object.assign(new Error('no'), { code: 'EOPNOTSUPP' }))
    const machine = new BlockMachine(disk, { features: ALL })
    expect(await machine.request(DISCARD, 0, [machine.segments([1n, 1, 0])])).toBe(0)
    expect(await machine.request(WRITE_ZEROES, 0, [machine.segments([3n, 2, 1])])).toBe(0)
    const sectors = Array.from({ length: 8 }, (_, sector) => disk.bytes[sector * 512])
    expect(sectors).toEqual([1, 2, 3, 0, 0, 6, 7, 8])
    expect(machine.errors).toEqual([])
  })

  test('a discard or zeros that the disk fails at otherwise: IOERR', async () => {
    const disk = numbered(8)
    disk.discard = () => Promise.reject(new DiskError('disk', 'io', 'the medium is broken'))
    disk.writeZeroes = () => Promise.reject(new DiskError('disk', 'full', 'no space'))
    const machine = new BlockMachine(disk, { features: ALL })
    expect(await machine.request(DISCARD, 0, [machine.segments([1n, 1, 0])])).toBe(1)
    expect(await machine.request(WRITE_ZEROES, 0, [machine.segments([3n, 2, 1])])).toBe(1)
    expect(disk.bytes[3 * 512]).toBe(4)
    expect(machine.reasons).toEqual(['disk', 'disk'])
  })

  test('onError hears the first five of a reason, and then how many, while all are counted', async () => {
    const heard: [string, number][] = []
    const machine = new BlockMachine(numbered(8, true), {
      device: { onError: ({ reason }, repeated) => heard.push([reason, repeated]) },
    })
    for (let index = 0; index < 200; index++) await machine.request(99, 0)
    for (let index = 0; index < 7; index++) {
      await machine.request(OUT, 0, [{ at: BODY, length: 512 }])
    }
    expect(heard).toEqual([
      ...Array.from({ length: 5 }, () => ['unsupported', 0]),
      ...Array.from({ length: 5 }, () => ['read-only', 0]),
    ])
    expect(machine.block.statistics).toMatchObject({ requests: 207, failed: 207 })
  })

  test('a disk that throws at once, or rejects with nothing: IOERR', async () => {
    const disk = {
      ...emptyDisk(),
      read: () => {
        throw new Error('bug')
      },
      flush: () => Promise.reject(undefined),
    }
    const machine = new BlockMachine(disk)
    expect(await machine.request(IN, 0, [{ at: BODY, length: 512, write: true }])).toBe(1)
    expect(await machine.request(FLUSH, 0)).toBe(1)
    expect(machine.reasons).toEqual(['disk', 'disk'])
  })

  test('a file that is truncated while it is served: IOERR from there on, with the reason', async () => {
    const folder = fs.mkdtempSync(join(tmpdir(), 'xmc-virtio-'))
    const path = join(folder, 'disk.img')
    fs.writeFileSync(path, new Uint8Array(4096).fill(5))
    const disk = await FileDisk.open(path)
    const machine = new BlockMachine(disk, { features: [VIRTIO_BLK_F_FLUSH] })
    const data = { at: BODY, length: 512, write: true }
    expect(await machine.request(IN, 7, [data])).toBe(0)
    fs.truncateSync(path, 1024)
    expect(await machine.request(IN, 7, [data])).toBe(1)
    expect(await machine.request(OUT, 7, [{ at: BODY, length: 512 }])).toBe(1)
    expect(await machine.request(FLUSH, 0)).toBe(1)
    expect(machine.errors.map(({ cause }) => cause)).toEqual(
      Array.from({ length: 3 }, () => expect.objectContaining({ reason: 'truncated' })),
    )
    expect(machine.read(0x070)).toBe(15)
    await disk.close()
    fs.rmSync(folder, { recursive: true })
  })

  test('a guest that resets mid-request: the disk finishes, nothing is published', async () => {
    let finish: (() => void) | undefined
    const disk = {
      ...emptyDisk(),
      read: () =>
        new Promise<void>((resolve) => {
          finish = resolve
        }),
    }
    const machine = new BlockMachine(disk)
    machine.header(IN, 0n)
    machine.memory.bytes[STATUS] = 0xff
    machine.send(machine.requests, [
      { at: HEADER, length: 16 },
      { at: BODY, length: 512, write: true },
      { at: STATUS, length: 1, write: true },
    ])
    machine.write(0x070, 0)
    expect(machine.read(0x070)).toBe(15)
    finish?.()
    await machine.transport.drained()
    expect(machine.read(0x070)).toBe(0)
    expect(machine.usedIndex(machine.requests)).toBe(0)
    expect(machine.memory.live).toBe(0)
  })

  test.each([
    [{ inFlight: 2 }, 2],
    [{}, 5],
  ])('works on so many requests at a time: %j', async (device, most) => {
    const waiting: (() => void)[] = []
    const disk = { ...emptyDisk(), flush: () => new Promise<void>((done) => waiting.push(done)) }
    const machine = new BlockMachine(disk, { device, features: [VIRTIO_BLK_F_FLUSH] })
    machine.header(FLUSH, 0n)
    for (let request = 0; request < 5; request++) {
      machine.send(machine.requests, [
        { at: HEADER, length: 16 },
        { at: STATUS, length: 1, write: true },
      ])
    }
    expect(machine.transport.inFlight).toBe(most)
    for (let answered = 0; answered < 5; answered++) {
      expect(waiting.length).toBe(Math.min(5, answered + most))
      waiting[answered]?.()
      await turns(1)
    }
    expect(machine.usedIndex(machine.requests)).toBe(5)
    expect(machine.transport.statistics).toMatchObject({ used: 5, mostInFlight: most })
  })

  test('a request over SEG_MAX times SIZE_MAX: IOERR', async () => {
    const machine = new BlockMachine(new MemoryDisk(2 ** 20), {
      device: { queueSize: 16, segmentBytes: 512 },
    })
    const data = { at: BODY, length: 14 * 512 + 1024, write: true }
    expect(await machine.request(IN, 0, [data])).toBe(1)
    expect(machine.reasons).toEqual(['buffer'])
    expect(await machine.request(IN, 0, [{ ...data, length: 14 * 512 }])).toBe(0)
  })
})

test('features of a set are told by number', () => {
  expect(featureSet(0, 33)).toBe(0x2_0000_0001n)
  expect(hasFeature(featureSet(0, 33), 33)).toBe(true)
  expect(hasFeature(featureSet(0, 33), 32)).toBe(false)
})
