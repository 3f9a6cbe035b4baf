import { expect, test } from 'vitest'
import { EntropyDevice } from '../src/index.ts'
import { CopyingGuestMemory, GuestMemoryDouble } from './doubles/guest-memory.ts'
import { DATA, Machine } from './doubles/machine.ts'

test('5.4 device id 4, one queue, no features and no configuration', () => {
  const machine = new Machine(new EntropyDevice())
  expect(machine.read(0x008)).toBe(4)
  expect(machine.transport.device).toMatchObject({ features: 0n, queues: [{ size: 64 }] })
  expect(machine.transport.device.configuration.length).toBe(0)
})

test.each([
  ['mapped', () => new GuestMemoryDouble(64)],
  ['copied', () => new CopyingGuestMemory(64)],
])('5.4.6 fills all writable bytes, and no other: %s', async (_, make) => {
  const machine = new Machine(new EntropyDevice(), { memory: make() })
  const queue = machine.start(8)
  machine.send(queue, [
    { at: DATA, length: 64, write: true },
    { at: DATA + 1000, length: 3000, write: true },
  ])
  machine.send(queue, [{ at: DATA + 8192, length: 32, write: true }], 4)
  await machine.idle()
  expect(machine.used(queue).toSorted((a, b) => a.id - b.id)).toEqual([
    { id: 0, length: 3064 },
    { id: 4, length: 32 },
  ])
  const { bytes } = machine.memory
  const distinct = (from: number, to: number): number => new Set(bytes.subarray(from, to)).size
  expect(distinct(DATA + 1000, DATA + 4000)).toBeGreaterThan(200)
  expect(distinct(DATA, DATA + 64)).toBeGreaterThan(16)
  expect(distinct(DATA + 8192, DATA + 8224)).toBeGreaterThan(8)
  expect(distinct(DATA + 64, DATA + 1000)).toBe(1)
  expect(distinct(DATA + 4000, DATA + 8192)).toBe(1)
  expect(machine.memory.live).toBe(3)
})

test('5.4.6.2 a large buffer gets 64 KiB; one that cannot be written stops the device', async () => {
  const machine = new Machine(new EntropyDevice())
  const queue = machine.start(8)
  machine.send(queue, [{ at: DATA, length: 100_000, write: true }])
  await machine.idle()
  expect(machine.used(queue)).toEqual([{ id: 0, length: 65_536 }])
  machine.memory.withdrawn.add(DATA / 4096)
  machine.send(queue, [{ at: DATA, length: 32, write: true }])
  await machine.idle()
  expect(machine.read(0x070)).toBe(15 | 64)
  expect(machine.memory.live).toBe(0)
})

test('another thread stores nothing into the guest while this one runs', async () => {
  const machine = new Machine(new EntropyDevice())
  const queue = machine.start(8)
  machine.send(queue, [{ at: DATA, length: 4096, write: true }])
  const { bytes } = machine.memory
  let stored = 0
  // The random bytes of a small request are there within 20 µs: this takes a thousand times as long.
  for (let round = 0; round < 10_000; round++) {
    for (let at = DATA; at < DATA + 4096; at += 64) stored |= bytes[at] ?? 0
  }
  expect(stored).toBe(0)
  await machine.idle()
  expect(machine.used(queue)).toEqual([{ id: 0, length: 4096 }])
})

test('requests are handled one at a time, whatever the number of their buffers', async () => {
  const machine = new Machine(new EntropyDevice())
  const queue = machine.start(16)
  for (let id = 0; id < 4; id++) {
    const buffers = Array.from({ length: 4 }, (_, index) => ({
      at: DATA + id * 512 + index * 128,
      length: 100,
      write: true,
    }))
    machine.send(queue, buffers, id * 4)
  }
  await machine.idle()
  expect(machine.used(queue).map(({ length }) => length)).toEqual([400, 400, 400, 400])
  expect(machine.transport.statistics.mostInFlight).toBe(1)
})
