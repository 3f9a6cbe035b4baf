import { type MapCache, type Mapping, UnmapFailedError } from '@xmc/core'
import { ReadOnlyError, ReleasedError } from '@xmc/interface'
import { describe, expect, it } from 'vitest'
import { type GuestDouble, type TestPage, testPage } from './doubles/guest-double.ts'
import { Gate, settle, setUp } from './doubles/set-up.ts'

const AT_ONCE = { kind: 'at-once' } as const

/** A writable mapping of 64 bytes from offset 16 in page 5, which starts with the given bytes. */
function mapped(...bytes: number[]): {
  mapping: Mapping<TestPage>
  cache: MapCache<TestPage, GuestDouble>
  double: GuestDouble
} {
  const { cache, double } = setUp({ bucketShift: 14, windowPages: 16 }, { retention: AT_ONCE })
  double.guestPage(5).set(bytes, 16)
  return { mapping: cache.map(testPage(5), 16, 64, { write: true }), cache, double }
}

const accessors = [
  {
    name: 'Uint8',
    bytes: 1,
    value: 0xf1n,
    read: (of: Mapping, offset: number) => BigInt(of.readUint8(offset)),
    write: (of: Mapping, offset: number, value: bigint) => {
      of.writeUint8(offset, Number(value))
    },
  },
  {
    name: 'Uint16',
    bytes: 2,
    value: 0xf1e2n,
    read: (of: Mapping, offset: number, little?: boolean) => BigInt(of.readUint16(offset, little)),
    write: (of: Mapping, offset: number, value: bigint, little?: boolean) => {
      of.writeUint16(offset, Number(value), little)
    },
  },
  {
    name: 'Uint32',
    bytes: 4,
    value: 0xf1e2_d3c4n,
    read: (of: Mapping, offset: number, little?: boolean) => BigInt(of.readUint32(offset, little)),
    write: (of: Mapping, offset: number, value: bigint, little?: boolean) => {
      of.writeUint32(offset, Number(value), little)
    },
  },
  {
    name: 'BigUint64',
    bytes: 8,
    value: 0xf1e2_d3c4_b5a6_9788n,
    read: (of: Mapping, offset: number, little?: boolean) => of.readBigUint64(offset, little),
    write: (of: Mapping, offset: number, value: bigint, little?: boolean) => {
      of.writeBigUint64(offset, value, little)
    },
  },
] as const

describe.each(accessors)('Mapping.read$name and write$name', ({ bytes, value, read, write }) => {
  const bigEndian = Array.from({ length: bytes }, (_, nth) =>
    Number((value >> BigInt(8 * (bytes - 1 - nth))) & 0xffn),
  )

  it('read either byte order, little-endian by default', () => {
    const { mapping } = mapped(...bigEndian, ...bigEndian.toReversed())
    expect(read(mapping, 0, false)).toBe(value)
    expect(read(mapping, bytes)).toBe(value)
    expect(read(mapping, bytes, true)).toBe(value)
  })

  it('write either byte order, little-endian by default', () => {
    const { mapping } = mapped()
    write(mapping, 3, value, false)
    expect([...mapping.bytes.subarray(2, 4 + bytes)]).toEqual([0, ...bigEndian, 0])
    write(mapping, 3, value)
    expect([...mapping.bytes.subarray(3, 3 + bytes)]).toEqual(bigEndian.toReversed())
    write(mapping, 3, value, false)
    write(mapping, 3, value, true)
    expect(read(mapping, 3)).toBe(value)
  })

  it('M14 reach exactly to the end', () => {
    const { mapping } = mapped()
    const last = 64 - bytes
    write(mapping, last, value)
    expect(read(mapping, last)).toBe(value)
    const expected = `offset: expected an integer from 0 to ${last}, ${bytes} bytes before the end`
    for (const offset of [last + 1, 64, -1, 0.5, Number.NaN, Number.POSITIVE_INFINITY]) {
      expect(() => read(mapping, offset)).toThrow(`${expected}, got ${offset}`)
      expect(() => {
        write(mapping, offset, value)
      }).toThrow(`${expected}, got ${offset}`)
    }
    expect(read(mapping, last)).toBe(value)
  })

  it('refuse to write through a mapping for reading', () => {
    const { cache } = mapped()
    const mapping = cache.map(testPage(5), 16, 64)
    const before = read(mapping, 0)
    expect(() => {
      write(mapping, 0, value)
    }).toThrow(ReadOnlyError)
    expect(read(mapping, 0)).toBe(before)
  })

  it('refuse after release', () => {
    const { mapping } = mapped()
    mapping.release()
    expect(() => read(mapping, 0)).toThrow(ReleasedError)
    expect(() => {
      write(mapping, 0, value)
    }).toThrow(ReleasedError)
  })

  it('refuse after the cache was closed', () => {
    const { mapping, cache } = mapped()
    cache.close({ force: true })
    expect(() => read(mapping, 0)).toThrow(ReleasedError)
    expect(() => {
      write(mapping, 0, value)
    }).toThrow(ReleasedError)
  })
})

describe('Mapping.read and write', () => {
  it('copy bytes out and in', () => {
    const { mapping } = mapped(1, 2, 3, 4)
    const target = new Uint8Array(3)
    mapping.read(1, target)
    expect([...target]).toEqual([2, 3, 4])
    mapping.write(2, Uint8Array.of(9, 8))
    expect([...mapping.bytes.subarray(0, 5)]).toEqual([1, 2, 9, 8, 0])
    target[0] = 77
    expect(mapping.readUint8(1)).toBe(2)
  })

  it('reach exactly to the end', () => {
    const { mapping } = mapped()
    mapping.write(60, Uint8Array.of(1, 2, 3, 4))
    const all = new Uint8Array(64)
    mapping.read(0, all)
    expect([...all.subarray(59)]).toEqual([0, 1, 2, 3, 4])
    mapping.read(64, new Uint8Array(0))
    mapping.write(64, new Uint8Array(0))
    for (const [offset, length] of [
      [61, 4],
      [64, 1],
      [65, 0],
      [-1, 2],
      [0, 65],
      [Number.NaN, 0],
    ] as const) {
      expect(() => {
        mapping.read(offset, new Uint8Array(length))
      }).toThrow(expect.objectContaining({ code: 'ERR_XMC_ARGUMENT', field: 'offset' }))
      expect(() => {
        mapping.write(offset, new Uint8Array(length))
      }).toThrow(expect.objectContaining({ code: 'ERR_XMC_ARGUMENT', field: 'offset' }))
    }
  })

  it('refuse to write through a mapping for reading, and after release', () => {
    const { mapping, cache } = mapped()
    const reading = cache.map(testPage(5), 16, 64)
    expect(() => {
      reading.write(0, new Uint8Array(1))
    }).toThrow(ReadOnlyError)
    mapping.release()
    expect(() => {
      mapping.read(0, new Uint8Array(1))
    }).toThrow(ReleasedError)
    expect(() => {
      mapping.write(0, new Uint8Array(1))
    }).toThrow(ReleasedError)
  })
})

describe('Mapping.bytes', () => {
  it('is the memory itself', () => {
    const { mapping, cache } = mapped(1, 2, 3)
    expect(mapping.bytes).toHaveLength(64)
    mapping.bytes[1] = 9
    expect([...mapping.copy().subarray(0, 3)]).toEqual([1, 9, 3])
    expect(cache.loadUint8(testPage(5), 17)).toBe(9)
  })

  it('is refused of a mapping for reading, and after release', () => {
    const { mapping, cache } = mapped()
    expect(() => cache.map(testPage(5), 16, 64).bytes).toThrow(
      'double: the mapping is read-only: map it with { write: true }',
    )
    mapping.release()
    expect(() => mapping.bytes).toThrow(ReleasedError)
  })

  it('shows zeros through a view that outlived the release', () => {
    const { mapping } = mapped(1, 2, 3)
    const { bytes } = mapping
    mapping.release()
    expect([...bytes.subarray(0, 3)]).toEqual([0, 0, 0])
  })
})

describe('Mapping.unsafeBytes', () => {
  it('is the memory itself of a mapping for reading, too', () => {
    const { cache } = mapped(1, 2, 3)
    const reading = cache.map(testPage(5), 17, 2)
    expect([...reading.unsafeBytes]).toEqual([2, 3])
    reading.release()
    expect(() => reading.unsafeBytes).toThrow(ReleasedError)
  })
})

describe('Mapping.copy', () => {
  it('outlives the mapping', () => {
    const { mapping, cache } = mapped(1, 2, 3)
    const reading = cache.map(testPage(5), 16, 3)
    const copy = reading.copy()
    mapping.writeUint8(0, 9)
    mapping.release()
    reading.release()
    expect([...copy]).toEqual([1, 2, 3])
    expect(() => reading.copy()).toThrow(ReleasedError)
  })
})

describe('Mapping', () => {
  it('S27 tells page, address, offset and length', () => {
    const { mapping, cache } = mapped()
    expect(mapping).toMatchObject({ page: 5, address: 0x5010n, length: 64, writable: true })
    expect(mapping.pointer()).toEqual({
      windowPage: cache.pointerOf(mapping.bytes).windowPage,
      offset: 16,
    })
  })

  it('S43 follows a replacement', () => {
    const { mapping, cache } = mapped()
    cache.replace(testPage(5), testPage(105), 1)
    expect(mapping).toMatchObject({ page: 105, address: 0x6_9010n })
  })

  it('may have no bytes', () => {
    const { cache } = mapped()
    const mapping = cache.map(testPage(5), 16, 0, { write: true })
    expect(mapping.bytes).toHaveLength(0)
    expect(mapping.address).toBe(0x5010n)
    expect(() => mapping.readUint8(0)).toThrow(
      expect.objectContaining({ code: 'ERR_XMC_ARGUMENT' }),
    )
    mapping.release()
  })

  it('spans pages', () => {
    const { cache } = mapped()
    const mapping = cache.map(testPage(5), 16, 0x2000)
    expect(mapping.readUint32(0x1000 - 16)).toBe(6)
    expect(mapping.readUint32(0x2000 - 16)).toBe(7)
  })

  it('tells nothing after release', () => {
    const { mapping } = mapped()
    mapping.release()
    expect(mapping.released).toBe(true)
    expect(() => mapping.page).toThrow(ReleasedError)
    expect(() => mapping.address).toThrow(ReleasedError)
    expect(() => mapping.pointer()).toThrow(ReleasedError)
    expect(mapping.length).toBe(64)
  })
})

describe('Mapping.release', () => {
  it('M13 takes the lock back once; again is an error', () => {
    const { mapping, cache, double } = mapped()
    const second = cache.map(testPage(5), 16, 64)
    mapping.release()
    expect(() => {
      mapping.release()
    }).toThrow('double: the mapping was released: map it again')
    expect(double.mapped.size).toBe(4)
    expect(second.released).toBe(false)
    second.release()
    expect(double.log).toEqual(['map 4+4 rw', 'unmap 4'])
  })

  it('is refused after the cache was closed', () => {
    const { mapping, cache } = mapped()
    cache.close({ force: true })
    expect(mapping.released).toBe(true)
    expect(() => {
      mapping.release()
    }).toThrow(ReleasedError)
  })

  it('S60 has released when the unmap fails', () => {
    const { mapping, cache, double } = mapped()
    double.failNextUnmap = true
    expect(() => {
      mapping.release()
    }).toThrow(UnmapFailedError)
    expect(mapping.released).toBe(true)
    expect(() => {
      mapping.release()
    }).toThrow(ReleasedError)
    expect(cache.statistics.locks).toBe(0)
  })
})

describe('Mapping.releaseAsync', () => {
  it('S34 resolves when the mapping is gone; the handle is released at once', async () => {
    const { mapping, double } = mapped()
    const gate = new Gate()
    double.beforeUnmap = gate.pass
    const done = mapping.releaseAsync()
    expect(mapping.released).toBe(true)
    expect(() => mapping.readUint8(0)).toThrow(ReleasedError)
    await settle()
    expect(double.mapped.size).toBe(4)
    gate.open()
    await done
    expect(double.mapped.size).toBe(0)
  })

  it('M13 rejects when it was released before', async () => {
    const { mapping } = mapped()
    const done = mapping.releaseAsync()
    await expect(mapping.releaseAsync()).rejects.toThrow(ReleasedError)
    await done
    await expect(mapping.releaseAsync()).rejects.toThrow(ReleasedError)
  })

  it('rejects when the unmap fails', async () => {
    const { mapping, double } = mapped()
    double.failNextUnmap = true
    await expect(mapping.releaseAsync()).rejects.toThrow(UnmapFailedError)
    expect(mapping.released).toBe(true)
  })
})

describe('Mapping[Symbol.dispose]', () => {
  it('releases at the end of a block', () => {
    const { mapping, double } = mapped()
    {
      using disposed = mapping
      expect(disposed.released).toBe(false)
    }
    expect(mapping.released).toBe(true)
    expect(double.mapped.size).toBe(0)
  })

  it('does nothing after a release, or after the cache was closed', () => {
    const first = mapped()
    first.mapping.release()
    first.mapping[Symbol.dispose]()
    const second = mapped()
    second.cache.close({ force: true })
    second.mapping[Symbol.dispose]()
    expect([first, second].map(({ double }) => double.log.length)).toEqual([2, 2])
  })
})
