import { constants } from 'node:os'
import { domainId } from '@xmc/interface'
import { describe, expect, it, vi } from 'vitest'
import { EventChannels } from '../src/event-channels.ts'
import { BIND_INTERDOMAIN, BIND_UNBOUND_PORT, NOTIFY, UNBIND } from '../src/internal/evtchn.ts'
import { Kernel } from './helpers/kernel.ts'

const { EINVAL, EIO, ENOSPC, ESRCH } = constants.errno
const OWN = domainId(0)
const GUEST = domainId(1)

/** A later turn of the event loop. */
function turn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve)
  })
}

/** Channels over a double that gives ports 5, 6 and so on, and what handlers threw. */
function world() {
  const kernel = new Kernel()
  kernel.answer(BIND_UNBOUND_PORT, 5, 6, 7)
  kernel.answer(BIND_INTERDOMAIN, 8)
  const thrown: unknown[] = []
  const channels = new EventChannels(
    () => kernel,
    OWN,
    (error) => thrown.push(error),
  )
  const words = (request: number) =>
    kernel.callsOf(request).map((bytes) => [...new Uint32Array(bytes.buffer)])
  /** What the kernel does for events. */
  const signal = (...ports: readonly number[]): void => {
    kernel.events.push(...ports)
    process.emit('SIGIO', 'SIGIO')
  }
  return {
    kernel,
    channels,
    thrown,
    words,
    signal,
    [Symbol.dispose]: () => channels[Symbol.dispose](),
  }
}

describe('ports', () => {
  it('are opened and closed by the device, which is opened with the first and signals its input', () => {
    using xen = world()
    expect(xen.kernel.openPaths).toEqual([])
    expect(xen.channels.allocateUnbound(OWN, GUEST)).toBe(5)
    expect(xen.channels.bindInterdomain(OWN, GUEST, 33)).toBe(8)
    expect(xen.kernel.openPaths).toEqual(['/dev/xen/evtchn'])
    expect(xen.kernel.signals).toEqual([true])
    expect(xen.words(BIND_UNBOUND_PORT)).toEqual([[1]])
    expect(xen.words(BIND_INTERDOMAIN)).toEqual([[1, 33]])
    expect([...xen.channels.channels()]).toEqual([
      { domain: 0, port: 5, remote: 1, remotePort: undefined, pending: false, masked: false },
      { domain: 0, port: 8, remote: 1, remotePort: 33, pending: false, masked: false },
    ])
    xen.channels.send(OWN, 8)
    expect(xen.words(NOTIFY)).toEqual([[8]])
    xen.channels.close(OWN, 8)
    expect(xen.words(UNBIND)).toEqual([[8]])
    expect([xen.channels.isOpen(OWN, 5), xen.channels.isOpen(OWN, 8)]).toEqual([true, false])
  })

  it('that are not open are EINVAL for every call', () => {
    using xen = world()
    const calls = [
      () => xen.channels.send(OWN, 5),
      () => xen.channels.close(OWN, 5),
      () => xen.channels.mask(OWN, 5),
      () => xen.channels.unmask(OWN, 5),
      () => xen.channels.setHandler(OWN, 5, () => {}),
      () => xen.channels.isPending(OWN, 5),
    ]
    for (const call of calls) {
      expect(call).toThrow(
        expect.objectContaining({ code: 'ERR_XMC_SYSTEM_CALL', errnoName: 'EINVAL' }),
      )
    }
  })

  it('that the kernel refuses say what likely is the reason', () => {
    using xen = world()
    xen.kernel.results.clear()
    xen.kernel.answer(BIND_UNBOUND_PORT, -ESRCH, -ENOSPC)
    xen.kernel.answer(BIND_INTERDOMAIN, -EINVAL)
    expect(() => xen.channels.allocateUnbound(OWN, GUEST)).toThrow('no domain has this id')
    expect(() => xen.channels.allocateUnbound(OWN, GUEST)).toThrow('no free port')
    expect(() => xen.channels.bindInterdomain(OWN, GUEST, 3)).toThrow('is bound already')
  })

  it('of another domain than the program’s are refused', () => {
    using xen = world()
    expect(() => xen.channels.allocateUnbound(GUEST, OWN)).toThrow('the domain of this program')
    expect(() => xen.channels.bindInterdomain(OWN, GUEST, -1)).toThrow('port')
    expect(xen.kernel.openPaths).toEqual([])
  })
})

describe('events', () => {
  it('reach the handler of their port, after the kernel was told to let further ones through', () => {
    using xen = world()
    const port = xen.channels.allocateUnbound(OWN, GUEST)
    const other = xen.channels.allocateUnbound(OWN, GUEST)
    const writtenBefore: number[][] = []
    xen.channels.setHandler(OWN, port, () => {
      writtenBefore.push([...xen.kernel.written])
    })
    xen.channels.setHandler(OWN, other, () => {
      throw new Error('not this one')
    })
    xen.signal(port)
    xen.signal(port)
    expect(writtenBefore).toEqual([[5], [5, 5]])
    expect(xen.thrown).toEqual([])
  })

  it('without a handler stay pending, and come to a new one', async () => {
    using xen = world()
    const port = xen.channels.allocateUnbound(OWN, GUEST)
    xen.signal(port)
    expect(xen.channels.isPending(OWN, port)).toBe(true)
    expect(xen.kernel.written).toEqual([])
    const handler = vi.fn<() => void>()
    xen.channels.setHandler(OWN, port, handler)
    expect(handler).not.toHaveBeenCalled()
    await turn()
    expect(handler).toHaveBeenCalledTimes(1)
    expect(xen.channels.isPending(OWN, port)).toBe(false)
  })

  it('are held back by a mask', async () => {
    using xen = world()
    const port = xen.channels.allocateUnbound(OWN, GUEST)
    const handler = vi.fn<() => void>()
    xen.channels.setHandler(OWN, port, handler)
    xen.channels.mask(OWN, port)
    xen.signal(port)
    expect(handler).not.toHaveBeenCalled()
    xen.channels.unmask(OWN, port)
    await turn()
    expect(handler).toHaveBeenCalledTimes(1)
  })

  it('do not come any more to a port that was closed', async () => {
    using xen = world()
    const port = xen.channels.allocateUnbound(OWN, GUEST)
    const handler = vi.fn<() => void>()
    xen.signal(port)
    xen.channels.setHandler(OWN, port, handler)
    xen.channels.close(OWN, port)
    xen.signal(port)
    await turn()
    expect(handler).not.toHaveBeenCalled()
  })

  it('are taken until there are none left, however many there are', () => {
    using xen = world()
    const port = xen.channels.allocateUnbound(OWN, GUEST)
    const handler = vi.fn<() => void>()
    xen.channels.setHandler(OWN, port, handler)
    xen.signal(...Array.from({ length: 600 }, () => 99), port)
    expect(xen.kernel.events).toEqual([])
    expect(handler).toHaveBeenCalledTimes(1)
  })
})

describe('a failure', () => {
  it('of a handler, now or later, is told to the listener', async () => {
    using xen = world()
    const port = xen.channels.allocateUnbound(OWN, GUEST)
    const error = new Error('handler')
    xen.channels.setHandler(OWN, port, () => {
      throw error
    })
    xen.signal(port)
    xen.channels.setHandler(OWN, port, () => Promise.reject(error))
    xen.signal(port)
    await turn()
    expect(xen.thrown).toEqual([error, error])
  })

  it('to read events does not end the process', () => {
    using xen = world()
    xen.channels.allocateUnbound(OWN, GUEST)
    vi.spyOn(xen.kernel, 'read').mockReturnValue(-EIO)
    xen.signal(5)
    expect(xen.thrown).toEqual([expect.objectContaining({ errnoName: 'EIO' })])
  })
})

describe('close', () => {
  it('stops the signals before the handler of the signal goes, and closes the descriptor once', () => {
    const listeners = process.listenerCount('SIGIO')
    const xen = world()
    xen.channels.allocateUnbound(OWN, GUEST)
    expect(process.listenerCount('SIGIO')).toBe(listeners + 1)
    const signalInput = xen.kernel.signalInput.bind(xen.kernel)
    vi.spyOn(xen.kernel, 'signalInput').mockImplementation((descriptor, signal) => {
      expect(process.listenerCount('SIGIO')).toBe(listeners + 1)
      return signalInput(descriptor, signal)
    })
    xen.channels[Symbol.dispose]()
    xen.channels[Symbol.dispose]()
    expect(xen.kernel.signals).toEqual([true, false])
    expect(xen.kernel.closed).toHaveLength(1)
    expect(process.listenerCount('SIGIO')).toBe(listeners)
    expect(() => xen.channels.allocateUnbound(OWN, GUEST)).toThrow('closed')
  })
})
