import { PassThrough, Writable } from 'node:stream'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { propertyRuns, repetitions } from '../../../vitest.properties.ts'
import {
  BlockDevice,
  ConsoleDevice,
  EntropyDevice,
  MemoryDisk,
  VIRTIO_BLK_F_DISCARD,
  VIRTIO_BLK_F_FLUSH,
  VIRTIO_BLK_F_WRITE_ZEROES,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_INDIRECT_DESC,
  type VirtioDevice,
  VirtqueueError,
} from '../src/index.ts'
import { EchoDevice } from './doubles/devices.ts'
import { CopyingGuestMemory, GuestMemoryDouble } from './doubles/guest-memory.ts'
import { DATA, Machine, turns } from './doubles/machine.ts'
import { SlowDisk } from './doubles/slow-disk.ts'

const PAGES = 16
const BYTES = PAGES * 4096

/** What all runs together have seen: that the cases reach the code they are for. */
const seen = { cases: 0, used: 0, reasons: new Set<string>() }

interface Setting {
  readonly device: 'disk' | 'slow' | 'read-only' | 'console' | 'entropy' | 'echo'
  readonly copying: boolean
  readonly asynchronous: boolean
  readonly high: boolean
  readonly longest: number
  readonly withdrawn: readonly number[]
  readonly pagedOut: readonly number[]
  readonly onInterrupt: 'nothing' | 'acknowledge' | 'notify' | 'reset'
  readonly size: number
  readonly features: readonly number[]
}

type Step =
  | {
      readonly kind: 'write'
      readonly offset: number
      readonly value: number
      readonly size: number
    }
  | { readonly kind: 'read'; readonly offset: number; readonly size: number }
  | { readonly kind: 'store'; readonly at: number; readonly value: number }
  | {
      readonly kind: 'descriptor'
      readonly table: number
      readonly index: number
      readonly fields: Fields
    }
  | {
      readonly kind: 'offer'
      readonly queue: number
      readonly head: number
      readonly count: number
    }
  | { readonly kind: 'notify'; readonly queue: number }
  | {
      readonly kind: 'request'
      readonly queue: number
      readonly indirect: boolean
      readonly type: number
      readonly sector: number
      readonly header: boolean
      readonly buffers: readonly { readonly at: number; readonly length: number }[]
      readonly writableFrom: number
      readonly broken: { readonly index: number; readonly fields: Fields } | undefined
    }
  | { readonly kind: 'start' }
  | { readonly kind: 'withdraw'; readonly page: number }
  | { readonly kind: 'turn' }

interface Fields {
  readonly address: bigint
  readonly length: number
  readonly flags: number
  readonly next: number
}

const page = fc.oneof(
  { arbitrary: fc.integer({ min: DATA / 4096 + 1, max: PAGES - 1 }), weight: 4 },
  { arbitrary: fc.nat(PAGES - 1), weight: 1 },
)
const setting: fc.Arbitrary<Setting> = fc.record({
  device: fc.constantFrom('disk', 'slow', 'read-only', 'console', 'entropy', 'echo'),
  copying: fc.boolean(),
  asynchronous: fc.boolean(),
  high: fc.boolean(),
  longest: fc.constantFrom(1_000_000, 5000, 700),
  withdrawn: fc.array(page, { maxLength: 2 }),
  pagedOut: fc.array(page, { maxLength: 2 }),
  onInterrupt: fc.constantFrom('nothing', 'acknowledge', 'acknowledge', 'notify', 'reset'),
  size: fc.constantFrom(1, 2, 8, 16, 16),
  features: fc.subarray([
    VIRTIO_F_EVENT_IDX,
    VIRTIO_F_INDIRECT_DESC,
    VIRTIO_BLK_F_FLUSH,
    VIRTIO_BLK_F_DISCARD,
    VIRTIO_BLK_F_WRITE_ZEROES,
  ]),
})

const word = fc.oneof(
  fc.nat(20),
  fc.constantFrom(0xffff, 0x8000, 0xffff_ffff, 0x8000_0000, 4096, 512),
  fc.nat(0xffff_ffff),
)
const anyAddress = fc.oneof(
  { arbitrary: fc.nat(BYTES + 100).map(BigInt), weight: 8 },
  { arbitrary: fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }), weight: 1 },
)
const fields: fc.Arbitrary<Fields> = fc.record({
  address: anyAddress,
  length: fc.oneof(fc.constantFrom(1, 16, 32, 512, 1024), fc.nat(5000), word),
  flags: fc.oneof(fc.nat(7), fc.nat(3), fc.nat(0xffff)),
  next: fc.oneof(fc.nat(5), fc.nat(0xffff)),
})
const registerWrite: fc.Arbitrary<Step> = fc.record({
  kind: fc.constant('write' as const),
  offset: fc.oneof(
    fc.constantFrom(0x14, 0x20, 0x24, 0x30, 0x38, 0x44, 0x50, 0x64, 0x70, 0x80, 0x84, 0x90, 0xa0),
    fc.nat(0x210),
  ),
  value: fc.oneof(fc.constantFrom(0, 1, 2, 3, 11, 15), word),
  size: fc.constantFrom(4, 4, 4, 4, 1, 2, 8, 3),
})
const registerRead: fc.Arbitrary<Step> = fc.record({
  kind: fc.constant('read' as const),
  offset: fc.nat(0x210),
  size: fc.constantFrom(4, 1, 2, 8),
})
const store: fc.Arbitrary<Step> = fc.record({
  kind: fc.constant('store' as const),
  at: fc.oneof(
    fc.nat(BYTES - 4),
    fc.nat(1024),
    fc.nat(1024).map((at) => 4096 + at),
  ),
  value: word,
})
const descriptor: fc.Arbitrary<Step> = fc.record({
  kind: fc.constant('descriptor' as const),
  table: fc.constantFrom(0, 8192, DATA),
  index: fc.nat(15),
  fields,
})
const offer: fc.Arbitrary<Step> = fc.record({
  kind: fc.constant('offer' as const),
  queue: fc.nat(1),
  head: fc.oneof(fc.nat(3), fc.nat(0xffff)),
  count: fc.oneof(fc.constant(1), fc.nat(4), fc.nat(0xffff)),
})
const notify: fc.Arbitrary<Step> = fc.record({
  kind: fc.constant('notify' as const),
  queue: fc.nat(2),
})
/** A request as a driver would make it, with at most one descriptor gone wrong. */
const request: fc.Arbitrary<Step> = fc.record({
  kind: fc.constant('request' as const),
  queue: fc.nat(1),
  indirect: fc.boolean(),
  type: fc.constantFrom(0, 0, 1, 1, 4, 8, 11, 13, 99),
  sector: fc.oneof(fc.nat(40), word),
  header: fc.boolean(),
  buffers: fc.array(
    fc.record({
      at: fc.integer({ min: DATA + 512, max: BYTES - 1 }),
      length: fc.oneof(fc.constantFrom(1, 16, 512, 1024), fc.integer({ min: 1, max: 6000 })),
    }),
    { minLength: 1, maxLength: 4, size: 'max' },
  ),
  writableFrom: fc.nat(4),
  broken: fc.option(fc.record({ index: fc.nat(4), fields }), { nil: undefined, freq: 3 }),
})
const start: fc.Arbitrary<Step> = fc.constant({ kind: 'start' })
const withdraw: fc.Arbitrary<Step> = fc.record({ kind: fc.constant('withdraw' as const), page })
const turn: fc.Arbitrary<Step> = fc.constant({ kind: 'turn' })

function deviceOf(kind: Setting['device']): VirtioDevice {
  switch (kind) {
    case 'disk':
      return new BlockDevice({ disk: new MemoryDisk(32 * 512), queueSize: 16 })
    case 'slow':
      return new BlockDevice({ disk: new SlowDisk(32 * 512), queueSize: 16, segmentBytes: 512 })
    case 'read-only':
      return new BlockDevice({ disk: new SlowDisk(32 * 512, true), queueSize: 16 })
    case 'console': {
      const input = new PassThrough()
      input.write(Buffer.alloc(100, 65))
      return new ConsoleDevice({ input, output: new Writable({ write: (_1, _2, done) => done() }) })
    }
    case 'entropy':
      return new EntropyDevice()
    case 'echo':
      return new EchoDevice([{ size: 16 }, { size: 8, inFlight: 1, requestBytes: 4096 }])
    default:
      return kind
  }
}

function machineOf(settings: Setting): Machine {
  const firstPage = settings.high ? 2 ** 51 : 0
  const memory = settings.copying
    ? new CopyingGuestMemory(PAGES, firstPage)
    : new GuestMemoryDouble(PAGES, firstPage)
  memory.guardedFrom = DATA / 4096
  memory.longest = settings.longest
  for (const each of settings.withdrawn) memory.withdrawn.add(firstPage + each)
  for (const each of settings.pagedOut) memory.pagedOut.add(firstPage + each)
  const machine = new Machine(deviceOf(settings.device), {
    memory,
    mapping: settings.asynchronous ? 'asynchronous' : 'synchronous',
    bytesInFlight: 20_000,
  })
  machine.onInterrupt = (high) => {
    if (!high || settings.onInterrupt === 'nothing') return
    if (settings.onInterrupt === 'reset') machine.write(0x070, 0)
    machine.write(0x064, 3)
    if (settings.onInterrupt === 'notify') machine.write(0x050, 0)
  }
  return machine
}

/** Sets the device up as a driver does, on clean rings. */
function begin(machine: Machine, { size, features }: Setting): void {
  machine.memory.bytes.fill(0, 0, 4 * 4096)
  const offered = machine.transport.device.features
  machine.negotiate(
    ...features.filter((bit) => bit >= 24 || ((offered >> BigInt(bit)) & 1n) === 1n),
  )
  machine.enable(machine.queue(0, size))
  machine.enable(machine.queue(1, Math.min(size, 8)))
  machine.driverOk()
}

function ask(machine: Machine, settings: Setting, step: Step & { kind: 'request' }): void {
  if (machine.transport.status !== 15) begin(machine, settings)
  const number = step.queue % machine.transport.device.queues.length
  const queue = machine.queue(number, number === 0 ? settings.size : Math.min(settings.size, 8))
  const indirect = step.indirect && settings.features.includes(VIRTIO_F_INDIRECT_DESC)
  const table = indirect ? DATA + 256 : queue.descriptors
  machine.view.setUint32(DATA, step.type, true)
  machine.view.setBigUint64(DATA + 8, BigInt(step.sector), true)
  const buffers = step.buffers.map((buffer, index) => ({
    ...buffer,
    write: index >= step.writableFrom,
  }))
  if (step.header) buffers.unshift({ at: DATA, length: 16, write: false })
  machine.chain(table, 0, buffers)
  if (step.broken !== undefined) machine.descriptor(table, step.broken.index, step.broken.fields)
  if (indirect) {
    const address = machine.deviceAddress(table)
    machine.descriptor(queue.descriptors, 0, { address, length: 16 * buffers.length, flags: 4 })
  }
  machine.offer(queue, 0)
  machine.notify(queue)
}

async function act(machine: Machine, settings: Setting, step: Step): Promise<void> {
  switch (step.kind) {
    case 'write':
      machine.transport.write(step.offset, step.value, step.size)
      return
    case 'read': {
      const value = machine.transport.read(step.offset, step.size)
      expect(Number.isInteger(value) && value >= 0 && value <= 0xffff_ffff).toBe(true)
      return
    }
    case 'store':
      machine.view.setUint32(step.at, step.value, true)
      return
    case 'descriptor': {
      const { address } = step.fields
      const base = address <= BigInt(BYTES + 100) ? machine.deviceAddress(0) : 0n
      machine.descriptor(step.table, step.index, { ...step.fields, address: base + address })
      return
    }
    case 'offer': {
      const queue = machine.queue(step.queue, settings.size)
      machine.offer(queue, step.head)
      const index = machine.view.getUint16(queue.available + 2, true) + step.count - 1
      machine.view.setUint16(queue.available + 2, index & 0xffff, true)
      return
    }
    case 'request':
      ask(machine, settings, step)
      return
    case 'notify':
      machine.write(0x050, step.queue)
      return
    case 'start':
      begin(machine, settings)
      return
    case 'withdraw':
      machine.memory.withdrawn.add(machine.memory.firstPage + step.page)
      return
    case 'turn':
      await turns(1)
      return
    default:
      step satisfies never
  }
}

/** Runs a case to its end, and checks what must hold whatever the guest did. */
async function run(settings: Setting, steps: readonly Step[], fill?: Uint8Array): Promise<void> {
  const machine = machineOf(settings)
  begin(machine, settings)
  if (fill !== undefined) machine.memory.bytes.set(fill.subarray(0, BYTES))
  for (const step of steps) {
    // Steps happen one after the other
    await act(machine, settings, step)
    const { fault } = machine.transport
    if (fault instanceof VirtqueueError) seen.reasons.add(fault.reason)
  }
  const closed = machine.transport.close()
  // A case that hangs ends in the timeout of the test.
  await closed
  seen.cases += 1
  seen.used += machine.transport.statistics.used
  const { status, inFlight, mappedRanges, draining } = machine.transport
  const { live, violations } = machine.memory
  expect({ status, inFlight, mappedRanges, draining, live, violations }).toEqual(CLEAN)
}

const CLEAN = {
  status: 0,
  inFlight: 0,
  mappedRanges: 0,
  draining: false,
  live: 0,
  violations: 0,
}

describe('whatever the guest does: no throw, no hang, nothing mapped, no store into read-only memory', () => {
  test('arbitrary registers', async () => {
    const step = fc.oneof(
      { arbitrary: registerWrite, weight: 8 },
      { arbitrary: fc.oneof(registerRead, request, notify, offer, turn), weight: 3 },
    )
    await expect(
      fc.assert(
        fc.asyncProperty(
          setting,
          fc.array(step, { maxLength: 25, size: 'max' }),
          (settings, steps) => run(settings, steps),
        ),
        propertyRuns(800, 3000),
      ),
    ).resolves.toBeUndefined()
  })

  test('arbitrary ring memory', async () => {
    const rings = fc.uint8Array({ minLength: 64, maxLength: 600 })
    const step = fc.oneof(store, notify, offer, start, turn, request)
    await expect(
      fc.assert(
        fc.asyncProperty(
          setting,
          rings,
          fc.array(step, { maxLength: 20, size: 'max' }),
          (settings, bytes, steps) => run(settings, steps, bytes),
        ),
        propertyRuns(800, 3000),
      ),
    ).resolves.toBeUndefined()
  })

  test('arbitrary descriptor tables', async () => {
    const step = fc.oneof(
      { arbitrary: request, weight: 6 },
      { arbitrary: fc.oneof(descriptor, offer, notify), weight: 3 },
      { arbitrary: turn, weight: 3 },
      { arbitrary: start, weight: 1 },
      { arbitrary: fc.oneof(withdraw, store), weight: 1 },
    )
    await expect(
      fc.assert(
        fc.asyncProperty(
          setting,
          fc.array(step, { maxLength: 20, size: 'max' }),
          (settings, steps) => run(settings, steps),
        ),
        propertyRuns(1200, 4000),
      ),
    ).resolves.toBeUndefined()
  })

  test('found: one request of an entropy device reads where another is filled', async () => {
    const settings: Setting = {
      device: 'entropy',
      copying: false,
      asynchronous: false,
      high: false,
      longest: 1_000_000,
      withdrawn: [],
      pagedOut: [],
      onInterrupt: 'nothing',
      size: 1,
      features: [VIRTIO_F_INDIRECT_DESC],
    }
    const asked = {
      kind: 'request',
      queue: 0,
      type: 0,
      sector: 0,
      header: false,
      broken: undefined,
    } as const
    const steps: Step[] = [
      { ...asked, indirect: false, buffers: [{ at: 53_869, length: 1 }], writableFrom: 0 },
      {
        ...asked,
        indirect: true,
        buffers: [
          { at: 53_222, length: 718 },
          { at: 33_280, length: 1 },
        ],
        writableFrom: 1,
      },
      { kind: 'start' },
      { kind: 'turn' },
      { kind: 'turn' },
    ]
    // Where another thread fills the one, it takes many tries to meet the look at the other.
    for (let round = 0; round < 200; round++) await run(settings, steps)
    expect(seen.cases).toBeGreaterThanOrEqual(200)
  })

  test('the cases reached what they are for', () => {
    expect(seen.cases).toBeGreaterThanOrEqual(repetitions(2800, 10_000))
    expect(seen.used).toBeGreaterThan(repetitions(500, 2000))
    for (const reason of [
      'available-index',
      'chain-length',
      'head-index',
      'indirect-length',
      'indirect-refused',
      'indirect-unmapped',
      'next-index',
      'ring-unmapped',
      'short-buffer',
      'write-order',
      'zero-length',
    ]) {
      expect([...seen.reasons]).toContain(reason)
    }
  })
})
