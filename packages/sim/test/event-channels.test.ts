import { setImmediate as turn } from 'node:timers/promises'
import { domainId } from '@xmc/interface'
import { beforeEach, describe, expect, test, vi } from 'vitest'
import { EventChannels } from '../src/event-channels.ts'

const HOST = domainId(0)
const GUEST = domainId(1)
const OTHER = domainId(2)
const NOBODY = domainId(9)

let channels: EventChannels
let handlerErrors: unknown[]
beforeEach(() => {
  handlerErrors = []
  channels = new EventChannels(
    { domainExists: (domain) => domain < NOBODY },
    { maximumPorts: 6, onHandlerError: (error) => handlerErrors.push(error) },
  )
})

/** A channel between guest and host whose first, spurious event has been taken. */
async function connect(): Promise<{ guestPort: number; hostPort: number }> {
  const guestPort = channels.allocateUnbound(GUEST, HOST)
  const hostPort = channels.bindInterdomain(HOST, GUEST, guestPort)
  channels.setHandler(HOST, hostPort, () => {})
  await turn()
  channels.setHandler(HOST, hostPort, undefined)
  return { guestPort, hostPort }
}

function errno(errnoName: string): unknown {
  return expect.objectContaining({ code: 'ERR_XMC_SYSTEM_CALL', errnoName })
}

describe('binding', () => {
  test('ports are the lowest free ones from 1, for each domain', () => {
    expect(channels.allocateUnbound(GUEST, HOST)).toBe(1)
    expect(channels.allocateUnbound(GUEST, HOST)).toBe(2)
    expect(channels.allocateUnbound(OTHER, HOST)).toBe(1)
    channels.close(GUEST, 1)
    expect(channels.allocateUnbound(GUEST, HOST)).toBe(1)
  })

  test('a bound channel is listed at both ends', () => {
    const guestPort = channels.allocateUnbound(GUEST, HOST)
    channels.allocateUnbound(HOST, OTHER)
    const hostPort = channels.bindInterdomain(HOST, GUEST, guestPort)
    expect([guestPort, hostPort]).toEqual([1, 2])
    const end = { pending: false, masked: false }
    expect([...channels.channels()]).toEqual([
      { ...end, domain: GUEST, port: 1, remote: HOST, remotePort: 2 },
      { ...end, domain: HOST, port: 1, remote: OTHER, remotePort: undefined },
      { ...end, domain: HOST, port: 2, remote: GUEST, remotePort: 1, pending: true },
    ])
  })

  test('a domain can bind to itself', async () => {
    const offered = channels.allocateUnbound(GUEST, GUEST)
    const bound = channels.bindInterdomain(GUEST, GUEST, offered)
    expect(bound).toBe(2)
    const handler = vi.fn<() => void>()
    channels.setHandler(GUEST, offered, handler)
    channels.send(GUEST, bound)
    await turn()
    expect(handler).toHaveBeenCalledTimes(1)
  })

  test('a port that is not offered to the binder is EINVAL, nothing is opened', () => {
    const port = channels.allocateUnbound(GUEST, HOST)
    expect(() => channels.bindInterdomain(OTHER, GUEST, port)).toThrow(errno('EINVAL'))
    expect(() => channels.bindInterdomain(HOST, GUEST, 5)).toThrow(errno('EINVAL'))
    channels.bindInterdomain(HOST, GUEST, port)
    expect(() => channels.bindInterdomain(HOST, GUEST, port)).toThrow(errno('EINVAL'))
    expect([...channels.channels()]).toHaveLength(2)
  })

  test('a domain that does not exist is ESRCH, a full table ENOSPC', () => {
    expect(() => channels.allocateUnbound(NOBODY, HOST)).toThrow(errno('ESRCH'))
    expect(() => channels.allocateUnbound(GUEST, NOBODY)).toThrow(errno('ESRCH'))
    expect(() => channels.bindInterdomain(HOST, NOBODY, 1)).toThrow(errno('ESRCH'))
    for (let port = 1; port < 6; port++) channels.allocateUnbound(GUEST, HOST)
    expect(() => channels.allocateUnbound(GUEST, HOST)).toThrow(errno('ENOSPC'))
  })
})

describe('events', () => {
  test('are delivered after the sender has gone on', async () => {
    const { guestPort, hostPort } = await connect()
    const order: string[] = []
    channels.setHandler(HOST, hostPort, () => void order.push('handler'))
    channels.send(GUEST, guestPort)
    order.push('sender')
    await Promise.resolve()
    order.push('microtask')
    await turn()
    expect(order).toEqual(['sender', 'microtask', 'handler'])
  })

  test('several before the handler ran are one call; one from inside it is another', async () => {
    const { guestPort, hostPort } = await connect()
    let calls = 0
    channels.setHandler(HOST, hostPort, () => {
      calls++
      if (calls === 1) channels.send(GUEST, guestPort)
    })
    for (let i = 0; i < 5; i++) channels.send(GUEST, guestPort)
    await turn()
    expect(calls).toBe(1)
    await turn()
    await turn()
    expect(calls).toBe(2)
  })

  test('go both ways', async () => {
    const { guestPort, hostPort } = await connect()
    const [guest, host] = [vi.fn<() => void>(), vi.fn<() => void>()]
    channels.setHandler(GUEST, guestPort, guest)
    channels.setHandler(HOST, hostPort, host)
    channels.send(HOST, hostPort)
    await turn()
    expect([guest.mock.calls.length, host.mock.calls.length]).toEqual([1, 0])
  })

  test('a new binding is pending at once, for events lost while it was unbound', async () => {
    const guestPort = channels.allocateUnbound(GUEST, HOST)
    channels.send(GUEST, guestPort)
    const hostPort = channels.bindInterdomain(HOST, GUEST, guestPort)
    expect(channels.isPending(HOST, hostPort)).toBe(true)
    const handler = vi.fn<() => void>()
    channels.setHandler(HOST, hostPort, handler)
    await turn()
    expect(handler).toHaveBeenCalledTimes(1)
    expect(channels.isPending(HOST, hostPort)).toBe(false)
  })

  test('are held back by a mask, also one that comes after the event', async () => {
    const { guestPort, hostPort } = await connect()
    const handler = vi.fn<() => void>()
    channels.setHandler(HOST, hostPort, handler)
    channels.send(GUEST, guestPort)
    channels.mask(HOST, hostPort)
    await turn()
    channels.send(GUEST, guestPort)
    await turn()
    expect(handler).not.toHaveBeenCalled()
    expect(channels.isPending(HOST, hostPort)).toBe(true)
    channels.unmask(HOST, hostPort)
    await turn()
    expect(handler).toHaveBeenCalledTimes(1)
  })

  test('wait for a handler', async () => {
    const { guestPort, hostPort } = await connect()
    channels.send(GUEST, guestPort)
    await turn()
    expect(channels.isPending(HOST, hostPort)).toBe(true)
    const handler = vi.fn<() => void>()
    channels.setHandler(HOST, hostPort, handler)
    await turn()
    expect(handler).toHaveBeenCalledTimes(1)
  })

  test('what a handler throws or rejects with is reported, and the channel goes on', async () => {
    const { guestPort, hostPort } = await connect()
    const thrown = new Error('thrown')
    const rejected = new Error('rejected')
    channels.setHandler(HOST, hostPort, () => {
      throw thrown
    })
    channels.send(GUEST, guestPort)
    await turn()
    channels.setHandler(HOST, hostPort, () => Promise.reject(rejected))
    channels.send(GUEST, guestPort)
    await turn()
    expect(handlerErrors).toEqual([thrown, rejected])
  })

  test('by default what a handler throws is a warning of the process', async () => {
    channels = new EventChannels({ domainExists: () => true })
    const warned = vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
    const { guestPort, hostPort } = await connect()
    const error = new Error('thrown')
    channels.setHandler(HOST, hostPort, () => {
      throw error
    })
    channels.send(GUEST, guestPort)
    await turn()
    expect(warned.mock.calls).toEqual([[error]])
    warned.mockRestore()
  })
})

describe('closing', () => {
  test('leaves the other end unbound, offered to the closer again', async () => {
    const { guestPort, hostPort } = await connect()
    const handler = vi.fn<() => void>()
    channels.setHandler(HOST, hostPort, handler)
    channels.send(GUEST, guestPort)
    channels.close(HOST, hostPort)
    await turn()
    expect(handler).not.toHaveBeenCalled()
    channels.send(GUEST, guestPort)
    expect([...channels.channels()]).toMatchObject([
      { domain: GUEST, remote: HOST, remotePort: undefined },
    ])
    expect(channels.bindInterdomain(HOST, GUEST, guestPort)).toBe(hostPort)
  })

  test('every call on a closed port is EINVAL', () => {
    const port = channels.allocateUnbound(GUEST, HOST)
    expect(channels.isOpen(GUEST, port)).toBe(true)
    channels.close(GUEST, port)
    expect(channels.isOpen(GUEST, port)).toBe(false)
    const calls = [
      () => channels.close(GUEST, port),
      () => channels.send(GUEST, port),
      () => channels.mask(GUEST, port),
      () => channels.unmask(GUEST, port),
      () => channels.isPending(GUEST, port),
      () => channels.setHandler(GUEST, port, undefined),
    ]
    for (const call of calls) expect(call).toThrow(errno('EINVAL'))
  })

  test('a dead domain has no channels, its peers are unbound', async () => {
    const { guestPort, hostPort } = await connect()
    const handler = vi.fn<() => void>()
    channels.setHandler(GUEST, guestPort, handler)
    channels.send(HOST, hostPort)
    channels.removeDomain(GUEST)
    await turn()
    expect(handler).not.toHaveBeenCalled()
    expect([...channels.channels()]).toMatchObject([{ domain: HOST, remotePort: undefined }])
    expect(() => channels.send(GUEST, guestPort)).toThrow(errno('EINVAL'))
    channels.send(HOST, hostPort)
  })
})
