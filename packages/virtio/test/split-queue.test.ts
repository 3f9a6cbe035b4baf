import { describe, expect, test, vi } from 'vitest'
import {
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_INDIRECT_DESC,
  VirtqueueError,
  type VirtqueueReason,
} from '../src/index.ts'
import { codeOf } from '../src/internal/error-parts.ts'
import { eventPassed } from '../src/ring-layout.ts'
import { EchoDevice, HoldingDevice } from './doubles/devices.ts'
import { CopyingGuestMemory, GuestMemoryDouble } from './doubles/guest-memory.ts'
import { DATA, Machine, type TestQueue, turns } from './doubles/machine.ts'

const NEXT = 1
const WRITE = 2
const INDIRECT = 4
const TABLE = DATA + 4096
const OUT = { at: DATA, length: 4 }
const IN = { at: DATA + 64, length: 4, write: true }

/** Address of the grant region: bit 63, so page 2^51. */
const GRANTS = 2 ** 51

/** What is to be seen of a device after a fault. */
function outcome(machine: Machine): object {
  const { fault, inFlight, mappedRanges } = machine.transport
  return {
    code: codeOf(fault),
    reason: fault instanceof VirtqueueError ? fault.reason : undefined,
    status: machine.read(0x070),
    interrupt: machine.levels.at(-1),
    inFlight,
    mappedRanges,
    live: machine.memory.live,
  }
}

/** Where a view starts in its buffer. */
function startOf(view: unknown): number {
  return view instanceof DataView ? view.byteOffset : Number.NaN
}

/** The outcome where a rule of virtqueues was broken. */
function refused(reason: VirtqueueReason): object {
  return {
    code: 'ERR_XMC_VIRTQUEUE',
    reason,
    status: 15 | 64,
    interrupt: true,
    inFlight: 0,
    mappedRanges: 0,
    live: 0,
  }
}

function started(...features: number[]): { machine: Machine; queue: TestQueue } {
  const machine = new Machine(new EchoDevice([{ size: 16 }]))
  return { machine, queue: machine.start(4, ...features) }
}

describe('rings', () => {
  test('2.7.13, 2.7.14 a request is taken, answered and published with its length', () => {
    const machine = new Machine(new EchoDevice())
    const queue = machine.start(4)
    machine.put(DATA, 'ping')
    machine.send(queue, [OUT, { ...IN, length: 16 }])
    expect(machine.used(queue)).toEqual([{ id: 0, length: 4 }])
    expect(machine.text(IN.at, 4)).toBe('ping')
    expect(machine.read(0x060)).toBe(1)
    expect(machine.transport.statistics).toMatchObject({ notifications: 1, used: 1, interrupts: 1 })
  })

  test('2.7.8 used elements name the head, in the order in which requests finish', () => {
    const device = new HoldingDevice()
    const machine = new Machine(device)
    const queue = machine.start(8)
    for (const first of [5, 0, 3]) machine.send(queue, [IN], first)
    expect(machine.transport.inFlight).toBe(3)
    return (async () => {
      device.held[1]?.resolve(1)
      await turns(1)
      device.held[2]?.resolve(2)
      await turns(1)
      device.held[0]?.resolve(0)
      await turns(1)
      expect(machine.used(queue)).toEqual([
        { id: 0, length: 1 },
        { id: 3, length: 2 },
        { id: 5, length: 0 },
      ])
    })()
  })

  test.each([1, 2, 8])('2.7.6, 2.7.8 indexes wrap at 65536 in a queue of %i', async (size) => {
    const machine = new Machine(new EchoDevice([{ size: 8 }]))
    const queue = machine.start(size)
    machine.chain(queue.descriptors, 0, [IN])
    for (let request = 0; request < 65_540; request += 1) {
      machine.offer(queue, 0)
      machine.notify(queue)
      // As many as the budget of a turn is for.
      if (request % 1024 === 0) await turns(1)
    }
    expect(machine.usedIndex(queue)).toBe(4)
    expect(machine.read(0x070)).toBe(15)
    expect(machine.transport.statistics.used).toBe(65_540)
  })

  test('2.7.6 many requests of one notification are all served', () => {
    const machine = new Machine(new EchoDevice())
    const queue = machine.start(64)
    for (let head = 0; head < 64; head += 1) {
      machine.chain(queue.descriptors, head, [IN])
      machine.offer(queue, head)
    }
    machine.notify(queue)
    expect(machine.used(queue).map(({ id }) => id)).toEqual(
      Array.from({ length: 64 }, (_, head) => head),
    )
  })

  test('2.7.10.2 spurious notifications do nothing', () => {
    const machine = new Machine(new EchoDevice())
    const queue = machine.start(4)
    machine.notify(queue)
    machine.notify(queue)
    expect(machine.usedIndex(queue)).toBe(0)
    expect(machine.levels).toEqual([])
    expect(machine.transport.statistics.notifications).toBe(2)
  })

  test('S75 queue of 64 in one page: descriptors and available ring read-only, used ring writable', () => {
    const memory = new GuestMemoryDouble(64, GRANTS)
    memory.log = []
    const machine = new Machine(new EchoDevice(), { memory })
    machine.negotiate()
    machine.enable({ index: 0, size: 64, descriptors: 0, available: 1024, used: 1216 })
    machine.driverOk()
    // The rings end with room for the event indexes, which the scenario's lengths count as well.
    expect(memory.log).toEqual(['map 0+0 1024 r', 'map 0+1216 518 w', 'map 0+1024 134 r'])
    machine.write(0x070, 0)
    expect(memory.log.slice(3)).toEqual(['release 0+0 0', 'release 0+1216 518', 'release 0+1024 0'])
    expect(machine.transport.mappedRanges).toBe(0)
  })

  test('2.7.5 addresses are 64 bits: rings and buffers with bit 63 set', () => {
    const machine = new Machine(new EchoDevice(), { memory: new GuestMemoryDouble(64, GRANTS) })
    const queue = machine.start(4)
    expect(machine.deviceAddress(DATA)).toBe(0x8000_0000_0000_8000n)
    machine.put(DATA, 'ping')
    machine.send(queue, [OUT, IN])
    expect(machine.text(IN.at, 4)).toBe('ping')
  })

  test('2.7.5 the last bytes below 2^64 are an address like any other', () => {
    const memory = new GuestMemoryDouble(16, 2 ** 52 - 16)
    const machine = new Machine(new EchoDevice(), { memory })
    const queue = machine.start(4)
    const at = 16 * 4096 - 4
    machine.put(at, 'last')
    machine.send(queue, [{ at, length: 4 }, IN])
    expect(machine.deviceAddress(at) + 4n).toBe(1n << 64n)
    expect(machine.text(IN.at, 4)).toBe('last')
  })

  test.each(['descriptors', 'available', 'used'] as const)(
    'rings whose %s are withdrawn, or not in one piece: a fault, and nothing stays mapped',
    (part) => {
      const machine = new Machine(new EchoDevice())
      const pages = { descriptors: 20, available: 24, used: 28 }
      const layout = {
        index: 0,
        size: 64,
        descriptors: 20 * 4096,
        available: 24 * 4096,
        used: 28 * 4096,
      }
      machine.memory.withdrawn.add(pages[part])
      machine.negotiate()
      machine.enable(layout)
      machine.driverOk()
      expect(machine.transport.fault).toMatchObject({ reason: 'ring-unmapped' })
      expect(machine.memory.live).toBe(0)

      machine.memory.withdrawn.clear()
      machine.memory.withdrawn.add(pages[part] + 1)
      machine.negotiate()
      machine.enable({ ...layout, [part]: (pages[part] + 1) * 4096 - 64 })
      machine.driverOk()
      expect(machine.transport.fault).toMatchObject({
        reason: 'ring-unmapped',
        message: expect.stringContaining('not contiguous'),
      })
      expect(machine.memory.live).toBe(0)
      expect(machine.read(0x070)).toBe(15 | 64)
    },
  )
})

test('rings of one queue that cannot be mapped: those of the others are not either', () => {
  const machine = new Machine(new EchoDevice())
  machine.memory.withdrawn.add(0)
  machine.negotiate()
  machine.enable(machine.queue(0, 4))
  machine.enable(machine.queue(1, 4))
  machine.driverOk()
  expect(outcome(machine)).toEqual(refused('ring-unmapped'))
})

describe('what a driver may not do with a queue', () => {
  test.each([5, 0x8000, 0xffff])('2.7.6.1 an available index %i ahead', (ahead) => {
    const { machine, queue } = started()
    machine.view.setUint16(queue.available + 2, ahead, true)
    machine.notify(queue)
    expect(outcome(machine)).toEqual(refused('available-index'))
    expect(machine.usedIndex(queue)).toBe(0)
  })

  test('2.7.6.1 an available index that goes back', () => {
    const { machine, queue } = started()
    machine.send(queue, [IN])
    machine.view.setUint16(queue.available + 2, 0, true)
    machine.notify(queue)
    expect(outcome(machine)).toEqual(refused('available-index'))
  })

  test.each([4, 5, 0xffff])('2.7.6 a head that is no descriptor: %i of 4', (head) => {
    const { machine, queue } = started()
    machine.offer(queue, head)
    machine.notify(queue)
    expect(outcome(machine)).toEqual(refused('head-index'))
  })

  test('2.7.5 a next that is no descriptor', () => {
    const { machine, queue } = started()
    machine.descriptor(queue.descriptors, 0, {
      address: BigInt(DATA),
      length: 4,
      flags: NEXT,
      next: 4,
    })
    machine.offer(queue, 0)
    machine.notify(queue)
    expect(outcome(machine)).toEqual(refused('next-index'))
  })

  test.each([0, 1, 3])('2.7.5.2 a loop through descriptor %i', (next) => {
    const { machine, queue } = started()
    for (let index = 0; index < 4; index += 1) {
      machine.descriptor(queue.descriptors, index, {
        address: BigInt(DATA),
        length: 4,
        flags: NEXT,
        next: index === 3 ? next : index + 1,
      })
    }
    machine.offer(queue, 0)
    machine.notify(queue)
    expect(machine.transport.fault?.message).toContain('is a loop in a table of 4')
    expect(outcome(machine)).toEqual(refused('chain-length'))
  })

  test('2.7.5 a buffer with no bytes', () => {
    const { machine, queue } = started()
    machine.send(queue, [OUT, { at: DATA, length: 0 }, IN])
    expect(outcome(machine)).toEqual(refused('zero-length'))
  })

  test.each([
    [0xffff_ffff_ffff_ffffn, 2],
    [0xffff_ffff_ffff_f000n, 4097],
    [0xffff_ffff_0000_0002n, 0xffff_ffff],
  ])('2.7.5 a buffer that runs over 2^64: %i and %i bytes', (address, length) => {
    const { machine, queue } = started()
    machine.descriptor(queue.descriptors, 0, { address, length, flags: WRITE })
    machine.offer(queue, 0)
    machine.notify(queue)
    expect(outcome(machine)).toEqual(refused('address-overflow'))
  })

  test('2.7.5.2 a chain of over 2^32 bytes', () => {
    const { machine, queue } = started()
    machine.send(queue, [
      { at: 0, length: 0xffff_ffff, write: true },
      { at: 0, length: 2, write: true },
    ])
    expect(outcome(machine)).toEqual(refused('total-length'))
  })

  test('2.7.4.2 a device-readable buffer behind a device-writable one', () => {
    const { machine, queue } = started()
    machine.send(queue, [IN, OUT])
    expect(outcome(machine)).toEqual(refused('write-order'))
  })

  test('2.7.5.3.1 an indirect descriptor without the feature', () => {
    const { machine, queue } = started()
    machine.descriptor(queue.descriptors, 0, {
      address: BigInt(TABLE),
      length: 16,
      flags: INDIRECT,
    })
    machine.offer(queue, 0)
    machine.notify(queue)
    expect(outcome(machine)).toEqual(refused('indirect-refused'))
  })

  test('2.7.5.3.1 an indirect descriptor with NEXT', () => {
    const { machine, queue } = started(VIRTIO_F_INDIRECT_DESC)
    machine.chain(TABLE, 0, [IN])
    machine.descriptor(queue.descriptors, 0, {
      address: BigInt(TABLE),
      length: 16,
      flags: INDIRECT | NEXT,
      next: 1,
    })
    machine.offer(queue, 0)
    machine.notify(queue)
    expect(outcome(machine)).toEqual(refused('indirect-refused'))
  })

  test('2.7.5.3.1 an indirect descriptor in an indirect table', () => {
    const { machine, queue } = started(VIRTIO_F_INDIRECT_DESC)
    machine.descriptor(TABLE, 0, { address: BigInt(TABLE), length: 16, flags: INDIRECT })
    machine.descriptor(queue.descriptors, 0, {
      address: BigInt(TABLE),
      length: 16,
      flags: INDIRECT,
    })
    machine.offer(queue, 0)
    machine.notify(queue)
    expect(outcome(machine)).toEqual(refused('indirect-refused'))
  })

  test.each([0, 8, 17, 16 * 65_537, 0xffff_fff0])(
    '2.7.5.3 an indirect table of %i bytes',
    (length) => {
      const { machine, queue } = started(VIRTIO_F_INDIRECT_DESC)
      machine.descriptor(queue.descriptors, 0, { address: BigInt(TABLE), length, flags: INDIRECT })
      machine.offer(queue, 0)
      machine.notify(queue)
      expect(outcome(machine)).toEqual(refused('indirect-length'))
    },
  )

  test('2.7.5.3 an indirect table that is withdrawn', () => {
    const { machine, queue } = started(VIRTIO_F_INDIRECT_DESC)
    machine.memory.withdrawn.add(TABLE / 4096)
    machine.descriptor(queue.descriptors, 0, {
      address: BigInt(TABLE),
      length: 16,
      flags: INDIRECT,
    })
    machine.offer(queue, 0)
    machine.notify(queue)
    expect(outcome(machine)).toEqual(refused('indirect-unmapped'))
  })

  test('2.7.5.3 a loop, and a next that leads out of an indirect table', () => {
    for (const [next, reason] of [
      [0, 'chain-length'],
      [2, 'next-index'],
    ] as const) {
      const { machine, queue } = started(VIRTIO_F_INDIRECT_DESC)
      machine.chain(TABLE, 0, [OUT, OUT])
      machine.descriptor(TABLE, 1, { address: BigInt(DATA), length: 4, flags: NEXT, next })
      machine.descriptor(queue.descriptors, 0, {
        address: BigInt(TABLE),
        length: 32,
        flags: INDIRECT,
      })
      machine.offer(queue, 0)
      machine.notify(queue)
      expect(outcome(machine)).toEqual(refused(reason))
    }
  })

  test('2.7.5.3.1 a chain with more buffers than the queue, direct ones and indirect ones', () => {
    const { machine, queue } = started(VIRTIO_F_INDIRECT_DESC)
    machine.chain(
      TABLE,
      0,
      Array.from({ length: 16 }, () => IN),
    )
    machine.chain(queue.descriptors, 0, [IN, IN])
    machine.descriptor(queue.descriptors, 1, {
      address: BigInt(TABLE),
      length: 256,
      flags: INDIRECT,
    })
    machine.offer(queue, 0)
    machine.notify(queue)
    expect(outcome(machine)).toEqual(refused('chain-length'))
  })
})

describe('indirect descriptors', () => {
  test.each([
    ['through mappings', () => new GuestMemoryDouble(64)],
    ['by copies', () => new CopyingGuestMemory(64)],
  ])('2.7.5.3.2 alone, and behind direct ones; WRITE on the table is ignored: %s', (_, make) => {
    const machine = new Machine(new EchoDevice(), { memory: make() })
    const queue = machine.start(4, VIRTIO_F_INDIRECT_DESC)
    machine.put(DATA, 'abcd')
    machine.put(DATA + 32, 'efgh')
    machine.chain(TABLE, 0, [
      { at: DATA + 32, length: 4 },
      { ...IN, length: 8 },
    ])
    machine.descriptor(queue.descriptors, 0, {
      address: BigInt(DATA),
      length: 4,
      flags: NEXT,
      next: 1,
    })
    machine.descriptor(queue.descriptors, 1, {
      address: BigInt(TABLE),
      length: 32,
      flags: INDIRECT | WRITE,
    })
    machine.offer(queue, 1)
    machine.offer(queue, 0)
    machine.notify(queue)
    expect(machine.used(queue)).toEqual([
      { id: 1, length: 4 },
      { id: 0, length: 8 },
    ])
    expect(machine.text(IN.at, 8)).toBe('abcdefgh')
    expect(machine.memory.live).toBe(3)
  })

  test('2.7.5.3 chained in any order, up to the largest size of the queue', () => {
    const machine = new Machine(new EchoDevice([{ size: 16 }]))
    const queue = machine.start(4, VIRTIO_F_INDIRECT_DESC)
    for (let index = 0; index < 16; index += 1) {
      // 0, 15, 14, … 1: the order of a chain is that of its links.
      machine.descriptor(TABLE, index, {
        address: BigInt(DATA + index),
        length: 1,
        flags: index === 1 ? WRITE : index === 2 ? NEXT | WRITE : NEXT,
        next: index === 0 ? 15 : index - 1,
      })
    }
    machine.put(DATA, 'abcdefghijklmnop')
    machine.descriptor(queue.descriptors, 0, {
      address: BigInt(TABLE),
      length: 256,
      flags: INDIRECT,
    })
    machine.offer(queue, 0)
    machine.notify(queue)
    expect(machine.used(queue)).toEqual([{ id: 0, length: 2 }])
    expect(machine.text(DATA, 4)).toBe('apad')
  })

  test('2.7.5.3 a table that lies in pieces', () => {
    const machine = new Machine(new EchoDevice())
    const queue = machine.start(4, VIRTIO_F_INDIRECT_DESC)
    machine.memory.longest = 5
    machine.put(DATA, 'abcd')
    machine.chain(TABLE + 4090, 0, [OUT, IN])
    machine.descriptor(queue.descriptors, 0, {
      address: BigInt(TABLE + 4090),
      length: 32,
      flags: INDIRECT,
    })
    machine.offer(queue, 0)
    machine.notify(queue)
    expect(machine.text(IN.at, 4)).toBe('abcd')
    expect(machine.memory.live).toBe(3)
  })
})

describe('double fetch', () => {
  test('each field of a descriptor, and each entry of the ring, is read once', () => {
    const machine = new Machine(new EchoDevice())
    const queue = machine.start(4)
    machine.put(DATA, 'ping')
    machine.chain(queue.descriptors, 0, [OUT, IN])
    machine.offer(queue, 0)
    const spies = [
      vi.spyOn(DataView.prototype, 'getUint32'),
      vi.spyOn(DataView.prototype, 'getUint16'),
    ]
    machine.notify(queue)
    const places = spies.flatMap(({ mock }) =>
      mock.calls.map(([offset], call) => startOf(mock.contexts[call]) + offset),
    )
    vi.restoreAllMocks()
    expect(machine.usedIndex(queue)).toBe(1)
    expect(places.toSorted((a, b) => a - b)).toEqual([
      ...[0, 4, 8, 12, 16, 20, 24, 28].map((offset) => queue.descriptors + offset),
      queue.available + 4,
    ])
  })

  test('a table that the guest changes behind the device is the one that was read', () => {
    const memory = new GuestMemoryDouble(64)
    const machine = new Machine(new EchoDevice(), { memory })
    const queue = machine.start(4, VIRTIO_F_INDIRECT_DESC)
    machine.put(DATA, 'ping')
    machine.chain(TABLE, 0, [OUT, IN])
    machine.descriptor(queue.descriptors, 0, {
      address: BigInt(TABLE),
      length: 32,
      flags: INDIRECT,
    })
    machine.offer(queue, 0)
    memory.onRelease = (page) => {
      if (page === TABLE / 4096) memory.bytes.fill(0xff, TABLE, TABLE + 32)
    }
    machine.notify(queue)
    expect(machine.text(IN.at, 4)).toBe('ping')
    expect(machine.read(0x070)).toBe(15)
  })
})

describe('notification suppression', () => {
  test('2.7.7.2 without EVENT_IDX: no interrupt when flags are 1, used_event is ignored', () => {
    const machine = new Machine(new EchoDevice())
    const queue = machine.start(4)
    machine.setUsedEvent(queue, 0)
    machine.view.setUint16(queue.available, 1, true)
    machine.send(queue, [IN])
    expect(machine.levels).toEqual([])
    machine.view.setUint16(queue.available, 0, true)
    machine.setUsedEvent(queue, 77)
    machine.send(queue, [IN])
    expect(machine.levels).toEqual([true])
  })

  test('2.7.7.2 with EVENT_IDX: an interrupt when used_event is passed, flags are ignored', () => {
    const machine = new Machine(new EchoDevice())
    const queue = machine.start(4, VIRTIO_F_EVENT_IDX)
    machine.view.setUint16(queue.available, 1, true)
    machine.setUsedEvent(queue, 2)
    machine.send(queue, [IN])
    machine.send(queue, [IN])
    expect(machine.levels).toEqual([])
    machine.send(queue, [IN])
    expect(machine.levels).toEqual([true])
    machine.write(0x064, 1)
    machine.send(queue, [IN])
    expect(machine.levels).toEqual([true, false])
  })

  test('2.7.10.2 with EVENT_IDX avail_event follows the available index; without it stays 0', () => {
    for (const features of [[VIRTIO_F_EVENT_IDX], []]) {
      const machine = new Machine(new EchoDevice())
      const queue = machine.start(4, ...features)
      machine.send(queue, [IN])
      machine.send(queue, [IN])
      expect(machine.availableEvent(queue)).toBe(features.length === 0 ? 0 : 2)
      expect(machine.view.getUint16(queue.used, true)).toBe(0)
    }
  })

  test('2.7.10.2 a request that comes in after the ring was found empty is seen', () => {
    let calls = 0
    const device = Object.assign(new EchoDevice(), {
      ready: () => {
        calls += 1
        // Asked before the first request, before the look that finds none, and before the device
        // asks for a notification: there the guest is quicker.
        if (calls === 3) machine.offer(queue, 0)
        return true
      },
    })
    const machine: Machine = new Machine(device)
    const queue = machine.start(4, VIRTIO_F_EVENT_IDX)
    machine.send(queue, [IN])
    expect(machine.usedIndex(queue)).toBe(2)
    expect(machine.availableEvent(queue)).toBe(2)
  })

  test('2.7.10.2 so is one that comes in while the device is busy with the first', () => {
    let calls = 0
    const device = Object.assign(new HoldingDevice(), {
      ready: () => {
        calls += 1
        if (calls === 3) machine.offer(queue, 0)
        return true
      },
    })
    const machine: Machine = new Machine(device)
    const queue = machine.start(4, VIRTIO_F_EVENT_IDX)
    machine.send(queue, [IN])
    expect(device.held.length).toBe(2)
    expect(machine.availableEvent(queue)).toBe(2)
  })

  test('2.7.7.2 used_event is a counter that wraps', () => {
    expect(eventPassed(0xffff, 0, 0xffff)).toBe(true)
    expect(eventPassed(0, 1, 0)).toBe(true)
    expect(eventPassed(0xfffe, 0, 0xffff)).toBe(false)
    expect(eventPassed(0, 0, 0xffff)).toBe(false)
  })
})

describe('bounds', () => {
  test('a queue takes no more requests than its limit, and goes on as they finish', async () => {
    const device = new HoldingDevice([{ size: 16, inFlight: 2 }])
    const machine = new Machine(device)
    const queue = machine.start(16)
    for (let head = 0; head < 5; head += 1) machine.send(queue, [IN], head)
    expect(device.held.length).toBe(2)
    device.held[0]?.resolve(0)
    await turns(1)
    expect(device.held.length).toBe(3)
    for (let index = 1; index < 5; index += 1) {
      device.held[index]?.resolve(0)
      await turns(1)
    }
    expect(machine.used(queue).map(({ id }) => id)).toEqual([0, 1, 2, 3, 4])
  })

  test('requests wait while those in flight have too many bytes, but for one of each queue', async () => {
    const device = new HoldingDevice()
    const machine = new Machine(device, { bytesInFlight: 100 })
    machine.negotiate()
    const first = machine.enable(machine.queue(0, 4))
    const second = machine.enable(machine.queue(1, 4))
    machine.driverOk()
    const large = { at: DATA, length: 100, write: true }
    machine.send(first, [large])
    machine.send(first, [large], 1)
    machine.send(second, [large])
    expect(device.held.map(({ chain }) => chain.queue)).toEqual([0, 1])
    device.held[0]?.resolve(0)
    await turns(1)
    expect(device.held.map(({ chain }) => chain.queue)).toEqual([0, 1, 0])
    device.held[1]?.resolve(0)
    device.held[2]?.resolve(0)
    await machine.idle()
    expect(machine.usedIndex(first)).toBe(2)
  })

  test('a device that is not ready gets its requests when it resumes', () => {
    let open = false
    const device = Object.assign(new EchoDevice(), { ready: () => open })
    const machine = new Machine(device)
    const queue = machine.start(4)
    machine.send(queue, [IN])
    expect(machine.usedIndex(queue)).toBe(0)
    expect(machine.memory.live).toBe(3)
    open = true
    device.host?.resume(0)
    expect(machine.usedIndex(queue)).toBe(1)
    device.host?.resume(1)
    device.host?.resume(99)
    expect(machine.read(0x070)).toBe(15)
  })

  test('a request over the limit of its queue has no buffers to use but small ones', () => {
    const codes: unknown[] = []
    const device = Object.assign(new EchoDevice([{ size: 4, requestBytes: 4096 }]), {
      handle: (chain: { writable(offset: number, length: number): Uint8Array[] }) => {
        try {
          chain.writable(0, 4096)
        } catch (error) {
          codes.push(codeOf(error))
        }
        chain.writable(4096, 1)[0]?.fill(7)
        return 0
      },
    })
    const machine = new Machine(device)
    const queue = machine.start(4)
    machine.send(queue, [
      { at: DATA, length: 4096, write: true },
      { at: DATA + 4096, length: 1, write: true },
    ])
    expect(codes).toEqual(['ERR_XMC_GUEST_BUFFER'])
    expect(machine.memory.bytes[DATA + 4096]).toBe(7)
    expect(machine.usedIndex(queue)).toBe(1)
  })
})
