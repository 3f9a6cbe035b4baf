import { once } from 'node:events'
import { closeSync, openSync, readSync, writeSync } from 'node:fs'
import { Worker } from 'node:worker_threads'
import { type TargetWindow, windowPage } from '@xmc/interface'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { createMemoryFile, openWindow } from '../src/index.ts'
import { runChild } from './helpers/child.ts'
import { memoryAreaLimit, reasonAgainstBuffer } from './helpers/machine.ts'
import { bytesOf, firstBytes } from './helpers/pages.ts'
import { countAreas, countFileDescriptors } from './helpers/process-memory.ts'

/** A memory file whose page n starts with the byte n + 1. */
function numberedFile(pageCount: number) {
  const file = createMemoryFile({ name: 'numbered', size: pageCount * 4096 })
  for (let page = 0; page < pageCount; page++) file.write(page * 4096, Uint8Array.of(page + 1))
  return file
}

/** Stands in for a machine with less memory: V8 refuses larger buffers. */
function refuseBuffersAbove(limit: number): void {
  const refusing = new Proxy(ArrayBuffer, {
    construct(target, [byteLength]: [number]) {
      if (byteLength > limit) throw new RangeError('Array buffer allocation failed')
      return new target(byteLength)
    },
  })
  vi.stubGlobal('ArrayBuffer', refusing)
}

describe('openWindow', () => {
  afterEach(() => {
    vi.unstubAllGlobals()
  })

  it('gives a window of zeros that starts at a page of the host', () => {
    using window = openWindow({ pageCount: 5 })
    expect(window.pageCount).toBe(5)
    expect(window.requestedPages).toBe(5)
    expect(window.reason).toBe('as-requested')
    expect(window.mappedPages).toBe(0)
    expect(window.buffer).toBeInstanceOf(ArrayBuffer)
    expect(window.hostAddress % 4096).toBe(0)
    expect(window.hostAddress).toBeGreaterThan(65_536)
    expect(window.hostAddress).toBeLessThan(2 ** 52)
    expect(window.byteOffset).toBeGreaterThanOrEqual(0)
    expect(window.byteOffset).toBeLessThan(4096)
    expect(bytesOf(window, 0, 5)).toEqual(new Uint8Array(5 * 4096))
  })

  it('meets the port of @xmc/core', () => {
    using window = openWindow({ pageCount: 1 })
    const port: TargetWindow = window
    expect(port.pageCount).toBe(1)
  })

  it('takes a size in bytes and rounds it up to pages', () => {
    using window = openWindow({ bytes: 8193 })
    expect(window.pageCount).toBe(3)
  })

  it('may exceed 4 GiB, and is read, written and mapped beyond them', ({ skip }) => {
    const bytes = 2 ** 32 + 2 ** 26
    const missing = reasonAgainstBuffer(bytes)
    if (missing !== undefined) return skip(missing)
    using window = openWindow({ bytes })
    using file = numberedFile(2)
    expect(window.pageCount).toBe(1_064_960)
    const view = new DataView(window.buffer, window.byteOffset)
    view.setUint32(2 ** 32 + 8, 0xabcd1234)
    expect(view.getUint32(2 ** 32 + 8)).toBe(0xabcd1234)
    expect(view.getUint32(8)).toBe(0)
    window.map(windowPage(1_064_959), 1, file.fd, 4096, true)
    expect(view.getUint8(1_064_959 * 4096)).toBe(2)
    view.setUint8(1_064_959 * 4096 + 4095, 77)
    const last = new Uint8Array(1)
    file.read(8191, last)
    expect(last[0]).toBe(77)
  })

  it('in a SharedArrayBuffer is seen and written by a worker', async () => {
    using window = openWindow({ pageCount: 4, shared: true })
    using file = numberedFile(4)
    expect(window.buffer).toBeInstanceOf(SharedArrayBuffer)
    window.map(windowPage(2), 1, file.fd, 3 * 4096, true)
    const worker = new Worker(
      `const { parentPort, workerData: { buffer, byteOffset } } = require('node:worker_threads')
       const bytes = new Uint8Array(buffer, byteOffset)
       bytes[2 * 4096 + 1] = 99
       parentPort.postMessage(bytes[2 * 4096])`,
      { eval: true, workerData: { buffer: window.buffer, byteOffset: window.byteOffset } },
    )
    const [seen] = await once(worker, 'message')
    await worker.terminate()
    expect(seen).toBe(4)
    const bytes = new Uint8Array(2)
    file.read(3 * 4096, bytes)
    expect([...bytes]).toEqual([4, 99])
  })

  it('halves the size until V8 and the kernel accept it, and says so', ({ skip }) => {
    const largest = 2 ** 30 + 8192
    const missing = reasonAgainstBuffer(largest)
    if (missing !== undefined) return skip(missing)
    refuseBuffersAbove(largest)
    using window = openWindow({ bytes: 2 ** 32, minimumPages: 1000 })
    expect(window.requestedPages).toBe(1_048_576)
    expect(window.pageCount).toBe(262_144)
    expect(window.reason).toBe('allocation-refused')
    window.reset(windowPage(262_143), 1)
    expect(() => window.reset(windowPage(262_144), 1)).toThrow('page: expected an integer')
  })

  it('stops at the minimum, which need not be a half', ({ skip }) => {
    const largest = 700_002 * 4096
    const missing = reasonAgainstBuffer(largest)
    if (missing !== undefined) return skip(missing)
    refuseBuffersAbove(largest)
    using window = openWindow({ bytes: 2 ** 32, minimumPages: 700_000 })
    expect(window.pageCount).toBe(700_000)
  })

  it('throws when the minimum is refused, too', () => {
    refuseBuffersAbove(2 ** 30)
    expect(() => openWindow({ bytes: 2 ** 32, minimumPages: 700_000 })).toThrow(
      expect.objectContaining({
        name: 'WindowAllocationError',
        code: 'ERR_XMC_WINDOW_ALLOCATION',
        requestedPages: 1_048_576,
        minimumPages: 700_000,
        reason: 'allocation-refused',
        message:
          'a window of 1048576 pages cannot be had, nor one of 700000, the fewest to be accepted; ' +
          'V8 or the kernel refuses the memory: ask for fewer pages or look at vm.overcommit_memory',
      }),
    )
  })

  it.each([
    [{}, 'pageCount: expected an integer from 1 to 2147483648, or the option bytes instead, got'],
    [{ pageCount: 0 }, 'pageCount: expected an integer from 1 to 2147483648'],
    [{ pageCount: 1.5 }, 'pageCount: expected an integer from 1 to 2147483648'],
    [{ pageCount: 2 ** 31 + 1 }, 'pageCount: expected an integer from 1 to 2147483648'],
    [{ pageCount: '1' }, 'pageCount: expected an integer from 1 to 2147483648'],
    [{ pageCount: 1, bytes: 4096 }, 'bytes: expected nothing beside the option pageCount'],
    [{ bytes: 0 }, 'bytes: expected an integer from 1 to 8796093022208, got 0'],
    [
      { byets: 4096 },
      'byets: expected one of the options of openWindow (pageCount, bytes, shared, minimum',
    ],
    [{ bytes: 4096.5 }, 'bytes: expected an integer from 1 to 8796093022208, got 4096.5'],
    [{ bytes: 2 ** 43 + 1 }, 'bytes: expected an integer from 1 to 8796093022208'],
    [{ pageCount: 4, minimumPages: 5 }, 'minimumPages: expected an integer from 1 to 4'],
    [{ pageCount: 4, minimumPages: 0 }, 'minimumPages: expected an integer from 1 to 4'],
    [{ pageCount: 4, shared: 1 }, 'shared: expected true or false, got 1'],
  ])('refuses %j', (options, message) => {
    // @ts-expect-error not only sound options are given here
    expect(() => openWindow(options)).toThrow(message)
  })

  it('shows a bigint as one where a number is wanted', () => {
    expect(() => Reflect.apply(openWindow, undefined, [{ bytes: 2n ** 32n }])).toThrow(
      'bytes: expected an integer from 1 to 8796093022208, got 4294967296n',
    )
  })

  describe('under RLIMIT_AS', () => {
    const program = new URL('children/small-window.ts', import.meta.url)

    it('takes the largest half that leaves 512 MiB to the process', async () => {
      const { output } = await runChild(program, { arguments: ['850', '4096'] })
      expect(output).toEqual({
        requestedPages: 1_048_576,
        pageCount: 131_072,
        reason: 'address-space-limit',
        heap: 400_000,
      })
    })

    it('throws when not even the minimum leaves them', async () => {
      const { output } = await runChild(program, { arguments: ['850', '262144'] })
      expect(output).toEqual({
        code: 'ERR_XMC_WINDOW_ALLOCATION',
        name: 'WindowAllocationError',
        requestedPages: 1_048_576,
        minimumPages: 262_144,
        reason: 'address-space-limit',
        message:
          'a window of 1048576 pages cannot be had, nor one of 262144, the fewest to be accepted; ' +
          'RLIMIT_AS leaves no room: raise it',
      })
    })
  })
})

describe('map', () => {
  it('shows one page of a file at two places, which alias each other and the file', () => {
    using window = openWindow({ pageCount: 8 })
    using file = numberedFile(4)
    window.map(windowPage(1), 2, file.fd, 4096, true)
    window.map(windowPage(6), 1, file.fd, 8192, true)
    const view = bytesOf(window, 0, 8)
    expect(firstBytes(view)).toEqual([0, 2, 3, 0, 0, 0, 3, 0])
    view[6 * 4096 + 5] = 42
    expect(view[2 * 4096 + 5]).toBe(42)
    const byte = new Uint8Array(1)
    file.read(8192 + 5, byte)
    expect(byte[0]).toBe(42)
    file.write(8192 + 6, Uint8Array.of(43))
    expect(view[2 * 4096 + 6]).toBe(43)
    expect(window.mappedPages).toBe(3)
  })

  it('outlives the descriptor', () => {
    using window = openWindow({ pageCount: 1 })
    const file = numberedFile(1)
    window.map(windowPage(0), 1, file.fd, 0, true)
    file.close()
    expect(bytesOf(window, 0)[0]).toBe(1)
  })

  it('replaces a mapping in place', () => {
    using window = openWindow({ pageCount: 4 })
    using file = numberedFile(8)
    window.map(windowPage(0), 4, file.fd, 0, true)
    window.map(windowPage(1), 2, file.fd, 4 * 4096, false)
    const view = bytesOf(window, 0, 4)
    expect(firstBytes(view)).toEqual([1, 5, 6, 4])
    expect(window.mappedPages).toBe(4)
  })

  it('takes descriptors and buffers of node:fs straight to and from mapped pages', () => {
    using window = openWindow({ pageCount: 2 })
    using file = numberedFile(2)
    using source = numberedFile(1)
    window.map(windowPage(0), 1, file.fd, 0, true)
    window.map(windowPage(1), 1, file.fd, 4096, false)
    expect(readSync(source.fd, bytesOf(window, 0), 0, 4096, 0)).toBe(4096)
    expect(bytesOf(window, 0)[0]).toBe(1)
    expect(writeSync(source.fd, bytesOf(window, 1), 0, 1, 0)).toBe(1)
    const byte = new Uint8Array(1)
    source.read(0, byte)
    expect(byte[0]).toBe(2)
    // The kernel reports a store to a read-only page that it makes itself.
    expect(() => readSync(source.fd, bytesOf(window, 1), 0, 4096, 0)).toThrow('EFAULT')
  })

  it('that fails leaves readable zero pages, whatever was there', () => {
    using window = openWindow({ pageCount: 8 })
    using file = numberedFile(8)
    window.map(windowPage(0), 8, file.fd, 0, true)
    expect(() => window.map(windowPage(2), 3, 1_000_000, 4096, true)).toThrow(
      expect.objectContaining({
        name: 'SystemCallError',
        code: 'ERR_XMC_SYSTEM_CALL',
        call: 'mmap',
        errno: 9,
        errnoName: 'EBADF',
        message: 'mmap failed with EBADF: fd 1000000 at offset 4096 to 3 pages at window page 2',
      }),
    )
    const view = bytesOf(window, 0, 8)
    expect(firstBytes(view)).toEqual([1, 2, 0, 0, 0, 6, 7, 8])
    expect(view.subarray(2 * 4096, 5 * 4096)).toEqual(new Uint8Array(3 * 4096))
    expect(window.mappedPages).toBe(5)
    view[3 * 4096] = 9
    expect(view[3 * 4096]).toBe(9)
  })

  it('says EACCES for a writable mapping of a descriptor open for reading, ENODEV for what cannot be mapped', () => {
    using window = openWindow({ pageCount: 1 })
    const readOnly = openSync('/proc/self/exe', 'r')
    const folder = openSync('/proc/self', 'r')
    try {
      expect(() => window.map(windowPage(0), 1, readOnly, 0, true)).toThrow(
        expect.objectContaining({ errnoName: 'EACCES' }),
      )
      expect(() => window.map(windowPage(0), 1, folder, 0, false)).toThrow(
        expect.objectContaining({ errnoName: 'ENODEV' }),
      )
      expect(bytesOf(window, 0)).toEqual(new Uint8Array(4096))
      window.map(windowPage(0), 1, readOnly, 0, false)
      expect([...bytesOf(window, 0).subarray(0, 4)]).toEqual([0x7f, 0x45, 0x4c, 0x46])
    } finally {
      closeSync(readOnly)
      closeSync(folder)
    }
  })

  it('beyond the end of a file succeeds in the kernel: keeping off the pages is up to the caller', () => {
    using window = openWindow({ pageCount: 4 })
    using file = numberedFile(1)
    window.map(windowPage(1), 2, file.fd, 2 ** 40, true)
    expect(window.mappedPages).toBe(2)
    window.reset(windowPage(1), 2)
    expect(bytesOf(window, 0, 4)).toEqual(new Uint8Array(4 * 4096))
  })

  it('names the limit of memory areas when the kernel has no more, and harms nothing', async ({
    skip,
  }) => {
    const limit = memoryAreaLimit()
    if (limit > 2 ** 18) return skip(`vm.max_map_count is ${limit}, which takes too long to use up`)
    const child = await runChild(new URL('children/memory-area-limit.ts', import.meta.url))
    const outcome = {
      errnoName: 'ENOMEM',
      message: expect.stringMatching(
        /^mmap failed with ENOMEM: fd \d+ at offset 0; likely the process has as many memory areas as vm\.max_map_count allows \(65530 by default\): raise it with sysctl, or keep fewer separate mappings$/,
      ),
      isWholeAgain: true,
      isCounted: true,
      failedPageReads: 0,
      failedPageStores: 5,
      afterReset: [0, 0],
      areasAfterClose: 1,
    }
    expect(child.output).toEqual([outcome, outcome])
  })

  const refusals: [number, number, number, number, unknown, string][] = [
    [-1, 1, 0, 0, true, 'page: expected an integer from 0 to 7, got -1'],
    [8, 1, 0, 0, true, 'page: expected an integer from 0 to 7, got 8'],
    [0.5, 1, 0, 0, true, 'page: expected an integer from 0 to 7, got 0.5'],
    [Number.NaN, 1, 0, 0, true, 'page: expected an integer from 0 to 7, got NaN'],
    [2 ** 32, 1, 0, 0, true, 'page: expected an integer from 0 to 7, got 4294967296'],
    [0, 0, 0, 0, true, 'pageCount: expected an integer from 1 to 8, up to the end of the window'],
    [0, 9, 0, 0, true, 'pageCount: expected an integer from 1 to 8, up to the end of the window'],
    [7, 2, 0, 0, true, 'pageCount: expected an integer from 1 to 1, up to the end of the window'],
    [0, 1.5, 0, 0, true, 'pageCount: expected an integer from 1 to 8, up to the end of the window'],
    [0, 2 ** 53, 0, 0, true, 'pageCount: expected an integer from 1 to 8'],
    [0, 1, -1, 0, true, 'fd: expected an integer from 0 to 2147483647, got -1'],
    [0, 1, 2 ** 31, 0, true, 'fd: expected an integer from 0 to 2147483647, got 2147483648'],
    [0, 1, Number.NaN, 0, true, 'fd: expected an integer from 0 to 2147483647, got NaN'],
    [0, 1, 0, 1, true, 'fileOffset: expected a multiple of 4096 from 0 to 2^53 - 4096, got 1'],
    [0, 1, 0, -4096, true, 'fileOffset: expected a multiple of 4096 from 0 to 2^53 - 4096'],
    [0, 1, 0, 2 ** 53, true, 'fileOffset: expected a multiple of 4096 from 0 to 2^53 - 4096'],
    [0, 1, 0, Number.NaN, true, 'fileOffset: expected a multiple of 4096 from 0 to 2^53 - 4096'],
    [0, 1, 0, 0, 1, 'writable: expected true or false, got 1'],
    [0, 1, 0, 0, undefined, 'writable: expected true or false, got undefined'],
  ]
  it.each(refusals)(
    'refuses map(%d, %d, %d, %d, %s)',
    (page, count, fd, offset, writable, message) => {
      using window = openWindow({ pageCount: 8 })
      using file = numberedFile(8)
      window.map(windowPage(0), 8, file.fd, 0, true)
      expect(() => {
        // @ts-expect-error not only window pages and booleans are given here
        window.map(page, count, fd, offset, writable)
      }).toThrow(message)
      expect(window.mappedPages).toBe(8)
      expect(bytesOf(window, 0)[0]).toBe(1)
    },
  )

  it.each([[null], ['0'], [undefined], [{}], [0n]])('refuses %s as a number', (value) => {
    using window = openWindow({ pageCount: 8 })
    const zero = windowPage(0)
    const refused: unknown = expect.objectContaining({ code: 'ERR_XMC_ARGUMENT' })
    // @ts-expect-error not a number
    expect(() => window.map(value, 1, 0, 0, true)).toThrow(refused)
    // @ts-expect-error not a number
    expect(() => window.map(zero, value, 0, 0, true)).toThrow(refused)
    // @ts-expect-error not a number
    expect(() => window.map(zero, 1, value, 0, true)).toThrow(refused)
    // @ts-expect-error not a number
    expect(() => window.map(zero, 1, 0, value, true)).toThrow(refused)
    // @ts-expect-error not a number
    expect(() => window.reset(value, 1)).toThrow(refused)
    // @ts-expect-error not a number
    expect(() => window.discard(zero, value)).toThrow(refused)
  })
})

describe('reset', () => {
  it('makes a stale view read zeros, and its stores reach nobody', () => {
    using window = openWindow({ pageCount: 2 })
    using file = numberedFile(2)
    window.map(windowPage(0), 2, file.fd, 0, true)
    const stale = bytesOf(window, 0, 2)
    expect(stale[4096]).toBe(2)
    window.reset(windowPage(0), 2)
    expect(stale).toEqual(new Uint8Array(8192))
    stale[4096] = 88
    const byte = new Uint8Array(1)
    file.read(4096, byte)
    expect(byte[0]).toBe(2)
    expect(window.mappedPages).toBe(0)
  })

  it('takes a part of a mapping of a file, and several mappings at once', () => {
    using window = openWindow({ pageCount: 8 })
    using file = numberedFile(8)
    window.map(windowPage(0), 4, file.fd, 0, true)
    window.map(windowPage(5), 2, file.fd, 5 * 4096, true)
    window.reset(windowPage(3), 3)
    const view = bytesOf(window, 0, 8)
    expect(firstBytes(view)).toEqual([1, 2, 3, 0, 0, 0, 7, 0])
    expect(window.mappedPages).toBe(4)
  })

  it('puts unlike areas beside each other, so that the kernel does not merge them', () => {
    using window = openWindow({ pageCount: 4 })
    using file = numberedFile(1)
    const areas = [0, 1, 2].map((page) => {
      window.map(windowPage(page), 1, file.fd, 0, true)
      window.reset(windowPage(page), 1)
      return countAreas(window)
    })
    // Page 0 differs from what is before it and after it; page 1 joins the untouched pages until
    // page 2 parts it from them.
    expect(areas).toEqual([2, 2, 4])
    for (const page of [1, 0, 2, 1]) {
      window.map(windowPage(page), 1, file.fd, 0, true)
      expect(countAreas(window)).toBe(4)
      window.reset(windowPage(page), 1)
      expect(countAreas(window)).toBe(4)
    }
  })

  it('merges areas when there are many, so that a large window of single pages never runs out of them', () => {
    using window = openWindow({ pageCount: 70_000 })
    using file = numberedFile(1)
    for (let page = 0; page < 70_000; page++) {
      window.map(windowPage(page), 1, file.fd, 0, true)
      window.reset(windowPage(page), 1)
    }
    expect(countAreas(window)).toBeLessThanOrEqual(8194)
    expect(countAreas(window)).toBeGreaterThan(8000)
    expect(window.mappedPages).toBe(0)
  })

  it('leaks neither descriptors nor memory areas in 20,000 cycles', () => {
    using window = openWindow({ pageCount: 4096 })
    using file = numberedFile(512)
    const cycle = (slot: number) => {
      window.map(windowPage(slot * 64), 64, file.fd, (slot % 8) * 64 * 4096, slot % 2 === 0)
      window.reset(windowPage(slot * 64), 64)
    }
    // Twice, since only then every slot has had its neighbours on both sides.
    for (let round = 0; round < 2; round++) for (let slot = 0; slot < 64; slot++) cycle(slot)
    const descriptors = countFileDescriptors()
    const areas = countAreas(window)
    for (let round = 0; round < 20_000; round++) cycle((round * 7) % 64)
    expect(countFileDescriptors()).toBe(descriptors)
    expect(countAreas(window)).toBe(areas)
    expect(areas).toBe(64)
    expect(window.mappedPages).toBe(0)
  })
})

describe('discard', () => {
  it('gives the memory of anonymous pages back: they read as zeros', () => {
    using window = openWindow({ pageCount: 4 })
    const view = bytesOf(window, 0, 4).fill(5)
    window.discard(windowPage(1), 2)
    expect(firstBytes(view)).toEqual([5, 0, 0, 5])
    window.reset(windowPage(0), 4)
    view.fill(6)
    window.discard(windowPage(0), 3)
    expect(firstBytes(view)).toEqual([0, 0, 0, 6])
  })

  it('refuses when one of the pages is mapped, and changes nothing', () => {
    using window = openWindow({ pageCount: 4 })
    using file = numberedFile(1)
    const view = bytesOf(window, 0, 4).fill(5)
    window.map(windowPage(2), 1, file.fd, 0, true)
    expect(() => window.discard(windowPage(0), 4)).toThrow(
      expect.objectContaining({
        name: 'RefusedError',
        code: 'ERR_XMC_REFUSED',
        message:
          'discard takes anonymous pages only, and some of the 4 pages from window page 0 are mapped: reset them',
      }),
    )
    expect(firstBytes(view)).toEqual([5, 5, 1, 5])
  })

  it('refuses pages outside the window', () => {
    using window = openWindow({ pageCount: 4 })
    expect(() => window.discard(windowPage(4), 1)).toThrow(
      'page: expected an integer from 0 to 3, got 4',
    )
    expect(() => window.reset(windowPage(1), 4)).toThrow(
      'pageCount: expected an integer from 1 to 3, up to the end of the window, got 4',
    )
  })
})

describe('close', () => {
  it('puts anonymous pages everywhere, once, and refuses later calls', () => {
    const window = openWindow({ pageCount: 4 })
    using file = numberedFile(4)
    const view = bytesOf(window, 0, 4).fill(5)
    window.map(windowPage(0), 1, file.fd, 0, true)
    window.map(windowPage(2), 1, file.fd, 4096, false)
    window.close()
    expect(view).toEqual(new Uint8Array(4 * 4096))
    expect(window.mappedPages).toBe(0)
    view[0] = 9
    window.close()
    window[Symbol.dispose]()
    expect(view[0]).toBe(9)
    const closed: unknown = expect.objectContaining({
      name: 'ClosedError',
      code: 'ERR_XMC_CLOSED',
      message: 'the window of host memory is closed: open a new one',
    })
    expect(() => window.map(windowPage(0), 1, file.fd, 0, true)).toThrow(closed)
    expect(() => window.reset(windowPage(0), 1)).toThrow(closed)
    expect(() => window.discard(windowPage(0), 1)).toThrow(closed)
  })
})

describe('the buffer', () => {
  it('is not collected while a page is mapped, and is once none is', async () => {
    const child = await runChild(new URL('children/collected-windows.ts', import.meta.url), {
      nodeArguments: ['--expose-gc'],
    })
    expect(child.output).toEqual({
      alive: { mapped: true, reset: false, closed: false, partlyMapped: true },
      areas: 2,
    })
  })

  it('of a worker that ends takes its mappings along', async () => {
    const child = await runChild(new URL('children/ended-worker.ts', import.meta.url))
    expect(child.output).toEqual({ during: 1, after: 0 })
  })

  it('cannot be transferred', () => {
    using window = openWindow({ pageCount: 1 })
    const { buffer } = window
    if (!(buffer instanceof ArrayBuffer)) throw new TypeError('a plain window was expected')
    try {
      // Node 20 copies the buffer, later ones throw.
      structuredClone(buffer, { transfer: [buffer] })
    } catch (error) {
      if (!(error instanceof DOMException && error.name === 'DataCloneError')) throw error
    }
    expect(buffer.byteLength).toBeGreaterThan(4096)
    window.reset(windowPage(0), 1)
  })
})
