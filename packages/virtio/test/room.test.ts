import { XmcError } from '@xmc/interface'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  BlockDevice,
  type BlockRequestError,
  type GuestRange,
  MemoryDisk,
  VIRTIO_F_INDIRECT_DESC,
} from '../src/index.ts'
import { EchoDevice, HoldingDevice } from './doubles/devices.ts'
import { CopyingGuestMemory, GuestMemoryDouble } from './doubles/guest-memory.ts'
import { DATA, Machine, turns } from './doubles/machine.ts'

/** What a provider throws that has no room. */
class NoRoomError extends XmcError {
  constructor(shortage: 'passing' | 'lasting') {
    super('ERR_XMC_NO_ROOM', 'all of 4 ranges are in use: raise the option ranges', { shortage })
  }
}

/** Ranges that a host has room for, and who waits for one. */
class Host {
  room: number
  shortage: 'passing' | 'lasting' = 'passing'
  refusals = 0
  readonly clients = new Set<() => void>()

  constructor(room: number) {
    this.room = room
  }

  take(): void {
    if (this.room === 0) {
      this.refusals += 1
      throw new NoRoomError(this.shortage)
    }
    this.room -= 1
  }

  give(): void {
    this.room += 1
    for (const client of this.clients) setImmediate(client)
    this.clients.clear()
  }
}

type Kind = 'mapping' | 'copying'

/** Guest memory whose ranges need room on a host that others use, too. */
function memoryOn(host: Host, kind: Kind): GuestMemoryDouble {
  const memory = kind === 'mapping' ? new GuestMemoryDouble(64) : new CopyingGuestMemory(64)
  const held = (range: GuestRange): GuestRange => ({
    ...range,
    release: (accessed) => {
      range.release(accessed)
      host.give()
    },
  })
  const map = memory.map.bind(memory)
  memory.map = (page, offset, length, write) => {
    host.take()
    try {
      return held(map(page, offset, length, write))
    } catch (error) {
      host.room += 1
      throw error
    }
  }
  memory.mapAsync = async (page, offset, length, write) => {
    await memory.gate
    return memory.map(page, offset, length, write)
  }
  return memory
}

/** Lets the transport hear of room, as an address space does. */
function announced(memory: GuestMemoryDouble, host: Host, held: () => boolean): GuestMemoryDouble {
  return Object.assign(memory, {
    awaitRoom: (client: () => void) => {
      if (!held()) return undefined
      const entry = (): void => client()
      host.clients.add(entry)
      return () => void host.clients.delete(entry)
    },
  })
}

const IN = { at: DATA + 4096, length: 4, write: true }
const RINGS = 3

describe.each([
  ['synchronous', true],
  ['synchronous', false],
  ['asynchronous', true],
  ['asynchronous', false],
] as const)('room on the host that others make, %s mapping, awaitRoom %s', (mapping, announces) => {
  function world(room: number, device = new HoldingDevice()) {
    const host = new Host(room)
    const plain = memoryOn(host, 'mapping')
    const memory = announces ? announced(plain, host, () => host.room < room) : plain
    return { host, memory, device, machine: new Machine(device, { memory, mapping }) }
  }

  test('requests over it wait, in order, and are served as others end', async () => {
    const { host, device, machine } = world(RINGS + 4)
    const queue = machine.start(16)
    await turns(3)
    for (let head = 0; head < 5; head += 1) {
      machine.send(queue, [IN, { ...IN, at: IN.at + 64 }], 2 * head)
    }
    await turns(3)
    expect(device.held.map(({ chain }) => chain.head)).toEqual([0, 2])
    // The others hold nothing.
    expect(host.room).toBe(0)
    // Asynchronous maps are under way together.
    const waiting = mapping === 'synchronous' ? 1 : 3
    expect(machine.transport.statistics).toMatchObject({ waits: waiting, waiting })
    for (let ended = 0; ended < 5; ended += 1) {
      device.held[ended]?.resolve(0)
      await turns(6)
    }
    expect(machine.used(queue).map(({ id }) => id)).toEqual([0, 2, 4, 6, 8])
    expect(machine.transport.statistics.waiting).toBe(0)
    expect(host.room).toBe(4)
    expect(machine.faults).toEqual([])
  })

  test('it may be made by somebody else', async () => {
    const { host, device, machine, memory } = world(RINGS + 1)
    const queue = machine.start(16)
    await turns(3)
    const other = memory.map(40, 0, 16, false)
    machine.send(queue, [IN])
    await turns(5)
    expect(device.held.length).toBe(0)
    other.release(0)
    while (device.held.length === 0) await turns(1)
    device.held[0]?.resolve(0)
    await turns(3)
    expect(machine.usedIndex(queue)).toBe(1)
    expect(host.refusals).toBeGreaterThan(0)
  })

  test('rings wait for it when the device is started', async () => {
    const { host, machine, memory, device } = world(RINGS)
    const other = memory.map(40, 0, 16, false)
    const queue = machine.start(16)
    await turns(3)
    expect(machine.transport.fault).toBeUndefined()
    expect(host.room).toBe(2)
    expect(machine.transport.statistics).toMatchObject({ waits: 1, waiting: 1 })
    machine.chain(queue.descriptors, 0, [IN])
    machine.offer(queue, 0)
    machine.notify(queue)
    other.release(0)
    while (machine.transport.mappedRanges < RINGS) await turns(1)
    host.give()
    while (device.held.length === 0) await turns(1)
    device.held[0]?.resolve(0)
    await turns(3)
    expect(machine.usedIndex(queue)).toBe(1)
  })

  test('so do indirect tables', async () => {
    const { host, machine, memory, device } = world(RINGS + 2)
    const queue = machine.start(4, VIRTIO_F_INDIRECT_DESC)
    await turns(3)
    machine.chain(DATA, 0, [IN])
    machine.descriptor(queue.descriptors, 0, { address: BigInt(DATA), length: 16, flags: 4 })
    const others = [memory.map(40, 0, 16, false), memory.map(40, 0, 16, false)]
    machine.offer(queue, 0)
    machine.notify(queue)
    await turns(3)
    expect(machine.transport.statistics.waiting).toBe(1)
    for (const other of others) other.release(0)
    while (device.held.length === 0) await turns(1)
    device.held[0]?.resolve(0)
    await turns(3)
    expect(machine.used(queue)).toEqual([{ id: 0, length: 0 }])
    expect(host.room).toBe(2)
  })

  test.each(['reset', 'QueueReady', 'close'])(
    'a %s while requests and rings wait completes',
    async (how) => {
      const { host, machine, memory } = world(RINGS + 1)
      const queue = machine.start(16)
      await turns(3)
      const other = memory.map(40, 0, 16, false)
      machine.send(queue, [IN])
      machine.send(queue, [IN])
      await turns(3)
      expect(machine.transport.statistics.waiting).toBe(mapping === 'synchronous' ? 1 : 2)
      if (how === 'reset') machine.write(0x070, 0)
      else if (how === 'close') void machine.transport.close()
      else machine.write(0x044, 0)
      expect(machine.transport).toMatchObject({ draining: false, inFlight: 0, mappedRanges: 0 })
      expect(machine.transport.statistics).toMatchObject({ waiting: 0, bytesInFlight: 0 })
      expect(host.clients.size).toBe(0)
      other.release(0)
      await turns(5)
      expect(machine.usedIndex(queue)).toBe(0)
      expect(host.room).toBe(RINGS + 1)
      expect(machine.faults).toEqual([])
    },
  )

  test('whatever room there is, all requests that could ever fit are served', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 3, max: 9 }),
        fc.array(fc.integer({ min: 1, max: 3 }), { minLength: 1, maxLength: 12 }),
        async (room, requests) => {
          const { host, machine } = world(
            RINGS + room,
            Object.assign(new HoldingDevice(), {
              handle: () => turns(1).then(() => 0),
            }),
          )
          const queue = machine.start(64)
          await turns(3)
          let first = 0
          for (const buffers of requests) {
            machine.chain(
              queue.descriptors,
              first,
              Array.from({ length: buffers }, () => IN),
            )
            machine.offer(queue, first)
            first += buffers
          }
          machine.notify(queue)
          for (let turn = 0; turn < 2000; turn += 1) {
            if (machine.usedIndex(queue) === requests.length) break
            await turns(1)
          }
          expect(machine.usedIndex(queue)).toBe(requests.length)
          expect(host.room).toBe(room)
          expect(machine.faults).toEqual([])
        },
      ),
      { numRuns: 5 },
    )
  })
})

function disk(host: Host, memory: GuestMemoryDouble, roomPatience?: number) {
  const errors: BlockRequestError[] = []
  const device = new BlockDevice({
    disk: new MemoryDisk(65_536),
    queueSize: 64,
    onError: (error) => errors.push(error),
  })
  const machine = new Machine(device, { memory, roomPatience })
  const queue = machine.start(64)
  const send = (): void => {
    const data = Array.from({ length: 8 }, () => ({ at: DATA + 8192, length: 512, write: true }))
    machine.send(queue, [{ at: DATA, length: 16 }, ...data, { ...IN, length: 1 }])
  }
  return { host, machine, queue, errors, send }
}

describe('a request that could never fit', () => {
  test.each([
    ['the memory says that waiting does not help', 'passing'],
    ['the shortage lasts', 'lasting'],
  ] as const)(
    'fails when %s: the error names the limit, and blames nobody',
    async (_, shortage) => {
      const host = new Host(RINGS + 5)
      host.shortage = shortage
      const memory = announced(memoryOn(host, 'mapping'), host, () => false)
      const { machine, queue, errors, send } = disk(host, memory)
      send()
      await turns(4)
      expect(machine.used(queue)).toEqual([{ id: 0, length: 0 }])
      expect(memory.bytes[IN.at]).toBe(1)
      expect(errors).toHaveLength(1)
      const cause = errors[0]?.cause
      expect(cause).toMatchObject({ code: 'ERR_XMC_GUEST_BUFFER', shortage })
      expect(String(cause)).toContain('raise the option ranges')
      expect(String(cause)).not.toContain('driver')
      expect(host.room).toBe(5)
      expect(machine.transport.statistics.waiting).toBe(0)
    },
  )

  test('fails after its patience where the memory does not say', async () => {
    const host = new Host(RINGS + 5)
    const { machine, queue, errors, send } = disk(host, memoryOn(host, 'mapping'), 0)
    send()
    await turns(4)
    expect(machine.used(queue)).toEqual([{ id: 0, length: 0 }])
    expect(errors[0]?.cause).toMatchObject({ shortage: 'passing' })
  })

  test('waits as long as a request of its own transport is in flight', async () => {
    const host = new Host(RINGS + 2)
    host.shortage = 'lasting'
    const memory = announced(memoryOn(host, 'mapping'), host, () => false)
    const device = new HoldingDevice()
    const machine = new Machine(device, { memory, roomPatience: 0 })
    const queue = machine.start(16)
    machine.send(queue, [IN, { ...IN, at: IN.at + 64 }])
    machine.send(queue, [IN, { ...IN, at: IN.at + 64 }], 2)
    await turns(20)
    expect(device.held.length).toBe(1)
    expect(machine.transport.statistics).toMatchObject({ waiting: 1, waits: 1 })
    device.held[0]?.resolve(0)
    await turns(5)
    expect(device.held.length).toBe(2)
  })

  test('is answered in its order', async () => {
    const host = new Host(RINGS + 2)
    const memory = announced(memoryOn(host, 'mapping'), host, () => false)
    const machine = new Machine(new EchoDevice(), { memory })
    const queue = machine.start(16)
    const refused = { code: 'ERR_XMC_GUEST_BUFFER', shortage: 'passing' }
    const small = (head: number): void => machine.chain(queue.descriptors, head, [IN])
    machine.chain(queue.descriptors, 4, [
      { at: DATA, length: 4 },
      ...[1, 2, 3].map((place) => ({ ...IN, at: IN.at + 64 * place, length: 70 })),
    ])
    small(0)
    small(1)
    for (const head of [0, 4, 1]) machine.offer(queue, head)
    machine.notify(queue)
    await turns(5)
    // An echo cannot be given: the device needs a reset then.
    expect(machine.transport.fault).toMatchObject(refused)
    expect(machine.used(queue)).toEqual([{ id: 0, length: 0 }])
    expect(host.room).toBe(RINGS + 2)
  })

  test('rings say so, and blame nobody', async () => {
    const host = new Host(2)
    const memory = announced(memoryOn(host, 'mapping'), host, () => false)
    const machine = new Machine(new EchoDevice(), { memory })
    machine.start(16)
    await turns(3)
    expect(machine.transport.fault).toMatchObject({
      code: 'ERR_XMC_VIRTQUEUE',
      reason: 'ring-unmapped',
      shortage: 'passing',
      message: expect.stringContaining('raise the option ranges'),
    })
    expect(host.room).toBe(2)
  })
})

describe('copies', () => {
  test('that need a mapping wait for room, to be read and to be written back', async () => {
    const host = new Host(RINGS)
    const memory = announced(memoryOn(host, 'copying'), host, () => true)
    if (!(memory instanceof CopyingGuestMemory)) throw new TypeError('no copies')
    const machine = new Machine(new EchoDevice(), { memory })
    const queue = machine.start(16)
    memory.mapOnly = true
    machine.put(DATA, 'ping')
    machine.send(queue, [{ at: DATA, length: 4 }, IN])
    await turns(4)
    expect(machine.transport.statistics).toMatchObject({ waiting: 1, waits: 1 })
    host.give()
    await turns(4)
    expect(machine.text(IN.at, 4)).toBe('ping')
    expect(machine.used(queue)).toEqual([{ id: 0, length: 4 }])

    // Read by a copy; what is written cannot be.
    memory.mapOnly = false
    memory.write = () => {
      throw new NoRoomError('passing')
    }
    host.room = 0
    machine.put(DATA, 'pong')
    machine.send(queue, [{ at: DATA, length: 4 }, IN])
    await turns(4)
    expect(machine.usedIndex(queue)).toBe(1)
    expect(machine.transport.statistics).toMatchObject({ waiting: 1, waits: 2 })
    host.give()
    await turns(4)
    expect(machine.text(IN.at, 4)).toBe('pong')
    expect(machine.usedIndex(queue)).toBe(2)
  })
})
