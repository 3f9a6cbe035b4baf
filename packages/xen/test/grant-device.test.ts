import { EventEmitter, once } from 'node:events'
import { constants } from 'node:os'
import { openWindow } from '@xmc/hostmem'
import {
  domainId,
  type GrantCopySegment,
  type GrantMapRequest,
  grantReference,
  type WindowPage,
  windowPage,
} from '@xmc/interface'
import { describe, expect, it } from 'vitest'
import { GrantDevice } from '../src/grant-device.ts'
import {
  GRANT_COPY,
  MAP_GRANT_REFERENCES,
  SET_UNMAP_NOTIFY,
  UNMAP_GRANT_REFERENCES,
} from '../src/internal/gntdev.ts'
import { Kernel } from './helpers/kernel.ts'
import { bytesOf, firstBytes } from './helpers/window-bytes.ts'

const { EBUSY, EINVAL, ENOMEM } = constants.errno
const AT: WindowPage = windowPage(4)

/** A device over a double, a window of 16 pages, and requests for references from page 4 of it on. */
function world(kernel = new Kernel()) {
  const device = new GrantDevice(kernel, 'grants')
  const window = openWindow({ pageCount: 16 })
  const request = (
    references: readonly number[],
    options: Partial<GrantMapRequest> = {},
  ): GrantMapRequest => ({
    domain: domainId(1),
    window,
    windowPage: AT,
    references: references.map(grantReference),
    writable: true,
    ...options,
  })
  /** Index and count of each unmap that the kernel was asked for. */
  const unmaps = () =>
    kernel.callsOf(UNMAP_GRANT_REFERENCES).map((bytes) => {
      const view = new DataView(bytes.buffer)
      return [Number(view.getBigUint64(0, true)), view.getUint32(8, true)]
    })
  return { kernel, device, window, request, unmaps }
}

function segment(change: Partial<GrantCopySegment> = {}): GrantCopySegment {
  return {
    domain: domainId(1),
    reference: grantReference(7),
    offset: 0,
    bytes: new Uint8Array(4),
    direction: 'from-grant',
    ...change,
  }
}

describe('map', () => {
  it('announces the references, maps what the kernel gave for them, and keeps it from children', () => {
    const { kernel, device, window, request } = world()
    device.map(request([9]))
    device.map(request([5, 3], { windowPage: windowPage(8) }))
    expect(kernel.callsOf(MAP_GRANT_REFERENCES).map((bytes) => bytes.length)).toEqual([24, 32])
    // The second mapping starts where the first ends in the device.
    expect(firstBytes(window, 4, 6)).toEqual([1, 0, 0, 0, 2, 3])
    expect(kernel.notForked).toEqual([
      { address: window.hostAddress + 4 * 4096, length: 4096 },
      { address: window.hostAddress + 8 * 4096, length: 8192 },
    ])
  })

  it('puts filler back when the kernel refuses the references', () => {
    const { kernel, device, window, request, unmaps } = world()
    bytesOf(window, 0, 16).fill(0xee)
    kernel.answer(MAP_GRANT_REFERENCES, -ENOMEM)
    expect(() => device.map(request([5, 6], { writable: false }))).toThrow(
      expect.objectContaining({
        name: 'XenCallError',
        code: 'ERR_XMC_SYSTEM_CALL',
        operation: 'grant map',
        errnoName: 'ENOMEM',
        domain: 1,
        firstPage: 5,
        pageCount: 2,
      }),
    )
    expect(firstBytes(window, 3, 4)).toEqual([0xee, 0, 0, 0xee])
    expect(unmaps()).toEqual([])
  })

  it('M10 takes the references back when they cannot be mapped, and filler is in place', () => {
    const kernel = new Kernel()
    kernel.mapsFail = true
    const { device, window, request, unmaps } = world(kernel)
    bytesOf(window, 4, 3).fill(0xee)
    expect(() => device.map(request([5, 6, 7]))).toThrow(
      expect.objectContaining({ operation: 'grant map', errnoName: 'EBADF', pageCount: 3 }),
    )
    expect(unmaps()).toEqual([[0, 3]])
    expect(firstBytes(window, 4, 3)).toEqual([0, 0, 0])
    expect(window.mappedPages).toBe(0)
  })

  it('M10 does so on another thread, too', async () => {
    const kernel = new Kernel()
    kernel.mapsFail = true
    const { device, window, request, unmaps } = world(kernel)
    bytesOf(window, 4, 3).fill(0xee)
    await expect(device.mapAsync(request([5, 6, 7]))).rejects.toMatchObject({
      operation: 'grant map',
      errnoName: 'EBADF',
    })
    expect(unmaps()).toEqual([[0, 3]])
    expect(firstBytes(window, 4, 3)).toEqual([0, 0, 0])
  })

  it('M10 says so when the references cannot be taken back either', () => {
    const kernel = new Kernel()
    kernel.mapsFail = true
    const { device, request } = world(kernel)
    kernel.answer(UNMAP_GRANT_REFERENCES, -EBUSY)
    expect(() => device.map(request([5]))).toThrow(
      expect.objectContaining({
        operation: 'grant unmap',
        errnoName: 'EBUSY',
        cause: expect.objectContaining({ operation: 'grant map', errnoName: 'EBADF' }),
      }),
    )
  })

  it('M11 asks the kernel for as many references as there are, of 65,536 too', () => {
    const kernel = new Kernel()
    const device = new GrantDevice(kernel, 'grants')
    using window = openWindow({ pageCount: 65_537 })
    kernel.answer(MAP_GRANT_REFERENCES, -EINVAL)
    const run = { first: grantReference(3), count: 65_536 }
    const request = { domain: domainId(1), window, windowPage: windowPage(0), writable: true }
    expect(() => device.map({ ...request, references: run })).toThrow('grant map')
    const [asked] = kernel.callsOf(MAP_GRANT_REFERENCES)
    expect(asked?.length).toBe(16 + 8 * 65_536)
    expect(asked?.subarray(0, 4)).toEqual(Uint8Array.of(0, 0, 1, 0))
    // One more is refused here: a count of 17 bits never becomes another one of 16.
    expect(() => device.map({ ...request, references: { ...run, count: 65_537 } })).toThrow(
      expect.objectContaining({ errnoName: 'EINVAL' }),
    )
    expect(kernel.callsOf(MAP_GRANT_REFERENCES)).toHaveLength(1)
  })

  it.each([
    ['no references', '{ "references": [] }', 'ERR_XMC_SYSTEM_CALL'],
    ['a target outside the window', '{ "windowPage": 16 }', 'ERR_XMC_ARGUMENT'],
    ['a domain of more than 16 bits', '{ "domain": 65537 }', 'ERR_XMC_ARGUMENT'],
    ['a reference of more than 32 bits', '{ "references": [4294967296] }', 'ERR_XMC_ARGUMENT'],
    [
      'a run over the last reference',
      '{ "references": { "first": 4294967295, "count": 2 } }',
      'ERR_XMC_ARGUMENT',
    ],
  ])('refuses %s before it asks the kernel', (_, change, code) => {
    const { kernel, device, request } = world()
    expect(() => device.map(request([1], JSON.parse(change)))).toThrow(
      expect.objectContaining({ code }),
    )
    expect(kernel.calls).toEqual([])
  })

  it('over a mapping displaces it: it keeps its pins until the device is closed', () => {
    const { device, window, request, unmaps } = world()
    device.map(request([1, 2, 3]))
    device.map(request([4], { windowPage: windowPage(5) }))
    expect(unmaps()).toEqual([])
    expect(firstBytes(window, 4, 3)).toEqual([0, 4, 0])
    device.unmap(window, windowPage(5), 1)
    expect(window.mappedPages).toBe(0)
  })
})

describe('unmap', () => {
  it('puts filler in place and then takes the references back', () => {
    const { device, window, request, unmaps } = world()
    device.map(request([1, 2], { windowPage: windowPage(0) }))
    device.map(request([3, 4, 5]))
    device.unmap(window, AT, 3)
    expect(firstBytes(window, 4, 3)).toEqual([0, 0, 0])
    expect(unmaps()).toEqual([[8192, 3]])
  })

  it.each([
    [4, 2],
    [4, 4],
    [5, 2],
  ])(
    'M15c from page %i, %i pages, where there is a mapping of 3 at 4: EINVAL, and it stays',
    (page, count) => {
      const { device, window, request, unmaps } = world()
      device.map(request([1, 2, 3]))
      expect(() => device.unmap(window, windowPage(page), count)).toThrow(
        expect.objectContaining({ operation: 'grant unmap', errnoName: 'EINVAL' }),
      )
      expect(unmaps()).toEqual([])
      expect(firstBytes(window, 4, 3)).toEqual([1, 2, 3])
      device.unmap(window, AT, 3)
      expect(unmaps()).toEqual([[0, 3]])
    },
  )

  it('from before a mapping is EINVAL, and so is a second time, in both forms', async () => {
    const { device, window, request, unmaps } = world()
    device.map(request([1]))
    expect(() => device.unmap(window, windowPage(3), 2)).toThrow('EINVAL')
    await device.unmapAsync(window, AT, 1)
    expect(() => device.unmap(window, AT, 1)).toThrow('no mapping of 1 pages starts')
    await expect(device.unmapAsync(window, AT, 1)).rejects.toMatchObject({ errnoName: 'EINVAL' })
    expect(unmaps()).toEqual([[0, 1]])
  })

  it('that the kernel refuses says that the grants stay pinned', async () => {
    const { kernel, device, window, request } = world()
    device.map(request([1, 2]))
    kernel.answer(UNMAP_GRANT_REFERENCES, -EBUSY, -EBUSY)
    expect(() => device.unmap(window, AT, 2)).toThrow('2 grants of domain 1 stay pinned')
    device.map(request([1, 2]))
    await expect(device.unmapAsync(window, AT, 2)).rejects.toMatchObject({ errnoName: 'EBUSY' })
    expect(window.mappedPages).toBe(0)
  })
})

describe('setUnmapNotify', () => {
  it('asks for the byte at its place in the device', () => {
    const { kernel, device, window, request } = world()
    device.map(request([1, 2], { windowPage: windowPage(0) }))
    device.map(request([3]))
    device.setUnmapNotify(window, AT, { clearByte: 100, eventChannel: 9 })
    const [bytes = new Uint8Array(16)] = kernel.callsOf(SET_UNMAP_NOTIFY)
    expect([...new Uint32Array(bytes.buffer)]).toEqual([8192 + 100, 0, 3, 9])
  })

  it('refuses what has no mapping, and what the kernel refuses', () => {
    const { kernel, device, window, request } = world()
    const asking = (): void => device.setUnmapNotify(window, AT, { clearByte: 0 })
    expect(asking).toThrow(expect.objectContaining({ errnoName: 'ENOENT' }))
    device.map(request([1], { writable: false }))
    kernel.answer(SET_UNMAP_NOTIFY, -EINVAL)
    expect(asking).toThrow('a byte of a read-only mapping cannot be cleared')
    expect(() => device.setUnmapNotify(window, AT, { clearByte: 4096 })).toThrow('clearByte')
    expect(() => device.setUnmapNotify(window, AT, { eventChannel: 1.5 })).toThrow('eventChannel')
  })
})

describe('copy', () => {
  it('moves the bytes of granted pages through memory that the kernel can reach', () => {
    const { kernel, device } = world()
    const bytes = new Uint8Array(8)
    const statuses = device.copy([
      segment({ bytes: bytes.subarray(2, 6) }),
      segment({ direction: 'to-grant', bytes: Uint8Array.of(1, 2) }),
    ])
    expect([...statuses]).toEqual([0, 0])
    expect([...bytes]).toEqual([0, 0, 7, 7, 7, 7, 0, 0])
    expect(kernel.callsOf(GRANT_COPY)).toHaveLength(1)
  })

  it('gives each segment its status; a refused one moves nothing', () => {
    const { kernel, device } = world()
    kernel.copyStatuses.set(8, -3)
    const bytes = [0, 1, 2].map(() => new Uint8Array(2).fill(0xee))
    const statuses = device.copy(
      [7, 8, 9].map((reference, index) =>
        segment({ reference: grantReference(reference), bytes: bytes[index] ?? new Uint8Array(0) }),
      ),
    )
    expect([...statuses]).toEqual([0, -3, 0])
    expect(bytes.map((each) => each[0])).toEqual([7, 0xee, 9])
  })

  it('does the others when a segment goes over the end of its page', () => {
    const { kernel, device } = world()
    const over = segment({ offset: 4094, bytes: new Uint8Array(4).fill(0xee) })
    const statuses = device.copy([over, segment()])
    expect([...statuses]).toEqual([-10, 0])
    expect([...over.bytes]).toEqual([0xee, 0xee, 0xee, 0xee])
    const [bytes] = kernel.callsOf(GRANT_COPY)
    expect(bytes?.[0]).toBe(1)
  })

  it('takes 64 segments to a call', () => {
    const { kernel, device } = world()
    const segments = Array.from({ length: 130 }, () => segment({ bytes: new Uint8Array(4096) }))
    expect(device.copy(segments)).toEqual(new Int16Array(130))
    expect(kernel.callsOf(GRANT_COPY).map((bytes) => bytes[0])).toEqual([64, 64, 2])
    expect(segments[129]?.bytes.every((byte) => byte === 7)).toBe(true)
  })

  it('refuses what does not fit the structure, before it asks the kernel', () => {
    const { kernel, device } = world()
    expect(() => device.copy([segment(), segment({ offset: 65_536 })])).toThrow('offset')
    expect(() => device.copy([segment({ bytes: new Uint8Array(65_536) })])).toThrow('bytes')
    expect(() => device.copy([segment(JSON.parse('{ "domain": 65537 }'))])).toThrow('domain id')
    expect(kernel.calls).toEqual([])
  })

  it('throws when the call as a whole is refused', () => {
    const { kernel, device } = world()
    kernel.answer(GRANT_COPY, -EINVAL)
    expect(() => device.copy([segment()])).toThrow(
      expect.objectContaining({ operation: 'grant copy', domain: 1, firstPage: 7 }),
    )
  })
})

describe('the asynchronous forms', () => {
  it('map and unmap on another thread', async () => {
    const { device, window, request, unmaps } = world()
    await device.mapAsync(request([1, 2]))
    expect(firstBytes(window, 4, 2)).toEqual([1, 2])
    await device.unmapAsync(window, AT, 2)
    expect(window.mappedPages).toBe(0)
    expect(unmaps()).toEqual([[0, 2]])
  })

  it('announce many references on another thread, too, and refuse them there', async () => {
    const kernel = new Kernel()
    const device = new GrantDevice(kernel, 'grants')
    using window = openWindow({ pageCount: 300 })
    const references = { first: grantReference(8), count: 257 }
    const request = { domain: domainId(1), window, windowPage: windowPage(0), references }
    const mapped = device.mapAsync({ ...request, writable: true })
    expect(kernel.calls).toEqual([])
    await mapped
    expect(firstBytes(window, 255, 3)).toEqual([1, 2, 0])
    await device.unmapAsync(window, windowPage(0), 257)
    kernel.answer(MAP_GRANT_REFERENCES, -ENOMEM)
    await expect(device.mapAsync({ ...request, writable: true })).rejects.toMatchObject({
      operation: 'grant map',
      errnoName: 'ENOMEM',
    })
    expect(window.mappedPages).toBe(0)
    device.close()
    expect(kernel.closed).toHaveLength(1)
  })

  it('leave nothing when the device is closed under a map', async () => {
    const { kernel, device, window, request, unmaps } = world()
    const mapped = device.mapAsync(request([1, 2]))
    device.close()
    expect(kernel.closed).toEqual([])
    await expect(mapped).rejects.toMatchObject({ code: 'ERR_XMC_CLOSED' })
    expect(window.mappedPages).toBe(0)
    expect(firstBytes(window, 4, 2)).toEqual([0, 0])
    expect(unmaps()).toEqual([[0, 2]])
    expect(kernel.closed).toHaveLength(1)
    expect(kernel.openPaths).toEqual([])
  })

  it('leave nothing when the device is closed under a map, which the window cannot be', async () => {
    const { kernel, device, window, request, unmaps } = world()
    const mapped = device.mapAsync(request([1]))
    device.close()
    expect(() => window.close()).toThrow(expect.objectContaining({ code: 'ERR_XMC_BUSY' }))
    await expect(mapped).rejects.toMatchObject({ code: 'ERR_XMC_CLOSED' })
    window.close()
    expect(unmaps()).toEqual([[0, 1]])
    expect(kernel.closed).toHaveLength(1)
  })

  it('keep the descriptor open until an unmap has come back', async () => {
    const { kernel, device, window, request } = world()
    device.map(request([1]))
    const gate = new EventEmitter()
    kernel.asynchronousGate = once(gate, 'open')
    const unmapped = device.unmapAsync(window, AT, 1)
    device.close()
    expect(kernel.closed).toEqual([])
    gate.emit('open')
    await unmapped
    expect(kernel.closed).toHaveLength(1)
  })
})

describe('close', () => {
  it('puts filler in place of every mapping and closes the descriptor once', () => {
    const { kernel, device, window, request } = world()
    device.map(request([1, 2]))
    device.close()
    device[Symbol.dispose]()
    expect(window.mappedPages).toBe(0)
    expect(kernel.closed).toHaveLength(1)
    expect(() => device.map(request([1]))).toThrow('is closed')
    expect(() => device.copy([segment()])).toThrow('is closed')
    expect(() => device.unmap(window, AT, 2)).toThrow('is closed')
    expect(() => device.setUnmapNotify(window, AT, {})).toThrow('is closed')
  })
})
