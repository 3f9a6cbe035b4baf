import { describe, expect, test } from 'vitest'
import {
  BlockDevice,
  type DescriptorChain,
  MemoryDisk,
  VIRTIO_F_INDIRECT_DESC,
} from '../src/index.ts'
import { codeOf } from '../src/internal/error-parts.ts'
import { EchoDevice, HoldingDevice } from './doubles/devices.ts'
import { CopyingGuestMemory, GuestMemoryDouble, MemoryFault } from './doubles/guest-memory.ts'
import { DATA, Machine, type TestQueue, turns } from './doubles/machine.ts'

const OUT = { at: DATA, length: 4 }
const IN = { at: DATA + 4096, length: 4, write: true }
const LONG = { at: DATA + 8192, length: 10_000, write: true }

/** A device whose answer a test gives. */
function answering(handle: (chain: DescriptorChain) => number | Promise<number>): EchoDevice {
  return Object.assign(new EchoDevice(), { handle })
}

function caught(action: () => unknown): unknown {
  try {
    action()
  } catch (error) {
    return codeOf(error)
  }
  return undefined
}

/** A queue whose request of descriptor 0 is held by the device. */
function held(options: { buffers?: (typeof IN)[] } = {}): {
  machine: Machine
  device: HoldingDevice
  queue: TestQueue
} {
  const device = new HoldingDevice()
  const machine = new Machine(device)
  const queue = machine.start(4)
  machine.send(queue, options.buffers ?? [IN])
  return { machine, device, queue }
}

describe('a chain', () => {
  test('2.7.4.1 reads and writes across buffers, however they are cut up', () => {
    const seen: unknown[] = []
    const device = answering((chain) => {
      seen.push(chain.readableLength, chain.writableLength, chain.queue, chain.head)
      seen.push(Buffer.from(chain.read()).toString(), Buffer.from(chain.read(2, 3)).toString())
      const target = new Uint8Array(4)
      chain.readInto(target, 1)
      seen.push(Buffer.from(target).toString())
      seen.push(chain.readable(1, 4).map((bytes) => bytes.length))
      seen.push(chain.writable(0, 6).map((bytes) => bytes.length))
      seen.push(chain.readable(6, 0), chain.writable(6, 0))
      chain.write(Buffer.from('XYZ'), 2)
      return 5
    })
    const machine = new Machine(device)
    const queue = machine.start(8)
    machine.put(DATA, 'abc')
    machine.put(DATA + 100, 'de')
    machine.put(DATA + 200, 'f')
    machine.send(
      queue,
      [
        { at: DATA, length: 3 },
        { at: DATA + 100, length: 2 },
        { at: DATA + 200, length: 1 },
        { at: DATA + 300, length: 1, write: true },
        { at: DATA + 400, length: 2, write: true },
        { at: DATA + 500, length: 3, write: true },
      ],
      1,
    )
    expect(seen).toEqual([6, 6, 0, 1, 'abcdef', 'cde', 'bcde', [2, 2], [1, 2, 3], [], []])
    expect(machine.text(DATA + 400, 2)).toBe('\0X')
    expect(machine.text(DATA + 500, 3)).toBe('YZ\0')
    expect(machine.used(queue)).toEqual([{ id: 1, length: 5 }])
  })

  test('the buffers are the guest memory itself, in pieces where it is not contiguous', () => {
    let pieces: Uint8Array[] = []
    const machine = new Machine(
      answering((chain) => {
        pieces = chain.writable(0, 9000)
        return 0
      }),
    )
    const queue = machine.start(4)
    machine.memory.longest = 4000
    machine.send(queue, [LONG])
    expect(pieces.map(({ length }) => length)).toEqual([4000, 4000, 1000])
    expect(pieces.every(({ buffer }) => buffer === machine.memory.bytes.buffer)).toBe(true)
    expect(pieces.map(({ byteOffset }) => byteOffset - LONG.at)).toEqual([0, 4000, 8000])
  })

  test('more bytes than there are, or before the first, are refused', () => {
    const codes: unknown[] = []
    const device = answering((chain) => {
      codes.push(caught(() => chain.read(0, 5)))
      codes.push(caught(() => chain.read(5)))
      codes.push(caught(() => chain.readable(-1, 2)))
      codes.push(caught(() => chain.write(new Uint8Array(5))))
      codes.push(caught(() => chain.writable(0, -1)))
      codes.push(caught(() => chain.writable(Number.NaN, 1)))
      return 0
    })
    const machine = new Machine(device)
    machine.send(machine.start(4), [OUT, IN])
    expect(codes).toEqual(Array.from({ length: 6 }, () => 'ERR_XMC_VIRTQUEUE'))
    expect(machine.read(0x070)).toBe(15)
  })

  test('2.7.4 a device that lets a short chain through needs a reset', () => {
    const machine = new Machine(answering((chain) => chain.read(0, 5).length))
    machine.send(machine.start(4), [OUT, IN])
    expect(machine.transport.fault).toMatchObject({ reason: 'short-buffer' })
  })

  test('after its request, a chain gives nothing out', async () => {
    const { machine, device } = held()
    const chain = device.held[0]?.chain
    device.held[0]?.resolve(0)
    await turns(1)
    expect(caught(() => chain?.writable(0, 1))).toBe('ERR_XMC_RELEASED')
    expect(caught(() => chain?.read())).toBe('ERR_XMC_RELEASED')
    expect(machine.read(0x070)).toBe(15)
  })
})

describe('releasing', () => {
  test('S62 all memory of a request is released before its used element is published', async () => {
    const { machine, device, queue } = held({ buffers: [IN, LONG] })
    const atRelease: number[] = []
    machine.memory.onRelease = () => atRelease.push(machine.usedIndex(queue))
    device.held[0]?.resolve(4)
    await turns(1)
    expect(atRelease).toEqual([0, 0])
    expect(machine.usedIndex(queue)).toBe(1)
    expect(machine.transport.mappedRanges).toBe(3)
  })

  test('S62 by copies: what the device wrote stands in the guest before the used element', () => {
    const memory = new CopyingGuestMemory(64)
    const machine = new Machine(new EchoDevice(), { memory })
    const queue = machine.start(4)
    machine.put(DATA, 'ping')
    memory.log = []
    machine.send(queue, [OUT, { ...IN, length: 8 }])
    expect(memory.log).toEqual(['read 8+0 4', 'write 9+0 4'])
    expect(machine.text(IN.at, 8)).toBe('ping\0\0\0\0')
    expect(memory.maps).toBe(3)
  })

  test('copies are for up to 64 bytes, and write back what was given to the device alone', () => {
    const memory = new CopyingGuestMemory(64)
    const machine = new Machine(
      answering((chain) => {
        chain.write(Buffer.from('xy'), 3)
        return 0
      }),
      { memory },
    )
    const queue = machine.start(4)
    memory.log = []
    machine.put(IN.at, '________')
    machine.send(queue, [
      { at: DATA, length: 64 },
      { at: DATA + 64, length: 65 },
      { ...IN, length: 8 },
    ])
    expect(memory.log).toEqual(['read 8+0 64', 'map 8+64 65 r', 'release 8+64 0', 'write 9+3 2'])
    expect(machine.text(IN.at, 8)).toBe('___xy___')
  })

  test('memory that allows no copies of some page is mapped there', () => {
    const memory = new CopyingGuestMemory(64)
    const machine = new Machine(new EchoDevice(), { memory })
    const queue = machine.start(4)
    memory.mapOnly = true
    memory.log = []
    machine.put(DATA, 'ping')
    machine.send(queue, [OUT, IN])
    expect(machine.text(IN.at, 4)).toBe('ping')
    expect(memory.log).toEqual(['map 8+0 4 r', 'release 8+0 0', 'map 9+0 4 w', 'release 9+0 4'])
    expect(machine.used(queue)).toEqual([{ id: 0, length: 4 }])
  })

  test('S68 the bytes really written are told at release, S69 none where nothing was', () => {
    const memory = new GuestMemoryDouble(64)
    const machine = new Machine(
      answering((chain) => {
        chain.readable(0, 4)
        chain.writable(0, 4)
        chain.write(Uint8Array.of(1), 4 + 0x1000)
        return 4
      }),
      { memory },
    )
    const queue = machine.start(4)
    memory.log = []
    machine.send(queue, [OUT, IN, LONG, { ...IN, at: DATA + 64 }])
    expect(memory.log.filter((entry) => entry.startsWith('release'))).toEqual([
      'release 8+0 0',
      'release 9+0 4',
      'release 10+0 4097',
      'release 8+64 0',
    ])
  })

  test('a release that fails: nothing is published, for the guest would end a live grant', async () => {
    const { machine, device, queue } = held()
    machine.memory.onRelease = (page) => {
      if (page === IN.at / 4096) throw new Error('unmap failed')
    }
    device.held[0]?.resolve(4)
    await turns(1)
    expect(machine.usedIndex(queue)).toBe(0)
    expect(machine.read(0x070)).toBe(15 | 64)
    expect(machine.transport.fault).toMatchObject({ code: 'ERR_XMC_GUEST_BUFFER' })
    expect(machine.transport.mappedRanges).toBe(0)
    expect(machine.transport.inFlight).toBe(0)
  })

  test('rings that cannot be released are reported', async () => {
    const machine = new Machine(new EchoDevice())
    machine.start(4)
    machine.memory.onRelease = () => {
      throw new Error('unmap failed')
    }
    machine.write(0x070, 0)
    await turns(1)
    expect(machine.faults.map(({ message }) => message)).toEqual(['unmap failed'])
    expect(machine.read(0x070)).toBe(0)
    expect(machine.transport.mappedRanges).toBe(0)
  })
})

describe('memory that is not there', () => {
  test.each(['mapped', 'copied'])(
    'a withdrawn buffer fails, and all behind it but a small last one: %s',
    (how) => {
      const memory = how === 'mapped' ? new GuestMemoryDouble(64) : new CopyingGuestMemory(64)
      const errors: unknown[] = []
      const attempt = (action: () => unknown): void => {
        try {
          action()
        } catch (error) {
          errors.push(error)
        }
      }
      const device = answering((chain) => {
        attempt(() => chain.read(0, 4))
        attempt(() => chain.writable(0, 8))
        attempt(() => chain.writable(8, 10_001))
        chain.write(Uint8Array.of(9), 10_009)
        return 1
      })
      const machine = new Machine(device, { memory })
      const queue = machine.start(8)
      memory.withdrawn.add(LONG.at / 4096 + 1)
      memory.log = []
      machine.send(queue, [OUT, { ...IN, length: 8 }, LONG, { ...LONG, length: 1 }, IN])
      // What was mapped before it can be used.
      expect(errors).toEqual([
        expect.objectContaining({ code: 'ERR_XMC_GUEST_BUFFER', page: 10, length: 10_000 }),
      ])
      expect(machine.used(queue)).toEqual([{ id: 0, length: 1 }])
      expect(memory.bytes[IN.at]).toBe(9)
      expect(memory.live).toBe(3)
    },
  )

  test('after the first buffer that cannot be mapped no further one is tried', () => {
    const machine = new Machine(new BlockDevice({ disk: new MemoryDisk(65_536), queueSize: 64 }))
    const queue = machine.start(64)
    const data = Array.from({ length: 60 }, () => ({ at: LONG.at, length: 4096, write: true }))
    machine.memory.withdrawn.add(LONG.at / 4096)
    const asked: number[] = []
    const { memory } = machine
    const map = memory.map.bind(memory)
    memory.map = (page, offset, length, write) => {
      asked.push(page)
      return map(page, offset, length, write)
    }
    machine.send(queue, [{ at: DATA, length: 16 }, ...data, { ...IN, length: 1 }])
    expect(asked).toEqual([DATA / 4096, LONG.at / 4096, IN.at / 4096])
    expect(machine.used(queue)).toEqual([{ id: 0, length: 0 }])
    expect(memory.bytes[IN.at]).toBe(1)
  })

  test('the error names queue, address, length, direction and cause', () => {
    const machine = new Machine(new EchoDevice(), { memory: new GuestMemoryDouble(64, 2 ** 51) })
    const queue = machine.start(4)
    machine.memory.withdrawn.add(2 ** 51 + DATA / 4096)
    machine.send(queue, [{ at: DATA + 5, length: 7 }, IN])
    expect(machine.transport.fault).toMatchObject({
      code: 'ERR_XMC_GUEST_BUFFER',
      queue: 0,
      page: 2 ** 51 + 8,
      offset: 5,
      length: 7,
      writable: false,
      cause: expect.any(MemoryFault),
      message: expect.stringContaining('0x8000000000008005'),
    })
  })

  test('a page that goes away before a copy is written back: nothing is published', () => {
    const memory = new CopyingGuestMemory(64)
    const machine = new Machine(
      answering((chain) => {
        chain.write(Uint8Array.of(9))
        memory.withdrawn.add(IN.at / 4096)
        return 1
      }),
      { memory },
    )
    const queue = machine.start(4)
    machine.send(queue, [IN])
    expect(machine.usedIndex(queue)).toBe(0)
    expect(machine.transport.fault).toMatchObject({ code: 'ERR_XMC_GUEST_BUFFER', writable: true })
  })

  test.each([0, 5])(
    'a provider that gives %i bytes of 4 is refused, and what it gave goes back',
    (given) => {
      const memory = new GuestMemoryDouble(64)
      let released = 0
      const machine = new Machine(new EchoDevice(), { memory })
      const queue = machine.start(4)
      Object.assign(memory, {
        map: () => ({
          bytes: new Uint8Array(given),
          release: () => {
            released += 1
          },
        }),
      })
      machine.send(queue, [OUT, IN])
      expect(machine.transport.fault).toMatchObject({ code: 'ERR_XMC_GUEST_BUFFER' })
      expect(released).toBe(2)
      expect(machine.transport.mappedRanges).toBe(0)
    },
  )
})

describe('waiting for memory', () => {
  test.each([
    ['mapped', () => new GuestMemoryDouble(64)],
    ['copied', () => new CopyingGuestMemory(64)],
  ])('a paged-out buffer is waited for; other requests go on: %s', async (_, make) => {
    const memory = make()
    const machine = new Machine(new EchoDevice(), { memory })
    const queue = machine.start(4, VIRTIO_F_INDIRECT_DESC)
    machine.put(DATA + 3 * 4096, 'slow')
    machine.put(OUT.at, 'fast')
    memory.pagedOut.add(DATA / 4096 + 3)
    machine.send(queue, [{ at: DATA + 3 * 4096, length: 4 }, IN], 0)
    machine.send(queue, [OUT, { ...IN, at: IN.at + 64 }], 2)
    expect(machine.used(queue)).toEqual([{ id: 2, length: 4 }])
    expect(machine.transport.inFlight).toBe(1)
    await turns(2)
    expect(machine.used(queue)).toEqual([
      { id: 2, length: 4 },
      { id: 0, length: 4 },
    ])
    expect(machine.text(IN.at, 4)).toBe('slow')
    expect(memory.live).toBe(3)
  })

  test('paged-out rings, and a paged-out indirect table, are waited for', async () => {
    const machine = new Machine(new EchoDevice())
    machine.memory.pagedOut.add(0).add(DATA / 4096)
    const queue = machine.start(4, VIRTIO_F_INDIRECT_DESC)
    machine.put(OUT.at + 512, 'ping')
    machine.chain(DATA, 0, [{ at: OUT.at + 512, length: 4 }, IN])
    machine.descriptor(queue.descriptors, 0, { address: BigInt(DATA), length: 32, flags: 4 })
    machine.offer(queue, 0)
    machine.notify(queue)
    expect(machine.transport.inFlight).toBe(1)
    await turns(3)
    expect(machine.used(queue)).toEqual([{ id: 0, length: 4 }])
    expect(machine.text(IN.at, 4)).toBe('ping')
  })

  test('with asynchronous mapping nothing is mapped in the way of the event loop', async () => {
    const machine = new Machine(new EchoDevice(), { mapping: 'asynchronous' })
    Object.assign(machine.memory, {
      map: () => {
        throw new Error('mapped synchronously')
      },
    })
    const queue = machine.start(4, VIRTIO_F_INDIRECT_DESC)
    machine.notify(queue)
    machine.put(OUT.at, 'ping')
    machine.send(queue, [OUT, IN])
    await turns(3)
    expect(machine.used(queue)).toEqual([{ id: 0, length: 4 }])
    machine.chain(DATA + 1024, 0, [OUT, { ...IN, at: IN.at + 64 }])
    machine.descriptor(queue.descriptors, 1, { address: BigInt(DATA + 1024), length: 32, flags: 4 })
    machine.offer(queue, 1)
    machine.notify(queue)
    await turns(3)
    expect(machine.text(IN.at + 64, 4)).toBe('ping')
    expect(machine.memory.live).toBe(3)
    expect(machine.faults).toEqual([])
  })

  test('with asynchronous mapping, faults are as they are otherwise', async () => {
    for (const page of [0, DATA / 4096, IN.at / 4096]) {
      const machine = new Machine(new EchoDevice(), { mapping: 'asynchronous' })
      machine.memory.withdrawn.add(page)
      const queue = machine.start(4, VIRTIO_F_INDIRECT_DESC)
      machine.chain(DATA, 0, [OUT, IN])
      machine.descriptor(queue.descriptors, 0, { address: BigInt(DATA), length: 32, flags: 4 })
      machine.offer(queue, 0)
      machine.notify(queue)
      await turns(4)
      expect(machine.read(0x070)).toBe(15 | 64)
      expect(machine.memory.live).toBe(0)
      expect(machine.transport.inFlight).toBe(0)
    }
  })
})

describe('reset', () => {
  test('2.4.1 with a request in flight: status is not 0 until its memory is released', async () => {
    const { machine, device, queue } = held()
    machine.write(0x070, 0)
    expect(machine.read(0x070)).toBe(15)
    expect(machine.transport).toMatchObject({ draining: true, inFlight: 1, mappedRanges: 1 })
    expect(device.calls.at(-1)).toBe('stop')
    const waiting = machine.transport.drained()
    expect(await Promise.race([waiting, turns(2).then(() => 'still draining')])).toBe(
      'still draining',
    )
    device.held[0]?.chain.write(Buffer.from('late'))
    device.held[0]?.resolve(4)
    await waiting
    expect(machine.read(0x070)).toBe(0)
    expect(machine.transport).toMatchObject({ draining: false, inFlight: 0, mappedRanges: 0 })
    expect(machine.usedIndex(queue)).toBe(0)
    expect(machine.levels).toEqual([])
    await machine.transport.drained()
  })

  test('2.4.1 what was copied is not written back after a reset', async () => {
    const memory = new CopyingGuestMemory(64)
    const device = new HoldingDevice()
    const machine = new Machine(device, { memory })
    const queue = machine.start(4)
    machine.send(queue, [IN])
    device.held[0]?.chain.write(Buffer.from('late'))
    machine.write(0x070, 0)
    device.held[0]?.resolve(4)
    await machine.transport.drained()
    expect(machine.text(IN.at, 4)).toBe('\0\0\0\0')
  })

  test('2.4.1 interrupts are cleared at once, and writes are ignored until it is complete', async () => {
    const { machine, device } = held()
    device.host?.configurationChanged()
    expect(machine.levels).toEqual([true])
    machine.write(0x070, 0)
    expect(machine.levels).toEqual([true, false])
    expect(machine.read(0x060)).toBe(0)
    machine.write(0x070, 0)
    machine.write(0x070, 1)
    machine.write(0x050, 0)
    device.held[0]?.reject(new Error('cancelled'))
    await machine.transport.drained()
    expect(machine.read(0x070)).toBe(0)
    expect(machine.transport.statistics).toMatchObject({ resets: 2, faults: 0, ignored: 3 })
  })

  test('2.4 everything the driver had set is gone', async () => {
    const machine = new Machine(new EchoDevice())
    machine.start(4)
    machine.write(0x030, 1)
    machine.write(0x014, 1)
    machine.write(0x070, 0)
    expect(machine.read(0x044)).toBe(0)
    expect(machine.read(0x034)).toBe(64)
    machine.write(0x070, 3)
    machine.write(0x070, 11)
    expect(machine.read(0x070)).toBe(3)
    expect(machine.memory.live).toBe(0)
  })

  test('a driver that starts over while old requests drain gets none of them', async () => {
    const { machine, device, queue } = held()
    machine.write(0x070, 0)
    const drained = machine.transport.drained()
    device.held[0]?.resolve(4)
    await drained
    machine.memory.bytes.fill(0, 0, DATA)
    machine.start(4)
    machine.send(queue, [IN])
    device.held[1]?.resolve(2)
    await turns(1)
    expect(machine.used(queue)).toEqual([{ id: 0, length: 2 }])
  })

  test('while rings, buffers or tables are being mapped: they are released when they come', async () => {
    for (const pages of [[0], [DATA / 4096], [IN.at / 4096]]) {
      let open: (() => void) | undefined
      const machine = new Machine(new EchoDevice())
      for (const page of pages) machine.memory.pagedOut.add(page)
      machine.memory.gate = new Promise((resolve) => {
        open = resolve
      })
      const queue = machine.start(4, VIRTIO_F_INDIRECT_DESC)
      machine.chain(DATA, 0, [{ at: DATA + 1024, length: 4 }, IN])
      machine.descriptor(queue.descriptors, 0, { address: BigInt(DATA), length: 32, flags: 4 })
      machine.offer(queue, 0)
      machine.notify(queue)
      expect(machine.transport.inFlight).toBe(1)
      machine.write(0x070, 0)
      expect(machine.read(0x070)).toBe(15)
      await turns(1)
      open?.()
      await machine.transport.drained()
      expect(machine.read(0x070)).toBe(0)
      expect(machine.memory.live).toBe(0)
      expect(machine.usedIndex(queue)).toBe(0)
      expect(machine.faults).toEqual([])
    }
  })

  test('4.2.2.2 QueueReady reads 1 until the requests of the queue are drained', async () => {
    const { machine, device, queue } = held()
    machine.write(0x030, 0)
    machine.write(0x044, 0)
    expect(machine.read(0x044)).toBe(1)
    machine.write(0x044, 1)
    device.held[0]?.resolve(4)
    await machine.transport.drained()
    expect(machine.read(0x044)).toBe(0)
    expect(machine.usedIndex(queue)).toBe(0)
    expect(machine.read(0x070)).toBe(15)
    machine.memory.bytes.fill(0, 0, DATA)
    machine.enable(queue)
    machine.send(queue, [IN])
    device.held[1]?.resolve(1)
    await turns(1)
    expect(machine.used(queue)).toEqual([{ id: 0, length: 1 }])
  })

  test('after a fault, requests in flight are drained and not published', async () => {
    const { machine, device, queue } = held()
    machine.offer(queue, 9)
    machine.notify(queue)
    expect(machine.read(0x070)).toBe(15 | 64)
    expect(machine.transport.draining).toBe(true)
    device.held[0]?.resolve(4)
    await machine.transport.drained()
    expect(machine.usedIndex(queue)).toBe(0)
    expect(machine.memory.live).toBe(0)
    expect(machine.read(0x070)).toBe(15 | 64)
    machine.write(0x070, 0)
    expect(machine.read(0x070)).toBe(0)
  })

  test('a guest that dies mid-request: its memory is gone, and nothing is lost of ours', async () => {
    const { machine, device } = held()
    for (let page = 0; page < 64; page += 1) machine.memory.withdrawn.add(page)
    const closed = machine.transport.close()
    device.held[0]?.reject(new Error('EFAULT'))
    await closed
    expect(machine.transport).toMatchObject({ inFlight: 0, mappedRanges: 0, draining: false })
  })
})

describe('a request over what the device takes', () => {
  test('is refused before memory is taken for a copy of it; what is within it can be read', async () => {
    const seen: unknown[] = []
    let taken = 0
    const machine = new Machine(
      answering((chain) => {
        const before = process.memoryUsage().arrayBuffers
        seen.push(chain.read(0, 4).length)
        seen.push(caught(() => chain.read()))
        seen.push(caught(() => chain.read(2, 8)))
        taken = process.memoryUsage().arrayBuffers - before
        return 0
      }),
    )
    const queue = machine.start(16)
    machine.memory.withdrawn.add(100)
    machine.send(queue, [
      { at: DATA, length: 4 },
      ...Array.from({ length: 7 }, () => ({ at: 100 * 4096, length: 2 ** 28 })),
    ])
    await machine.idle()
    expect(seen).toEqual([4, 'ERR_XMC_GUEST_BUFFER', 'ERR_XMC_GUEST_BUFFER'])
    expect(taken).toBeLessThan(2 ** 20)
    expect(machine.read(0x070)).toBe(15)
  })
})
