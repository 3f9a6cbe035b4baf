import { constants } from 'node:os'
import { openWindow } from '@xmc/hostmem'
import { domainId, type ForeignMapRequest, guestFrame, windowPage } from '@xmc/interface'
import { describe, expect, it, vi } from 'vitest'
import { ForeignDevice } from '../src/foreign-device.ts'
import { XenCallError } from '../src/index.ts'
import { MAP_BATCH } from '../src/internal/privcmd.ts'
import { Kernel } from './helpers/kernel.ts'
import { bytesOf, firstBytes } from './helpers/window-bytes.ts'

const { EINVAL, ENOENT, EPERM, ESRCH } = constants.errno

/** A device over a double, a window of 16 pages, and requests for frames from page 4 of it on. */
function world() {
  const kernel = new Kernel()
  const retry = { intervalMilliseconds: 0, attempts: 3 }
  const device = new ForeignDevice(kernel, 'foreign', retry)
  const window = openWindow({ pageCount: 16 })
  const request = (
    frames: readonly number[],
    options: Partial<ForeignMapRequest> = {},
  ): ForeignMapRequest => ({
    domain: domainId(1),
    window,
    windowPage: windowPage(4),
    frames: frames.map(guestFrame),
    writable: true,
    ...options,
  })
  /** Count, first window page and frames of each batch. */
  const batches = () =>
    kernel.callsOf(MAP_BATCH).map((bytes) => {
      const view = new DataView(bytes.buffer)
      const count = view.getUint32(0, true)
      const page = (Number(view.getBigUint64(8, true)) - window.hostAddress) / 4096
      const frames = Array.from({ length: count }, (_, i) =>
        Number(view.getBigUint64(32 + 8 * i, true)),
      )
      return { page, frames }
    })
  return { kernel, device, window, request, batches }
}

describe('map', () => {
  it('is one mapping of the device and one call where every frame is good', () => {
    const { kernel, device, window, request, batches } = world()
    const errors = new Int32Array(3).fill(-1)
    device.map(request([7, 5, 6], { errors }))
    expect(batches()).toEqual([{ page: 4, frames: [7, 5, 6] }])
    expect([...errors]).toEqual([0, 0, 0])
    expect(window.mappedPages).toBe(3)
    expect(firstBytes(window, 3, 5)).toEqual([0, 1, 2, 3, 0])
    expect(kernel.callsOf(MAP_BATCH)[0]?.subarray(0, 8)).toEqual(
      Uint8Array.of(3, 0, 0, 0, 1, 0, 0, 0),
    )
  })

  it('M9 gives every frame its own error, and no page that failed is left to be touched', () => {
    const { kernel, device, window, request, batches } = world()
    bytesOf(window, 0, 16).fill(0xee)
    kernel.badFrames.set(21, -EINVAL)
    kernel.badFrames.set(24, -EINVAL)
    const errors = new Int32Array(5)
    device.map(request([20, 21, 22, 23, 24], { errors }))
    expect([...errors]).toEqual([0, EINVAL, 0, 0, EINVAL])
    // All at once, then run by run, as a mapping with a hole cannot be patched.
    expect(batches()).toEqual([
      { page: 4, frames: [20, 21, 22, 23, 24] },
      { page: 6, frames: [22, 23] },
      { page: 4, frames: [20] },
    ])
    expect(firstBytes(window, 4, 5)).toEqual([1, 0, 1, 2, 0])
    expect(bytesOf(window, 5).every((byte) => byte === 0)).toBe(true)
    expect(window.mappedPages).toBe(3)
    expect([firstBytes(window, 3, 1), firstBytes(window, 9, 1)]).toEqual([[0xee], [0xee]])
  })

  it('splits a run again when a frame fails that was good before', () => {
    const { kernel, device, window, request, batches } = world()
    kernel.badFrames.set(20, -EINVAL)
    const ioctl = kernel.ioctl.bind(kernel)
    let calls = 0
    vi.spyOn(kernel, 'ioctl').mockImplementation((...call) => {
      if (++calls === 2) kernel.badFrames.set(22, -EINVAL)
      return ioctl(...call)
    })
    const errors = new Int32Array(4)
    device.map(request([20, 21, 22, 23], { errors }))
    expect([...errors]).toEqual([EINVAL, 0, EINVAL, 0])
    expect(batches().map(({ frames }) => frames)).toEqual([
      [20, 21, 22, 23],
      [21, 22, 23],
      [23],
      [21],
    ])
    expect(firstBytes(window, 4, 4)).toEqual([0, 1, 0, 1])
  })

  it('maps nothing where every frame is a hole', () => {
    const { kernel, device, window, request } = world()
    for (const frame of [1, 2]) kernel.badFrames.set(frame, -EINVAL)
    const errors = new Int32Array(2)
    device.map(request([1, 2], { errors }))
    expect([...errors]).toEqual([EINVAL, EINVAL])
    expect(window.mappedPages).toBe(0)
  })

  it('without errors fails as a whole, with filler in place and what is known in the error', () => {
    const { kernel, device, window, request } = world()
    bytesOf(window, 4, 2).fill(0xee)
    kernel.badFrames.set(2, -EINVAL)
    expect(() => device.map(request([0x40, 2], { writable: false }))).toThrow(
      expect.objectContaining({
        name: 'XenCallError',
        code: 'ERR_XMC_SYSTEM_CALL',
        operation: 'foreign map',
        errnoName: 'EINVAL',
        domain: 1,
        firstPage: 0x40,
        pageCount: 2,
        likelyReasons: [
          'a frame has no memory behind it',
          'the domain is dying: close its mappings',
          'the target would split a mapping of several pages: unmap that one whole first',
        ],
      }),
    )
    expect(window.mappedPages).toBe(0)
    expect(bytesOf(window, 4, 2).every((byte) => byte === 0)).toBe(true)
  })

  it('fails as a whole where there is no such domain, errors or not', () => {
    const { kernel, device, window, request } = world()
    for (const frame of [1, 2]) kernel.badFrames.set(frame, -ESRCH)
    const errors = new Int32Array(2)
    expect(() => device.map(request([1, 2], { errors }))).toThrow(
      expect.objectContaining({ errnoName: 'ESRCH' }),
    )
    expect(() => device.map(request([1, 2]))).toThrow('no domain has this id')
    expect(window.mappedPages).toBe(0)
  })

  it('puts filler back when the call is refused', () => {
    const { kernel, device, window, request } = world()
    bytesOf(window, 4).fill(0xee)
    kernel.answer(MAP_BATCH, -EPERM)
    expect(() => device.map(request([1], { errors: new Int32Array(1) }))).toThrow(
      expect.objectContaining({ errnoName: 'EPERM' }),
    )
    expect(window.mappedPages).toBe(0)
    expect(firstBytes(window, 4, 1)).toEqual([0])
  })

  it('puts filler back when the device cannot be mapped', () => {
    const kernel = new Kernel()
    kernel.mapsFail = true
    const device = new ForeignDevice(kernel, 'f', { intervalMilliseconds: 0, attempts: 0 })
    using window = openWindow({ pageCount: 4 })
    bytesOf(window, 0, 4).fill(0xee)
    const frames = [guestFrame(1)]
    const target = { window, windowPage: windowPage(1), frames, writable: true }
    expect(() => device.map({ domain: domainId(1), ...target })).toThrow(
      expect.objectContaining({ call: 'foreign map', errnoName: 'EBADF' }),
    )
    expect(firstBytes(window, 0, 3)).toEqual([0xee, 0, 0xee])
    expect(kernel.callsOf(MAP_BATCH)).toEqual([])
  })

  it('covers a mapping wholly or not at all', () => {
    const { device, window, request } = world()
    device.map(request([1, 2, 3]))
    const part = request([9], { windowPage: windowPage(5) })
    expect(() => device.map(part)).toThrow('cover a part of the mapping of 3 pages at 4')
    expect(() => device.unmap(window, windowPage(4), 2)).toThrow(
      expect.objectContaining({ operation: 'foreign unmap', errnoName: 'EINVAL' }),
    )
    expect(firstBytes(window, 4, 3)).toEqual([1, 2, 3])
    device.map(request([9, 8, 7, 6], { windowPage: windowPage(3) }))
    device.unmap(window, windowPage(0), 16)
    expect(window.mappedPages).toBe(0)
  })

  it.each([
    ['no frames', '{ "frames": [] }', 'ERR_XMC_SYSTEM_CALL'],
    ['a target outside the window', '{ "windowPage": 16 }', 'ERR_XMC_ARGUMENT'],
    ['a domain of more than 16 bits', '{ "domain": 65537 }', 'ERR_XMC_ARGUMENT'],
    ['a frame that is none', '{ "frames": [-1] }', 'ERR_XMC_ARGUMENT'],
    [
      'a run over the last frame',
      '{ "frames": { "first": 4503599627370495, "count": 2 } }',
      'ERR_XMC_ARGUMENT',
    ],
  ])('refuses %s before it asks the kernel', (_, change, code) => {
    const { kernel, device, window, request } = world()
    bytesOf(window, 4).fill(0xee)
    expect(() => device.map(request([1], JSON.parse(change)))).toThrow(
      expect.objectContaining({ code }),
    )
    expect(kernel.calls).toEqual([])
    expect(firstBytes(window, 4, 1)).toEqual([0xee])
  })

  it('refuses errors that are too short', () => {
    const { kernel, device, request } = world()
    const errors = new Int32Array(1)
    expect(() => device.map(request([1, 2], { errors }))).toThrow('errors: expected 2 elements')
    expect(kernel.calls).toEqual([])
  })
})

describe('mapAsync', () => {
  it('M12 sees the kernel’s negative ENOENT, waits for the frame, and stays inside the errors', async () => {
    const { kernel, device, window, request, batches } = world()
    kernel.badFrames.set(11, -ENOENT)
    const errors = new Int32Array(3).fill(-99)
    const mapped = device.mapAsync(request([10, 11], { errors }))
    expect(batches()).toEqual([])
    setTimeout(() => kernel.badFrames.clear(), 0)
    await mapped
    expect([...errors]).toEqual([0, 0, -99])
    expect(firstBytes(window, 4, 2)).toEqual([1, 2])
    expect(batches().length).toBeGreaterThan(1)
    expect(batches().every(({ frames }) => frames.length <= 2)).toBe(true)
  })

  it('gives a frame that stays paged out its errno after the last attempt, and maps the others', async () => {
    const { kernel, device, window, request } = world()
    kernel.badFrames.set(11, -ENOENT)
    const errors = new Int32Array(2)
    await device.mapAsync(request([10, 11], { errors }))
    expect([...errors]).toEqual([0, ENOENT])
    expect(firstBytes(window, 4, 2)).toEqual([1, 0])
    // Two calls for each of four attempts: all frames, and the run that is good.
    expect(kernel.callsOf(MAP_BATCH)).toHaveLength(8)
  })

  it('without errors rejects after the last attempt', async () => {
    const { kernel, device, window, request } = world()
    kernel.badFrames.set(11, -ENOENT)
    await expect(device.mapAsync(request([11]))).rejects.toMatchObject({ errnoName: 'ENOENT' })
    expect(kernel.callsOf(MAP_BATCH)).toHaveLength(4)
    expect(window.mappedPages).toBe(0)
  })

  it('map does not wait: a paged-out frame is an error of its own', () => {
    const { kernel, device, request } = world()
    kernel.badFrames.set(11, -ENOENT)
    const errors = new Int32Array(2)
    device.map(request([10, 11], { errors }))
    expect([...errors]).toEqual([0, ENOENT])
  })
})

describe('close', () => {
  it('puts filler in place of every mapping and closes the descriptor once', () => {
    const { kernel, device, window, request } = world()
    device.map(request([1, 2]))
    device.close()
    device.close()
    device[Symbol.dispose]()
    expect(window.mappedPages).toBe(0)
    expect(kernel.closed).toHaveLength(1)
    expect(() => device.map(request([1]))).toThrow(
      expect.objectContaining({ code: 'ERR_XMC_CLOSED' }),
    )
    expect(() => device.unmap(window, windowPage(0), 1)).toThrow('is closed')
  })

  it('does not mind a window that was closed before', () => {
    const { kernel, device, window, request } = world()
    device.map(request([1, 2]))
    window.close()
    device.close()
    expect(kernel.openPaths).toEqual([])
  })
})

it('an error is an XenCallError and an Error with a cause', () => {
  const cause = new Error('inner')
  const error = new XenCallError({ operation: 'grant copy', detail: 'what' }, EPERM, { cause })
  expect(error).toMatchObject({ cause, domain: undefined, firstPage: undefined })
  expect(error.message).toBe(
    'grant copy failed with EPERM: what; likely this domain is not privileged enough',
  )
})
