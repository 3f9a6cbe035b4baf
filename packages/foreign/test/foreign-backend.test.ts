import { constants } from 'node:os'
import {
  domainId,
  guestFrame,
  MemoryAreasError,
  SystemCallError,
  windowPage,
  XmcError,
} from '@xmc/interface'
import { describe, expect, test } from 'vitest'
import {
  ForeignBackend,
  type ForeignBackendOptions,
  ForeignMapError,
  ForeignUnmapError,
} from '../src/index.ts'
import { ScriptedForeignMemory } from './doubles/foreign-memory.ts'
import { plainWindow } from './doubles/window.ts'

const { EINVAL, ENOENT, ESRCH, EIO } = constants.errno

function setUp(options: Partial<ForeignBackendOptions> = {}) {
  const memory = new ScriptedForeignMemory()
  const window = plainWindow()
  const backend = new ForeignBackend({ memory, domain: domainId(3), window, ...options })
  return { memory, window, backend }
}

function caught(action: () => unknown): unknown {
  try {
    action()
  } catch (error) {
    return error
  }
  return undefined
}

describe('ForeignBackend', () => {
  test('is 1 MiB buckets, writable and not pinned, unless told otherwise', () => {
    const { backend, window } = setUp()
    expect(backend.kind).toBe('foreign')
    expect(backend.bucketShift).toBe(20)
    expect(backend.access).toBe('read-write')
    expect(backend.pinned).toBe(false)
    expect(backend.window).toBe(window)
    expect(backend.domain).toBe(3)
    expect(setUp({ bucketShift: 16 }).backend.bucketShift).toBe(16)
    expect(setUp({ access: 'as-requested' }).backend.access).toBe('as-requested')
  })

  test.each(['{ "access": "rw" }', '{ "domain": 32752 }', '{ "domain": -1 }'])(
    'options %s are refused',
    (options) => {
      expect(() => setUp(JSON.parse(options))).toThrow(
        expect.objectContaining({ code: 'ERR_XMC_ARGUMENT' }),
      )
    },
  )

  test.each([0, 2 ** 51, 2 ** 52 - 1])('page(%d) is a frame', (value) => {
    expect(setUp().backend.page(value)).toBe(value)
  })

  test.each([-1, 0.5, Number.NaN, 2 ** 52])('page(%d) is refused', (value) => {
    expect(() => setUp().backend.page(value)).toThrow(
      expect.objectContaining({ code: 'ERR_XMC_ARGUMENT' }),
    )
  })

  test('a run is one call at the port with its domain, window, place and errors', () => {
    const { memory, backend, window } = setUp()
    const errors = new Int32Array(3).fill(99)
    backend.mapAt(windowPage(8), { first: guestFrame(0x40000), count: 3 }, true, errors)
    expect(memory.calls).toEqual([{ map: [0x40000, 0x40001, 0x40002], at: 8, writable: true }])
    expect(memory.requests[0]).toMatchObject({ domain: 3, writable: true })
    expect(memory.requests[0]?.window).toBe(window)
    expect(memory.requests[0]?.errors).toBe(errors)
    expect([...errors]).toEqual([0, 0, 0])
  })

  test('a list reaches the port in its order', () => {
    const { memory, backend } = setUp()
    const list = [guestFrame(9), guestFrame(2), guestFrame(9)]
    backend.mapAt(windowPage(0), list, true, new Int32Array(3))
    expect(memory.calls).toEqual([{ map: [9, 2, 9], at: 0, writable: true }])
  })

  test('review b: the one write flag reaches the port, for foreign memory too', () => {
    const { memory, backend } = setUp({ access: 'as-requested' })
    const run = { first: guestFrame(1), count: 1 }
    backend.mapAt(windowPage(0), run, false, new Int32Array(1))
    backend.mapAt(windowPage(1), run, true, new Int32Array(1))
    expect(memory.calls).toEqual([
      { map: [1], at: 0, writable: false },
      { map: [1], at: 1, writable: true },
    ])
  })

  test('a read-only backend refuses a writable mapping without a call', async () => {
    const { memory, backend } = setUp({ access: 'read-only' })
    const run = { first: guestFrame(1), count: 1 }
    const refused = expect.objectContaining({ code: 'ERR_XMC_READ_ONLY' })
    expect(() => backend.mapAt(windowPage(0), run, true, new Int32Array(1))).toThrow(refused)
    await expect(backend.mapAtAsync(windowPage(0), run, true, new Int32Array(1))).rejects.toEqual(
      refused,
    )
    expect(memory.calls).toEqual([])
    backend.mapAt(windowPage(0), run, false, new Int32Array(1))
    expect(memory.calls).toEqual([{ map: [1], at: 0, writable: false }])
  })

  test.each([
    ['positive', 1],
    ['negative', -1],
  ])('S86 M12 errors come out positive from a provider that gives them %s', async (_, sign) => {
    const { memory, backend } = setUp()
    memory.frameErrors.set(5, sign * EINVAL).set(6, sign * ENOENT)
    const run = { first: guestFrame(4), count: 4 }
    const errors = new Int32Array(6).fill(-7)
    backend.mapAt(windowPage(0), run, true, errors)
    expect([...errors]).toEqual([0, EINVAL, ENOENT, 0, -7, -7])
    const later = new Int32Array(4)
    await backend.mapAtAsync(windowPage(4), run, true, later)
    expect([...later]).toEqual([0, EINVAL, ENOENT, 0])
  })

  test('S25 a bucket of holes alone is errors, not an exception', () => {
    const { memory, backend } = setUp()
    for (let frame = 0; frame < 256; frame++) memory.frameErrors.set(frame, EINVAL)
    const errors = new Int32Array(256)
    backend.mapAt(windowPage(0), { first: guestFrame(0), count: 256 }, true, errors)
    expect(errors.every((error) => error === EINVAL)).toBe(true)
  })

  test('the asynchronous form uses the port’s', async () => {
    const { memory, backend } = setUp()
    await backend.mapAtAsync(windowPage(3), [guestFrame(7)], true, new Int32Array(1))
    await backend.unmapAtAsync(windowPage(3), 1)
    expect(memory.calls).toEqual([
      { mapAsync: [7], at: 3, writable: true },
      { unmap: 1, at: 3 },
    ])
  })

  test('unmap passes the exact range on', () => {
    const { memory, backend } = setUp()
    backend.unmapAt(windowPage(256), 257)
    expect(memory.calls).toEqual([{ unmap: 257, at: 256 }])
  })

  test('a provider that throws ESRCH becomes an error with domain, frames and likely reasons', async () => {
    const { memory, backend } = setUp()
    const cause = new SystemCallError('privcmd mmapbatch', ESRCH, 'domain 3')
    memory.refusal = cause
    const run = { first: guestFrame(0x40000), count: 256 }
    const error = caught(() => backend.mapAt(windowPage(0), run, true, new Int32Array(256)))
    expect(error).toBeInstanceOf(ForeignMapError)
    expect(error).toBeInstanceOf(XmcError)
    expect(error).toMatchObject({
      name: 'ForeignMapError',
      code: 'ERR_XMC_FOREIGN_MAP',
      domain: 3,
      firstFrame: 0x40000,
      frameCount: 256,
      writable: true,
      errno: ESRCH,
      errnoName: 'ESRCH',
      likelyReasons: [
        'no domain has this id, or it is gone',
        "the domain is the caller's own: map another's",
      ],
      cause,
    })
    await expect(
      backend.mapAtAsync(windowPage(0), [guestFrame(8)], false, new Int32Array(1)),
    ).rejects.toMatchObject({
      code: 'ERR_XMC_FOREIGN_MAP',
      firstFrame: 8,
      frameCount: 1,
      writable: false,
    })
  })

  test('a run over the last frame is refused without a call, in both forms', async () => {
    const { memory, backend } = setUp()
    const pages = { first: guestFrame(2 ** 52 - 1), count: 2 }
    const refused = expect.objectContaining({ code: 'ERR_XMC_ARGUMENT', field: 'guest frame' })
    expect(() => backend.mapAt(windowPage(0), pages, true, new Int32Array(2))).toThrow(refused)
    await expect(backend.mapAtAsync(windowPage(0), pages, true, new Int32Array(2))).rejects.toEqual(
      refused,
    )
    expect(memory.calls).toEqual([])
  })

  test('a shortage of the host is passed on as it is, in both forms', async () => {
    const { memory, backend } = setUp()
    const shortage = new MemoryAreasError({
      who: 'a window',
      needed: 2,
      used: 9,
      limit: 10,
      option: 'the option',
      shortage: 'passing',
    })
    memory.refusal = shortage
    const pages = [guestFrame(1)]
    expect(caught(() => backend.mapAt(windowPage(0), pages, true, new Int32Array(1)))).toBe(
      shortage,
    )
    await expect(backend.mapAtAsync(windowPage(0), pages, true, new Int32Array(1))).rejects.toBe(
      shortage,
    )
  })

  test('no memory of the kernel for the mapping is a shortage that others’ release ends', () => {
    const { memory, backend } = setUp()
    const map = () => backend.mapAt(windowPage(0), [guestFrame(1)], true, new Int32Array(1))
    memory.refusal = new SystemCallError('privcmd mmapbatch', constants.errno.ENOMEM, 'domain 3')
    expect(caught(map)).toMatchObject({
      code: 'ERR_XMC_FOREIGN_MAP',
      shortage: 'passing',
      message: expect.stringContaining('wait until others are released'),
    })
    memory.refusal = new SystemCallError('privcmd mmapbatch', ESRCH, 'domain 3')
    expect(caught(map)).toMatchObject({ code: 'ERR_XMC_FOREIGN_MAP', shortage: undefined })
  })

  test('a dying domain (EINVAL) is named as a likely reason', () => {
    const { memory, backend } = setUp()
    memory.refusal = new SystemCallError('privcmd mmapbatch', EINVAL, 'domain 3')
    expect(() => backend.mapAt(windowPage(0), [guestFrame(1)], true, new Int32Array(1))).toThrow(
      'domain 3: 1 frames from frame 0x1 could not be mapped (EINVAL): likely the domain is dying',
    )
  })

  test('an error without errno, and an errno without a known reason, keep their cause', () => {
    const { memory, backend } = setUp()
    const map = () => backend.mapAt(windowPage(0), [guestFrame(1)], true, new Int32Array(1))
    memory.refusal = new TypeError('broken provider')
    expect(caught(map)).toMatchObject({
      code: 'ERR_XMC_FOREIGN_MAP',
      errno: undefined,
      likelyReasons: [],
      cause: memory.refusal,
    })
    memory.refusal = Object.assign(new Error('read failed'), { errno: -EIO })
    expect(caught(map)).toMatchObject({ errno: EIO, errnoName: 'EIO', likelyReasons: [] })
  })

  test('review e: a refused unmap is a typed error, in both forms', async () => {
    const { memory, backend } = setUp()
    const cause = new SystemCallError('mmap', EINVAL, 'split of a foreign mapping')
    memory.refusal = cause
    const error = caught(() => backend.unmapAt(windowPage(12), 4))
    expect(error).toBeInstanceOf(ForeignUnmapError)
    expect(error).toMatchObject({
      code: 'ERR_XMC_FOREIGN_UNMAP',
      domain: 3,
      windowPage: 12,
      pageCount: 4,
      errno: EINVAL,
      errnoName: 'EINVAL',
      cause,
    })
    await expect(backend.unmapAtAsync(windowPage(12), 4)).rejects.toMatchObject({
      code: 'ERR_XMC_FOREIGN_UNMAP',
    })
  })
})
