import {
  AddressSpace,
  ContainerRegion,
  MmioRegion,
  PlainMemory,
  RamRegion,
} from '@xmc/memory-region'
import { describe, expect, it } from 'vitest'
import type { IoreqServer } from '../src/hypervisor.ts'
import { IoreqDispatcher } from '../src/ioreq-dispatcher.ts'
import { IOREQ_TYPE_COPY, IOREQ_TYPE_INVALIDATE } from '../src/ioreq-page.ts'
import { makeGate } from './helpers/gate.ts'

const READ = 0x20
const POINTER = 0x10
const DOWN = 0x40
const READY = 1
const IN_PROCESS = 2
const RESPONSE_READY = 3

/** Registers at 0x2000000, RAM at 0x40000000, and the hypervisor's side of a page, by hand. */
class Machine {
  readonly view = new DataView(new ArrayBuffer(4096))
  readonly registers = new Uint8Array(0x1000)
  readonly ram = new PlainMemory({ pageCount: 2 })
  readonly reports: unknown[] = []
  readonly log: string[] = []
  readonly dispatcher: IoreqDispatcher
  /** What the next write has to wait for. */
  wait: Promise<void> | undefined
  /** Called when the device is read. */
  onRead: (() => void) | undefined
  invalidation: Promise<void> = Promise.resolve()
  readonly #listeners: (() => void)[] = []

  constructor() {
    const root = new ContainerRegion({ name: 'root' })
    const registers = new DataView(this.registers.buffer)
    const device = {
      read: (offset: number, size: number): number => {
        this.onRead?.()
        return size === 4
          ? registers.getUint32(offset, true)
          : size === 2
            ? registers.getUint16(offset, true)
            : registers.getUint8(offset)
      },
      write: (offset: number, value: number, size: number): void => {
        if (size === 4) registers.setUint32(offset, value, true)
        else if (size === 2) registers.setUint16(offset, value, true)
        else registers.setUint8(offset, value)
      },
    }
    const size = 0x1000n
    const valid = { maximum: 8 } as const
    root.add(new MmioRegion({ name: 'registers', size, device, valid }), 0x200_0000n)
    root.add(
      new RamRegion({ name: 'ram', size: 8192n, backing: this.ram, firstPage: 0 }),
      0x4000_0000n,
    )
    const server: IoreqServer = {
      page: this.view,
      mapRange: () => {},
      unmapRange: () => {},
      enable: () => void this.log.push('enable'),
      disable: () => {},
      bind: (virtualCpu, listener) => {
        this.#listeners[virtualCpu] = listener
        return {
          notify: () => void this.log.push(`notify ${virtualCpu}`),
          close: () => void this.log.push(`close channel ${virtualCpu}`),
        }
      },
      close: () => void this.log.push('close server'),
    }
    this.dispatcher = new IoreqDispatcher(server, {
      space: new AddressSpace({ root }),
      invalidate: () => this.invalidation,
      settle: () => this.wait,
      report: (error) => void this.reports.push(error),
    })
    this.dispatcher.start(2)
  }

  /** Puts a request into a slot and signals; returns the data of the slot afterwards. */
  request(
    request: {
      readonly address?: bigint
      readonly data?: bigint
      readonly size?: number
      readonly count?: number
      readonly bits?: number
      readonly type?: number
      readonly state?: number
    },
    virtualCpu: number = 0,
  ): bigint {
    const at = virtualCpu * 32
    const { address = 0n, data = 0n, size = 4, count = 1, bits = 0 } = request
    this.view.setBigUint64(at, address, true)
    this.view.setBigUint64(at + 8, data, true)
    this.view.setUint32(at + 16, count, true)
    this.view.setUint32(at + 20, size, true)
    this.view.setUint8(at + 31, request.type ?? IOREQ_TYPE_COPY)
    this.view.setUint8(at + 30, (request.state ?? READY) | bits)
    this.signal(virtualCpu)
    return this.view.getBigUint64(at + 8, true)
  }

  /** An event, with or without a request. */
  signal(virtualCpu: number = 0): void {
    this.#listeners[virtualCpu]?.()
  }

  state(virtualCpu: number = 0): number {
    return this.view.getUint8(virtualCpu * 32 + 30) & 0xf
  }
}

const BASE = 0x200_0000n
const RAM = 0x4000_0000n

describe('the ioreq dispatcher', () => {
  it('binds every virtual CPU, then lets requests come; closes channels, then the server', () => {
    const machine = new Machine()
    machine.dispatcher.close()
    expect(machine.log).toEqual(['enable', 'close channel 0', 'close channel 1', 'close server'])
  })

  it('answers what a device model before it took and left in process, at the first event alone', () => {
    const machine = new Machine()
    machine.registers[4] = 0x77
    const left = { address: BASE + 4n, size: 1, bits: READ, state: IN_PROCESS }
    expect(machine.request(left)).toBe(0x77n)
    expect(machine.state()).toBe(RESPONSE_READY)
    expect(machine.log).toEqual(['enable', 'notify 0'])
    machine.request(left)
    expect(machine.state()).toBe(IN_PROCESS)
    expect(machine.request(left, 1)).toBe(0x77n)
  })

  it('answers reads of 1, 2, 4 and 8 bytes', () => {
    const machine = new Machine()
    machine.registers.set([0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88], 8)
    const read = (size: number): bigint =>
      machine.request({ address: BASE + 8n, size, bits: READ, data: ~0n & 0xffff_ffff_ffff_ffffn })
    expect([read(1), read(2), read(4), read(8)]).toEqual([
      0x11n,
      0x2211n,
      0x4433_2211n,
      0x8877_6655_4433_2211n,
    ])
    expect(machine.state()).toBe(RESPONSE_READY)
    expect(machine.log).toEqual(['enable', ...Array.from({ length: 4 }, () => 'notify 0')])
    expect(machine.dispatcher.statistics).toMatchObject({ reads: 4, writes: 0, ignored: 0 })
  })

  it('does writes of 1, 2, 4 and 8 bytes', () => {
    const machine = new Machine()
    for (const [address, size] of [
      [0n, 1],
      [2n, 2],
      [4n, 4],
      [8n, 8],
    ] as const) {
      machine.request({ address: BASE + address, size, data: 0xf0e1_d2c3_b4a5_9687n })
    }
    expect([...machine.registers.subarray(0, 16)]).toEqual([
      0x87, 0, 0x87, 0x96, 0x87, 0x96, 0xa5, 0xb4, 0x87, 0x96, 0xa5, 0xb4, 0xc3, 0xd2, 0xe1, 0xf0,
    ])
    expect(machine.dispatcher.statistics).toMatchObject({ reads: 0, writes: 4, ignored: 0 })
  })

  it('answers in the slot of the virtual CPU that asked', () => {
    const machine = new Machine()
    machine.registers[0] = 9
    expect(machine.request({ address: BASE, size: 1, bits: READ }, 1)).toBe(9n)
    expect(machine.log).toEqual(['enable', 'notify 1'])
    expect(machine.state(0)).toBe(0)
  })

  it('ignores an event without a request', () => {
    const machine = new Machine()
    machine.signal()
    machine.request({ address: BASE })
    machine.signal()
    expect(machine.state()).toBe(RESPONSE_READY)
    expect(machine.log).toEqual(['enable', 'notify 0'])
    expect(machine.dispatcher.statistics).toMatchObject({ writes: 1, ignored: 0 })
  })

  it.each([
    ['where no region is', { address: 0x100n, bits: READ }],
    ['of a size that is none', { address: BASE, size: 3, bits: READ }],
    ['of port I/O', { address: BASE, bits: READ, type: 0 }],
    ['at an address that is not aligned', { address: BASE + 2n, bits: READ }],
    ['over more than a page', { address: BASE, bits: READ | POINTER, data: RAM, count: 1025 }],
    ['with its data nowhere', { address: BASE, bits: READ | POINTER, data: 0x100n }],
  ])('answers a read %s with ones, and reports it', (_, request) => {
    const machine = new Machine()
    expect(machine.request(request)).toBe(0xffff_ffff_ffff_ffffn)
    expect(machine.state()).toBe(RESPONSE_READY)
    expect(machine.log).toEqual(['enable', 'notify 0'])
    expect(machine.reports).toEqual([expect.any(Error)])
    expect(machine.dispatcher.statistics).toMatchObject({ reads: 0, ignored: 1 })
  })

  it('drops a write where no region is, and answers', () => {
    const machine = new Machine()
    machine.request({ address: 0x100n, data: 5n })
    expect(machine.state()).toBe(RESPONSE_READY)
    expect(machine.dispatcher.statistics).toMatchObject({ writes: 0, ignored: 1 })
  })

  it('repeats a request whose data is in guest memory, upwards and downwards', () => {
    const machine = new Machine()
    machine.registers.set([1, 2, 3, 4, 5, 6, 7, 8])
    machine.request({ address: BASE, data: RAM + 4094n, size: 2, count: 3, bits: READ | POINTER })
    const read = new Uint8Array(6)
    machine.ram.read(0, 4094, read)
    expect([...read]).toEqual([1, 2, 3, 4, 5, 6])
    machine.request({
      address: BASE + 0x20n,
      data: RAM + 4098n,
      size: 2,
      count: 2,
      bits: POINTER | DOWN,
    })
    expect([...machine.registers.subarray(0x1e, 0x22)]).toEqual([3, 4, 5, 6])
    expect(machine.reports).toEqual([])
  })

  it('repeats a write of one value', () => {
    const machine = new Machine()
    machine.request({ address: BASE + 4n, data: 0x7fn, size: 1, count: 3 })
    expect([...machine.registers.subarray(3, 8)]).toEqual([0, 0x7f, 0x7f, 0x7f, 0])
  })

  it('answers a write when the device has let go of memory, not before', async () => {
    const machine = new Machine()
    const gate = makeGate()
    machine.wait = gate.promise
    machine.request({ address: BASE, data: 1n })
    await Promise.resolve()
    expect(machine.registers[0]).toBe(1)
    expect(machine.state()).toBe(2)
    gate.open()
    await machine.wait
    await Promise.resolve()
    expect(machine.state()).toBe(RESPONSE_READY)
    expect(machine.dispatcher.statistics.held).toBe(1)
  })

  it('answers an invalidation when it is done', async () => {
    const machine = new Machine()
    const gate = makeGate()
    machine.invalidation = gate.promise
    machine.request({ type: IOREQ_TYPE_INVALIDATE })
    expect(machine.state()).toBe(2)
    gate.open()
    await machine.invalidation
    await Promise.resolve()
    expect(machine.state()).toBe(RESPONSE_READY)
    expect(machine.dispatcher.statistics.invalidations).toBe(1)
  })

  it('signals nobody when it was closed while a processor waited', async () => {
    const machine = new Machine()
    const gate = makeGate()
    machine.wait = gate.promise
    machine.request({ address: BASE, data: 1n })
    machine.dispatcher.close()
    machine.log.length = 0
    gate.open()
    await machine.wait
    await Promise.resolve()
    expect(machine.log).toEqual([])
    // The page may be unmapped.
    expect(machine.state()).toBe(IN_PROCESS)
  })

  it('touches no page that the request itself had closed', () => {
    const machine = new Machine()
    machine.onRead = () => machine.dispatcher.close()
    expect(machine.request({ address: BASE, bits: READ, data: 7n })).toBe(7n)
    expect(machine.state()).toBe(IN_PROCESS)
    expect(machine.log).toEqual(['enable', 'close channel 0', 'close channel 1', 'close server'])
  })

  it('holds a processor whose request failed halfway, for what it had done', async () => {
    const machine = new Machine()
    const gate = makeGate()
    machine.wait = gate.promise
    // The second of two repetitions has no memory to take its data from.
    machine.request({
      address: BASE,
      data: RAM + 8188n,
      size: 4,
      count: 2,
      bits: POINTER,
    })
    expect(machine.reports.length).toBe(1)
    expect(machine.state()).toBe(IN_PROCESS)
    expect(machine.dispatcher.statistics).toMatchObject({ held: 1, ignored: 1 })
    gate.open()
    await machine.wait
    await Promise.resolve()
    expect(machine.state()).toBe(RESPONSE_READY)
  })
})
