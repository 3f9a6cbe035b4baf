import { LOCK_WRITE } from '@xmc/core'
import { ClosedError, InvalidArgumentError, ReadOnlyError, SystemCallError } from '@xmc/interface'
import { describe, expect, it } from 'vitest'
import { type TestPage, testPage } from './doubles/guest-double.ts'
import { AT_ONCE, contentAt, setUp, setUpGrants, small, unchecked } from './doubles/set-up.ts'

/** The widths of unlocked access: how a cache loads and stores, and a value with unequal bytes. */
const widths = [
  {
    bytes: 1,
    value: 0xa1n,
    load: (cache: Cache, page: TestPage, offset: number) => BigInt(cache.loadUint8(page, offset)),
    store: (cache: Cache, page: TestPage, offset: number, value: bigint) => {
      cache.storeUint8(page, offset, Number(value))
    },
  },
  {
    bytes: 2,
    value: 0xa1b2n,
    load: (cache: Cache, page: TestPage, offset: number, little?: boolean) =>
      BigInt(cache.loadUint16(page, offset, little)),
    store: (cache: Cache, page: TestPage, offset: number, value: bigint, little?: boolean) => {
      cache.storeUint16(page, offset, Number(value), little)
    },
  },
  {
    bytes: 4,
    value: 0xa1b2_c3d4n,
    load: (cache: Cache, page: TestPage, offset: number, little?: boolean) =>
      BigInt(cache.loadUint32(page, offset, little)),
    store: (cache: Cache, page: TestPage, offset: number, value: bigint, little?: boolean) => {
      cache.storeUint32(page, offset, Number(value), little)
    },
  },
  {
    bytes: 8,
    value: 0xa1b2_c3d4_e5f6_0718n,
    load: (cache: Cache, page: TestPage, offset: number, little?: boolean) =>
      cache.loadBigUint64(page, offset, little),
    store: (cache: Cache, page: TestPage, offset: number, value: bigint, little?: boolean) => {
      cache.storeBigUint64(page, offset, value, little)
    },
  },
] as const
type Cache = ReturnType<typeof setUp>['cache']

/** `value` as `bytes` bytes, the most significant first. */
function bigEndian(value: bigint, bytes: number): number[] {
  return Array.from({ length: bytes }, (_, nth) =>
    Number((value >> BigInt(8 * nth)) & 0xffn),
  ).toReversed()
}

describe.each(widths)('PageSurface.load… and store… of $bytes bytes', (width) => {
  const { bytes, value, load, store } = width
  const expected = bigEndian(value, bytes)

  it('loads either byte order, little-endian by default', () => {
    const { cache, double } = setUp(small(4))
    double.guestPage(1).set(expected, 16)
    double.guestPage(1).set(expected.toReversed(), 32)
    for (const round of ['miss', 'hit']) {
      expect([round, load(cache, testPage(1), 16, false)]).toEqual([round, value])
      expect(load(cache, testPage(1), 32)).toBe(value)
      expect(load(cache, testPage(1), 32, true)).toBe(value)
    }
    expect(double.log).toEqual(['map 0+4 rw'])
  })

  it('stores either byte order, little-endian by default', () => {
    const { cache, double } = setUp(small(4))
    const read = (offset: number): number[] => {
      const target = new Uint8Array(bytes)
      cache.read(testPage(1), offset, target)
      return [...target]
    }
    store(cache, testPage(1), 16, value, false)
    store(cache, testPage(1), 32, value)
    store(cache, testPage(1), 48, value, true)
    store(cache, testPage(1), 64, value, false)
    expect(read(16)).toEqual(expected)
    expect(read(32)).toEqual(expected.toReversed())
    expect(read(48)).toEqual(expected.toReversed())
    expect(read(64)).toEqual(expected)
    expect(read(16 + bytes)[0]).toBe(0)
    expect(double.log).toEqual(['map 0+4 rw'])
  })

  it('reaches the last bytes of a page, and over its end', () => {
    const { cache } = setUp(small(4))
    for (const offset of [4096 - bytes, 4095]) {
      for (const little of [true, false]) {
        store(cache, testPage(1), offset, value, little)
        expect(load(cache, testPage(1), offset, little)).toBe(value)
      }
    }
    const rest = new Uint8Array(bytes - 1)
    store(cache, testPage(1), 4095, value, false)
    cache.read(testPage(2), 0, rest)
    expect([...rest]).toEqual(expected.slice(1))
  })

  it('reaches over the end of a bucket', () => {
    const { cache, double } = setUp(small(4))
    // The next bucket of the guest is not the next one in the window.
    for (const page of [0, 100]) cache.loadUint8(testPage(page), 0)
    store(cache, testPage(3), 4095, value, false)
    expect(load(cache, testPage(3), 4095, false)).toBe(value)
    expect(double.log.slice(2)).toEqual(bytes === 1 ? [] : ['map 4+4 rw'])
    expect(cache.loadUint32(testPage(100), 0)).toBe(100)
  })

  it.each([2 ** 31, 2 ** 40 + 1, 2 ** 52 - 2])('reaches page %d', (page) => {
    const { cache } = setUp({ bucketShift: 12, windowPages: 4 })
    store(cache, testPage(page), 4095, value)
    expect(load(cache, testPage(page), 4095)).toBe(value)
    store(cache, testPage(page), 8, value, false)
    expect(load(cache, testPage(page), 8, false)).toBe(value)
  })

  it('refuses bad arguments', () => {
    const { cache } = setUp(small(4))
    cache.loadUint8(testPage(0), 0)
    for (const offset of [-1, 4096, 0.5, Number.NaN]) {
      const refusal = expect.objectContaining({ code: 'ERR_XMC_ARGUMENT', field: 'offset' })
      expect(() => load(cache, testPage(0), offset)).toThrow(refusal)
      expect(() => {
        store(cache, testPage(0), offset, value)
      }).toThrow(refusal)
    }
    for (const page of [-1, 0.5, Number.NaN, 2 ** 52]) {
      expect(() => load(cache, unchecked(page), 0)).toThrow(InvalidArgumentError)
      expect(() => {
        store(cache, unchecked(page), 0, value)
      }).toThrow(InvalidArgumentError)
    }
  })

  it('refuses after close', () => {
    const { cache } = setUp(small(4))
    store(cache, testPage(0), 0, value)
    cache.close()
    expect(() => load(cache, testPage(0), 0)).toThrow(ClosedError)
    expect(() => {
      store(cache, testPage(0), 0, value)
    }).toThrow(ClosedError)
  })

  it('S53 copies pinned pages instead of mapping them', () => {
    const { cache, double } = setUpGrants()
    double.guestPage(7).set(expected, 0x10)
    expect(load(cache, testPage(7), 0x10, false)).toBe(value)
    store(cache, testPage(7), 0x20, value, false)
    expect([...double.guestPage(7).subarray(0x20, 0x20 + bytes)]).toEqual(expected)
    expect(double.log).toEqual([`copy from 7+16 ${bytes}`, `copy to 7+32 ${bytes}`])
    expect(double.mapped.size).toBe(0)
    expect(cache.statistics).toMatchObject({ hits: 0, misses: 0, copyCalls: 2 })
  })

  it('copies each page of pinned pages by itself', () => {
    const { cache, double } = setUpGrants()
    store(cache, testPage(7), 4095, value, false)
    expect(double.guestPage(7)[4095]).toBe(expected[0])
    expect([...double.guestPage(8).subarray(0, bytes - 1)]).toEqual(
      bytes === 1 ? [] : expected.slice(1),
    )
    expect(load(cache, testPage(7), 4095, false)).toBe(value)
  })

  it('S51 uses a pinned page that is locked already, for a write only if it may be written', () => {
    const { cache, double } = setUpGrants()
    const reading = cache.lock(testPage(7), 0, 1, 0)
    load(cache, testPage(7), 0x10)
    store(cache, testPage(7), 0x10, value)
    const writing = cache.lock(testPage(7), 0, 1, LOCK_WRITE)
    store(cache, testPage(7), 0x10, value)
    expect(double.log).toEqual(['map 7+1 ro', `copy to 7+16 ${bytes}`, 'map 7+1 rw'])
    cache.unlock(reading, 0)
    expect(load(cache, testPage(7), 0x10)).toBe(value)
    cache.unlock(writing, 0)
    expect(double.mapped.size).toBe(0)
  })

  it('refuses to store through a read-only backend, mapped or not', () => {
    const { cache, double } = setUp({ ...small(4), access: 'read-only' })
    const attempt = (): void => {
      store(cache, testPage(0), 0, value)
    }
    expect(attempt).toThrow(ReadOnlyError)
    load(cache, testPage(0), 0)
    expect(attempt).toThrow(ReadOnlyError)
    expect(double.log).toEqual(['map 0+4 ro'])
  })
})

describe('PageSurface.storeUint32', () => {
  it('stores the low bytes of any number', () => {
    const { cache } = setUp(small(4))
    for (const page of [0, 1]) {
      // The second page goes over the end of the first.
      const offset = page === 0 ? 16 : 4094
      cache.storeUint8(testPage(page), 16, 0x1ff)
      expect(cache.loadUint8(testPage(page), 16)).toBe(0xff)
      cache.storeUint16(testPage(page), offset, -1)
      expect(cache.loadUint16(testPage(page), offset)).toBe(0xffff)
      cache.storeUint32(testPage(page), offset, -2)
      expect(cache.loadUint32(testPage(page), offset)).toBe(0xffff_fffe)
      cache.storeBigUint64(testPage(page), offset, -1n)
      expect(cache.loadBigUint64(testPage(page), offset)).toBe(2n ** 64n - 1n)
    }
  })
})

/** `length` bytes, none equal to its neighbours. */
function pattern(length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, nth) => (nth * 7 + 1) & 0xff)
}

describe('PageSurface.read and write', () => {
  it('copies over pages and buckets', () => {
    const { cache, double } = setUp(small(8))
    const bytes = pattern(20_000)
    cache.write(testPage(2), 0x123, bytes)
    const read = new Uint8Array(20_000)
    cache.read(testPage(2), 0x123, read)
    expect(read).toEqual(bytes)
    expect(double.log).toEqual(['map 0+4 rw', 'map 4+4 rw'])
    expect(cache.statistics).toMatchObject({ locks: 0, misses: 2, hits: 2 })
  })

  it('reads what the guest has', () => {
    const { cache, double } = setUp(small(8))
    double.guestPage(3).set([1, 2], 4094)
    double.guestPage(4).set([3, 4])
    const read = new Uint8Array(4)
    cache.read(testPage(3), 4094, read)
    expect([...read]).toEqual([1, 2, 3, 4])
  })

  it('does nothing for no bytes', () => {
    const { cache, double } = setUp()
    cache.read(testPage(0), 0, new Uint8Array(0))
    cache.write(testPage(0), 0, new Uint8Array(0))
    expect(double.log).toEqual([])
  })

  it('stays within a window smaller than the range', () => {
    const { cache, double } = setUp(small(2))
    const read = new Uint8Array(64 * 4096)
    cache.read(testPage(100), 0, read)
    const words = new DataView(read.buffer)
    expect([0, 1, 63].map((nth) => words.getUint32(nth * 4096, true))).toEqual([100, 101, 163])
    expect(cache.statistics.mappedPages).toBe(8)
    expect(double.misuse).toEqual([])
  })

  it('S12 maps the whole range in one piece in a cache that unmaps at once', () => {
    const { cache, double } = setUp({}, { retention: AT_ONCE })
    const events: string[] = []
    cache.addRamListener({
      added: (_, pageCount) => events.push(`added ${pageCount}`),
      removed: (_, pageCount) => events.push(`removed ${pageCount}`),
    })
    const read = new Uint8Array(0x20)
    cache.read(testPage(0x12), 0x345, read.subarray(4))
    cache.read(testPage(0xff), 0xff0, read)
    expect(double.log).toEqual(['map 0+256 rw', 'unmap 256', 'map 0+512 rw'])
    expect(events).toEqual(['added 256', 'removed 256', 'added 512'])
  })

  it('S21 says which page is missing', () => {
    const { cache, double } = setUp()
    double.punch(16, 16)
    cache.loadUint8(testPage(0), 0)
    const attempt = (): void => {
      cache.read(testPage(15), 0, new Uint8Array(2 * 4096))
    }
    expect(attempt).toThrow(expect.objectContaining({ code: 'ERR_XMC_PAGES_MISSING', page: 16 }))
    expect(cache.loadUint32(testPage(32), 0)).toBe(32)
  })

  it('refuses to go beyond the last page', () => {
    const { cache } = setUp({ bucketShift: 12, windowPages: 4 })
    const attempt = (): void => {
      cache.read(testPage(2 ** 52 - 1), 4092, new Uint8Array(8))
    }
    expect(attempt).toThrow(InvalidArgumentError)
  })

  it('S54 passes on the error of a copy, and maps nothing', () => {
    const { cache, double } = setUpGrants()
    double.failNextCopy = true
    expect(() => cache.loadUint32(testPage(64), 0)).toThrow(SystemCallError)
    expect(double.mapped.size).toBe(0)
    expect(cache.statistics).toMatchObject({ hits: 0, entries: 0 })
  })

  it.each([25, 38, 95])(
    'maps for the time of an access where the kernel has no copy (errno %d), and asks once',
    (errno) => {
      const { cache, double } = setUpGrants()
      double.copyErrno = errno
      cache.storeUint8(testPage(7), 16, 0x5a)
      expect(cache.loadUint8(testPage(7), 0)).toBe(7)
      expect(double.log).toEqual([
        'copy to 7+16 1',
        'map 7+1 rw',
        'unmap 1',
        expect.stringMatching(/^map 7\+1 r/),
        'unmap 1',
      ])
      expect(double.mapped.size).toBe(0)
    },
  )

  it('maps pinned pages for the time of an access when they cannot be copied', () => {
    const { cache, double } = setUp({ bucketShift: 12, windowPages: 8, pinned: true })
    cache.storeUint32(testPage(7), 4094, 0x1122_3344)
    expect(cache.loadUint8(testPage(7), 0)).toBe(7)
    expect(double.log).toEqual([
      'map 7+1 rw',
      'unmap 1',
      'map 8+1 rw',
      'unmap 1',
      'map 7+1 rw',
      'unmap 1',
    ])
    expect(double.mapped.size).toBe(0)
  })

  it('does not unmap a pinned page that somebody else has locked', () => {
    const { cache, double } = setUp(
      { bucketShift: 12, windowPages: 8, pinned: true },
      { translate: (page) => (page === 7 ? 8 : undefined) },
    )
    double.punch(7, 1)
    const place = cache.lock(testPage(8), 0, 1, 0)
    expect(cache.loadUint32(testPage(7), 0)).toBe(8)
    expect(contentAt(cache, place)).toBe(8)
    cache.unlock(place, 0)
    expect(double.mapped.size).toBe(0)
    expect(double.misuse).toEqual([])
  })

  it('works on a window that is shared between threads', () => {
    const { cache, double } = setUp({ ...small(4), shared: true })
    expect(double.window.buffer).toBeInstanceOf(SharedArrayBuffer)
    cache.write(testPage(3), 4090, pattern(100))
    const read = new Uint8Array(100)
    cache.read(testPage(3), 4090, read)
    expect(read).toEqual(pattern(100))
    cache.storeUint32(testPage(0), 0, 5)
    expect(cache.loadUint32(testPage(0), 0)).toBe(5)
  })
})
