import { setImmediate as turn } from 'node:timers/promises'
import {
  completeIoreq,
  domainId,
  IOREQ_STATE,
  IOREQ_TYPE,
  type Ioreq,
  readIoreq,
  setIoreqState,
  takeIoreq,
} from '@xmc/interface'
import { beforeEach, describe, expect, test } from 'vitest'
import { EventChannels } from '../src/event-channels.ts'
import type { IoreqServer } from '../src/ioreq.ts'
import { IoreqAbortedError, IoreqServers } from '../src/ioreq.ts'

const EMULATOR = domainId(0)
const GUEST = domainId(1)
const NOBODY = domainId(9)
const MMIO = 0x0200_0000n

let eventChannels: EventChannels
let servers: IoreqServers
beforeEach(() => {
  eventChannels = new EventChannels({ domainExists: (domain) => domain < NOBODY })
  servers = new IoreqServers({ domain: GUEST, vcpus: 2, eventChannels })
})

/** An enabled server of one page of addresses from {@link MMIO} on. */
function createServer(): IoreqServer {
  const server = servers.create(EMULATOR)
  server.mapIoRange(MMIO, MMIO + 0xfffn)
  server.enable()
  return server
}

/** A device model: answers every request with what `answer` makes of it. */
function serve(server: IoreqServer, answer: (request: Ioreq) => bigint): Ioreq[] {
  const seen: Ioreq[] = []
  for (const vcpu of [0, 1]) {
    const offered = readIoreq(server.page, vcpu).eventChannel
    const port = eventChannels.bindInterdomain(EMULATOR, GUEST, offered)
    eventChannels.setHandler(EMULATOR, port, () => {
      const request = takeIoreq(server.page, vcpu)
      if (!request) return
      seen.push(request)
      completeIoreq(server.page, vcpu, answer(request))
      eventChannels.send(EMULATOR, port)
    })
  }
  return seen
}

function errno(errnoName: string): unknown {
  return expect.objectContaining({ code: 'ERR_XMC_SYSTEM_CALL', errnoName })
}

describe('an access', () => {
  test('fills the slot as the public header lays it out', async () => {
    const server = createServer()
    const access = servers.access({
      address: MMIO + 0x10n,
      size: 4,
      write: true,
      data: 0x1_8877_6655n,
      vcpu: 1,
    })
    await turn()
    const slot = new Uint8Array(server.page.buffer, 32, 32)
    const hex = Buffer.from(slot).toString('hex')
    expect(hex.match(/../g)?.join(' ')).toBe(
      [
        '10 00 00 02 00 00 00 00',
        '55 66 77 88 00 00 00 00',
        '01 00 00 00 04 00 00 00',
        '02 00 00 00 00 00 01 01',
      ].join(' '),
    )
    expect(servers.pending()).toMatchObject([
      { server: 0, vcpu: 1, request: { address: MMIO + 0x10n, state: IOREQ_STATE.ready } },
    ])
    server.destroy()
    await expect(access).rejects.toThrow(IoreqAbortedError)
  })

  test('a read has the direction bit and resolves with the answer, cut to its size', async () => {
    const server = createServer()
    const seen = serve(server, () => 0x1122_3344_5566_7788n)
    const read = async (size: 1 | 2 | 4 | 8): Promise<bigint> =>
      await servers.access({ address: MMIO, size, write: false })
    expect(await read(1)).toBe(0x88n)
    expect(await read(2)).toBe(0x7788n)
    expect(await read(4)).toBe(0x5566_7788n)
    expect(await read(8)).toBe(0x1122_3344_5566_7788n)
    expect(seen.map(({ size }) => size)).toEqual([1, 2, 4, 8])
    expect(seen[0]).toEqual({
      address: MMIO,
      data: 0n,
      count: 1,
      size: 1,
      eventChannel: server.eventChannel(0),
      state: IOREQ_STATE.ready,
      dataIsPointer: false,
      write: false,
      type: IOREQ_TYPE.copy,
    })
    expect(readIoreq(server.page, 0).state).toBe(IOREQ_STATE.none)
    expect(servers.pending()).toEqual([])
  })

  test('a write reaches the device model and resolves with 0', async () => {
    const seen = serve(createServer(), () => 99n)
    const written = { address: MMIO + 8n, size: 8, write: true, data: -1n } as const
    expect(await servers.access(written)).toBe(0n)
    expect(seen).toMatchObject([{ address: MMIO + 8n, data: 2n ** 64n - 1n, write: true }])
  })

  test('addresses have 64 bits', async () => {
    const server = servers.create(EMULATOR)
    server.mapIoRange(2n ** 63n, 2n ** 64n - 1n)
    server.enable()
    const seen = serve(server, () => 7n)
    expect(await servers.access({ address: 2n ** 64n - 8n, size: 8, write: false })).toBe(7n)
    expect(seen[0]?.address).toBe(0xffff_ffff_ffff_fff8n)
  })

  test('made before the device model is bound is answered once it is', async () => {
    const server = createServer()
    const access = servers.access({ address: MMIO, size: 4, write: false })
    await turn()
    serve(server, () => 5n)
    expect(await access).toBe(5n)
  })

  test('those of one virtual CPU happen one after the other, those of two side by side', async () => {
    const server = createServer()
    const access = async (vcpu: number, offset: bigint): Promise<bigint> =>
      await servers.access({ address: MMIO + offset, size: 4, write: false, vcpu })
    const accesses = [access(0, 0n), access(0, 4n), access(1, 8n)]
    await turn()
    expect(servers.pending().map(({ request }) => request.address)).toEqual([MMIO, MMIO + 8n])
    serve(server, ({ address }) => address - MMIO)
    expect(await Promise.all(accesses)).toEqual([0n, 4n, 8n])
  })

  test('that nobody claims reads as ones and writes nothing', async () => {
    const server = createServer()
    const seen = serve(server, () => 1n)
    const read = async (address: bigint, size: 1 | 2 | 4 | 8): Promise<bigint> =>
      await servers.access({ address, size, write: false })
    expect(await read(MMIO - 1n, 1)).toBe(0xffn)
    expect(await read(MMIO + 0x1000n, 8)).toBe(2n ** 64n - 1n)
    // Half of it is in the range.
    expect(await read(MMIO + 0xffen, 4)).toBe(0xffff_ffffn)
    expect(await servers.access({ address: 0n, size: 4, write: true, data: 1n })).toBe(0n)
    server.disable()
    expect(await read(MMIO, 2)).toBe(0xffffn)
    server.enable()
    expect(await read(MMIO, 2)).toBe(1n)
    expect(seen).toHaveLength(1)
  })

  test('goes to the server whose range it is in', async () => {
    const first = createServer()
    const second = servers.create(EMULATOR)
    second.mapIoRange(MMIO + 0x1000n, MMIO + 0x1fffn)
    second.enable()
    serve(first, () => 1n)
    serve(second, () => 2n)
    expect(await servers.access({ address: MMIO + 0xffcn, size: 4, write: false })).toBe(1n)
    expect(await servers.access({ address: MMIO + 0x1000n, size: 4, write: false })).toBe(2n)
  })

  test('out of range is refused', async () => {
    const access = async (change: object): Promise<bigint> =>
      await servers.access({ address: 0n, size: 4, write: false, ...change })
    await expect(access({ address: -1n })).rejects.toMatchObject({ field: 'address' })
    await expect(access({ address: 2n ** 64n - 2n })).rejects.toMatchObject({ field: 'address' })
    await expect(access({ size: 3 })).rejects.toMatchObject({ field: 'size' })
    await expect(access({ vcpu: 2 })).rejects.toMatchObject({ field: 'vcpu' })
    await expect(servers.broadcastInvalidate(-1)).rejects.toMatchObject({ field: 'vcpu' })
  })
})

describe('an access that is never answered', () => {
  test('is rejected when the server is destroyed; the next finds nobody', async () => {
    const server = createServer()
    const accesses = [1, 2].map(async () => {
      return await servers.access({ address: MMIO, size: 4, write: false })
    })
    await turn()
    server.destroy()
    const [first, second] = await Promise.allSettled(accesses)
    expect(first).toMatchObject({
      status: 'rejected',
      reason: { code: 'ERR_XMC_IOREQ_ABORTED', domain: GUEST, server: 0, vcpu: 0 },
    })
    expect(second).toEqual({ status: 'fulfilled', value: 0xffff_ffffn })
  })

  test('is rejected when the domain dies, and so is every later one', async () => {
    createServer()
    const access = servers.access({ address: MMIO, size: 4, write: false })
    await turn()
    servers.removeDomain()
    await expect(access).rejects.toMatchObject({ code: 'ERR_XMC_IOREQ_ABORTED' })
    await expect(servers.access({ address: MMIO, size: 4, write: false })).rejects.toEqual(
      errno('ESRCH'),
    )
    expect(() => servers.create(EMULATOR)).toThrow(errno('ESRCH'))
    expect(servers.servers()).toEqual([])
  })

  test('is rejected when the device model leaves an impossible state', async () => {
    const server = createServer()
    const offered = server.eventChannel(0)
    const port = eventChannels.bindInterdomain(EMULATOR, GUEST, offered)
    const access = servers.access({ address: MMIO, size: 4, write: false })
    await turn()
    setIoreqState(server.page, 0, 9)
    eventChannels.send(EMULATOR, port)
    await expect(access).rejects.toMatchObject({ code: 'ERR_XMC_IOREQ_ABORTED' })
    // A slot that is not empty is not overwritten.
    setIoreqState(server.page, 0, IOREQ_STATE.in_process)
    await expect(servers.access({ address: MMIO, size: 4, write: false })).rejects.toMatchObject({
      code: 'ERR_XMC_IOREQ_ABORTED',
    })
  })

  test('waits on while the device model signals without an answer', async () => {
    const server = createServer()
    const port = eventChannels.bindInterdomain(EMULATOR, GUEST, server.eventChannel(0))
    const access = servers.access({ address: MMIO, size: 4, write: false })
    await turn()
    eventChannels.send(EMULATOR, port)
    await turn()
    expect(takeIoreq(server.page, 0)).toMatchObject({ address: MMIO })
    expect(takeIoreq(server.page, 0)).toBeUndefined()
    eventChannels.send(EMULATOR, port)
    await turn()
    expect(servers.pending()).toHaveLength(1)
    completeIoreq(server.page, 0, 3n)
    eventChannels.send(EMULATOR, port)
    expect(await access).toBe(3n)
  })

  test('reads as ones when the device model clears the slot', async () => {
    const server = createServer()
    const port = eventChannels.bindInterdomain(EMULATOR, GUEST, server.eventChannel(0))
    const access = servers.access({ address: MMIO, size: 4, write: false })
    await turn()
    setIoreqState(server.page, 0, IOREQ_STATE.none)
    eventChannels.send(EMULATOR, port)
    expect(await access).toBe(0xffff_ffffn)
  })

  test('fails at once when the guest has closed the channel', async () => {
    const server = createServer()
    eventChannels.close(GUEST, server.eventChannel(0))
    const access = { address: MMIO, size: 4, write: false } as const
    await expect(servers.access(access)).rejects.toEqual(errno('EINVAL'))
    await expect(servers.access(access)).rejects.toEqual(errno('EINVAL'))
    expect(servers.pending()).toEqual([])
    server.destroy()
  })
})

describe('invalidation', () => {
  test('reaches every enabled server as request type 8 and waits for all', async () => {
    const seen = [createServer(), createServer()].map((server) => serve(server, () => 0n))
    const disabled = servers.create(EMULATOR)
    await servers.broadcastInvalidate()
    for (const requests of seen) {
      expect(requests).toMatchObject([
        { type: IOREQ_TYPE.invalidate, write: true, size: 4, data: 2n ** 64n - 1n },
      ])
    }
    expect(readIoreq(disabled.page, 0)).toMatchObject({ type: 0, state: IOREQ_STATE.none })
  })

  test('without a server there is nothing to wait for', async () => {
    await expect(servers.broadcastInvalidate(1)).resolves.toBeUndefined()
  })
})

describe('a server', () => {
  test('has ranges that do not overlap; those that touch are one', () => {
    const server = servers.create(EMULATOR)
    server.mapIoRange(0x1000n, 0x1fffn)
    server.mapIoRange(0x3000n, 0x3fffn)
    for (const [start, end] of [
      [0x1fffn, 0x2000n],
      [0x0n, 0x1000n],
      [0x0n, 0xffffn],
      [0x1800n, 0x18ffn],
    ] as const) {
      expect(() => server.mapIoRange(start, end)).toThrow(errno('EEXIST'))
    }
    server.mapIoRange(0x2000n, 0x2fffn)
    expect(server.ranges).toEqual([{ start: 0x1000n, end: 0x3fffn }])
    server.unmapIoRange(0x2800n, 0x28ffn)
    expect(server.ranges).toEqual([
      { start: 0x1000n, end: 0x27ffn },
      { start: 0x2900n, end: 0x3fffn },
    ])
    expect(() => server.unmapIoRange(0x2700n, 0x28ffn)).toThrow(errno('ENOENT'))
    server.mapIoRange(0x2800n, 0x28ffn)
    server.unmapIoRange(0x1000n, 0x3fffn)
    expect(server.ranges).toEqual([])
  })

  test('refuses what is no range, and more than 256', () => {
    const server = servers.create(EMULATOR)
    for (const [start, end] of [
      [2n, 1n],
      [-1n, 1n],
      [0n, 2n ** 64n],
    ] as const) {
      expect(() => server.mapIoRange(start, end)).toThrow(errno('EINVAL'))
      expect(() => server.unmapIoRange(start, end)).toThrow(errno('EINVAL'))
    }
    for (let i = 0n; i < 256n; i++) server.mapIoRange(i * 16n, i * 16n + 7n)
    expect(() => server.mapIoRange(0x10_0000n, 0x10_0007n)).toThrow(errno('ENOMEM'))
  })

  test('different servers may claim the same addresses; the lowest number gets them', async () => {
    serve(createServer(), () => 1n)
    serve(createServer(), () => 2n)
    expect(await servers.access({ address: MMIO, size: 1, write: false })).toBe(1n)
  })

  test('a guest has at most 8, numbered from the lowest free', () => {
    const all = Array.from({ length: 8 }, () => servers.create(EMULATOR))
    expect(all.map(({ id }) => id)).toEqual([0, 1, 2, 3, 4, 5, 6, 7])
    expect(() => servers.create(EMULATOR)).toThrow(errno('ENOSPC'))
    all[3]?.destroy()
    expect(servers.create(EMULATOR)).toMatchObject({ id: 3, domain: GUEST, emulator: EMULATOR })
    expect(servers.servers()).toHaveLength(8)
  })

  test('destroyed has closed its channels and answers ENOENT', () => {
    const server = createServer()
    expect([server.eventChannel(0), server.eventChannel(1)]).toEqual([1, 2])
    expect(() => server.eventChannel(2)).toThrow(errno('EINVAL'))
    server.destroy()
    expect([...eventChannels.channels()]).toEqual([])
    expect(server.enabled).toBe(false)
    const calls = [
      () => server.destroy(),
      () => server.enable(),
      () => server.disable(),
      () => server.mapIoRange(0n, 1n),
      () => server.unmapIoRange(0n, 1n),
      () => server.eventChannel(0),
    ]
    for (const call of calls) expect(call).toThrow(errno('ENOENT'))
  })

  test('that cannot be made leaves nothing behind', () => {
    expect(() => servers.create(NOBODY)).toThrow(errno('ESRCH'))
    const few = new EventChannels({ domainExists: () => true }, { maximumPorts: 2 })
    const crowded = new IoreqServers({ domain: GUEST, vcpus: 2, eventChannels: few })
    expect(() => crowded.create(EMULATOR)).toThrow(errno('ENOSPC'))
    expect([...few.channels()]).toEqual([])
    expect(crowded.servers()).toEqual([])
    for (const vcpus of [0, 129, 1.5]) {
      expect(() => new IoreqServers({ domain: GUEST, vcpus, eventChannels })).toThrow(
        expect.objectContaining({ field: 'vcpus' }),
      )
    }
  })
})
