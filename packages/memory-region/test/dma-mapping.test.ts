import { once } from 'node:events'
import { describe, expect, test } from 'vitest'
import type { AddressSpace, DmaMapping, MappedLength } from '../src/index.ts'
import { caught } from './doubles/caught.ts'
import { grantPage, machine } from './doubles/machine.ts'

/** The port of a virtio device to memory, as the package of such devices declares it. */
interface GuestRange {
  readonly bytes: Uint8Array
  release(accessed: number): void
}
interface GuestMemory {
  map(page: number, offset: number, length: number, write: boolean): GuestRange
  mapAsync(page: number, offset: number, length: number, write: boolean): Promise<GuestRange>
  read?(page: number, offset: number, target: Uint8Array): void
  write?(page: number, offset: number, source: Uint8Array): void
}

/** What a failed or finished transfer leaves behind; all zero if it is well-behaved. */
function left({ space, memory, grants, xen, registers }: ReturnType<typeof machine>) {
  return {
    mappings: space.mappings,
    bounceBytes: space.bounceBytes,
    locks: memory.locks + grants.locks,
    references: xen.memory.references + (xen.grants?.references ?? 0) + registers.references,
  }
}
const NOTHING = { mappings: 0, bounceBytes: 0, locks: 0, references: 0 }

/** Ranges that were reported as written, as address and length. */
function writes(space: AddressSpace): [bigint, number][] {
  const ranges: [bigint, number][] = []
  space.addWriteListener((_region, page, offset, length) => {
    ranges.push([BigInt(page) * 4096n + BigInt(offset), length])
  })
  return ranges
}

describe('map and release', () => {
  test('an address space is guest memory for a device', async () => {
    const { memory, space } = machine()
    const port: GuestMemory = space
    const range = port.map(0x40001, 0x10, 4, true)
    range.bytes.set([1, 2, 3, 4])
    range.release(4)
    expect([...memory.page(0x40001).subarray(0x10, 0x14)]).toEqual([1, 2, 3, 4])
    const again = await port.mapAsync(0x40001, 0x10, 4, false)
    expect([...again.bytes]).toEqual([1, 2, 3, 4])
    again.release(0)
    port.write?.(0x40001, 0x12, Uint8Array.of(9))
    const target = new Uint8Array(3)
    port.read?.(0x40001, 0x10, target)
    expect([...target]).toEqual([1, 2, 9])
  })

  test('a mapping knows what it is', () => {
    const { memory, xen, space } = machine()
    const mapping = space.map(0x40001, 0x10, 0x2000, true)
    expect(mapping.address).toBe(0x40001010n)
    expect(mapping.length).toBe(0x2000)
    expect(mapping.write).toBe(true)
    expect(mapping.bounced).toBe(false)
    expect(mapping.released).toBe(false)
    expect(mapping.region).toBe(xen.memory)
    expect(mapping.view).toBe(memory.view)
    expect(mapping.start).toBe(0x1010)
    expect(mapping.bytes).toBe(mapping.bytes)
    expect(mapping.bytes.byteOffset).toBe(0x1010)
    expect(xen.memory.references).toBe(1)
    expect(space.mappings).toBe(1)
    mapping.release(0)
    expect(mapping.released).toBe(true)
    expect(caught(() => mapping.bytes)).toMatchObject({ code: 'ERR_XMC_RELEASED' })
    expect(xen.memory.references).toBe(0)
    expect(memory.log).toEqual(['lock 0x40001:0x10 8192 write dma', 'unlock 0x40001:0x10'])
  })

  test('by a grant address: the reference travels as the page, without bit 63', () => {
    const all = machine()
    const { grants, xen, space } = all
    const mapping = space.mapAt(0x8000_0000_0000_7123n, 100, false)
    expect(grants.log).toEqual(['lock 0x7:0x123 100 read dma'])
    expect(mapping.address).toBe(0x8000_0000_0000_7123n)
    expect(mapping.region).toBe(xen.grants)
    mapping.release(0)
    const pages = space.map(grantPage(7), 0xff0, 0x2020, true)
    expect(grants.log.at(-1)).toBe('lock 0x7:0xff0 8224 write dma')
    pages.release(0x2020)
    expect(left(all)).toEqual(NOTHING)
  })

  test.each([
    [0x40001, 0, 0],
    [0x40001, 0, -1],
    [0x40001, 0, 1.5],
    [0x40001, 4096, 1],
    [2 ** 52, 0, 1],
    [-1, 0, 1],
  ])('page %d, offset %d, length %d is no request', async (page, offset, length) => {
    const all = machine()
    const expected = { code: 'ERR_XMC_ARGUMENT' }
    all.space.map(0x40001, 0, 1, true).release(0)
    expect(caught(() => all.space.map(page, offset, length, true))).toMatchObject(expected)
    await expect(all.space.mapAsync(page, offset, length, true)).rejects.toMatchObject(expected)
    expect(left(all)).toEqual(NOTHING)
  })

  test('a length over 2^31 − 1 is cut, not refused', () => {
    const { space } = machine()
    expect(space.map(0x40ff0, 0, 0xffff_ffff, false).length).toBe(0x10000)
    expect(space.map(0x40ff0, 0, 2 ** 40, false).length).toBe(0x10000)
  })

  test('S64 a range over the end of the region is mapped up to there', () => {
    const all = machine({ grantFrames: 1024 })
    const { grants, space } = all
    const mapping = space.map(grantPage(524287), 0, 8192, false)
    expect(mapping.length).toBe(4096)
    expect(grants.log).toEqual(['lock 0x7ffff:0x0 4096 read dma'])
    const mapped: MappedLength = { length: 8192 }
    const second = space.tryMap(grantPage(524287), 0, mapped, false)
    expect(mapped).toEqual({ length: 4096, cause: undefined })
    expect(grants.log.at(-1)).toBe('lock 0x7ffff:0x0 4096 read dma')
    mapping.release(0)
    second?.release(0)
    expect(left(all)).toEqual(NOTHING)
  })

  test('S65 behind the grants region nothing is mapped: a bounce buffer of 4096 bytes at most, and why', () => {
    const all = machine({ grantFrames: 1024 })
    const { grants, space } = all
    const mapped: MappedLength = { length: 8192 }
    const mapping = space.tryMap(grantPage(524288), 0, mapped, false)
    expect(mapped.length).toBe(4096)
    expect(mapped.cause).toMatchObject({
      code: 'ERR_XMC_UNASSIGNED',
      address: 0x8000_0000_8000_0000n,
    })
    expect(mapping?.bounced).toBe(true)
    expect(mapping?.region).toBeUndefined()
    expect(mapping?.bytes).toEqual(new Uint8Array(4096))
    expect(grants.log).toEqual([])
    mapping?.release(0)
    expect(left(all)).toEqual(NOTHING)
  })

  test('S65 the form that throws gives no buffer where nothing is', async () => {
    const all = machine({ grantFrames: 1024 })
    const expected = { code: 'ERR_XMC_UNASSIGNED', address: 0x8000_0000_8000_0000n, length: 16 }
    expect(caught(() => all.space.map(grantPage(524288), 0, 16, true))).toMatchObject(expected)
    await expect(all.space.mapAsync(grantPage(524288), 0, 16, true)).rejects.toMatchObject(expected)
    expect(all.grants.log).toEqual([])
    expect(left(all)).toEqual(NOTHING)
  })

  test('S66 five contiguous foreign pages are one lock of the whole length', () => {
    const all = machine()
    const { memory, space } = all
    const mapped: MappedLength = { length: 0x4100 }
    const mapping = space.tryMapAt(0x4003_ff80n, mapped, true)
    expect(mapped.length).toBe(0x4100)
    expect(memory.log).toEqual(['lock 0x4003f:0xf80 16640 write dma'])
    mapping?.release(0x4100)
    expect(left(all)).toEqual(NOTHING)
  })

  test('S68 the bytes really accessed are reported as written, and the mapping is released whole', () => {
    const all = machine()
    const { memory, space } = all
    const written = writes(space)
    const mapping = space.map(0x40010, 0x20, 0x3000, true)
    space.unmap(mapping, 0x1001)
    expect(written).toEqual([[0x4001_0020n, 0x1001]])
    expect(memory.log).toEqual(['lock 0x40010:0x20 12288 write dma', 'unlock 0x40010:0x20'])
    expect(left(all)).toEqual(NOTHING)
  })

  test('S68 nothing accessed is nothing reported, and released nevertheless', () => {
    const all = machine()
    const written = writes(all.space)
    all.space.map(0x40010, 0, 0x3000, true).release(0)
    expect(written).toEqual([])
    expect(left(all)).toEqual(NOTHING)
  })

  test('S69 after a map for reading nothing is reported', () => {
    const all = machine()
    const written = writes(all.space)
    all.space.map(0x40010, 0, 0x3000, false).release(0x3000)
    expect(written).toEqual([])
    expect(left(all)).toEqual(NOTHING)
  })

  test('S70 the second release is an error, and does nothing', () => {
    const all = machine()
    const { memory, space } = all
    const held = space.map(0x40010, 0, 4096, true)
    const mapping = space.map(0x40010, 0, 4096, true)
    mapping.release(4096)
    const log = [...memory.log]
    const expected = {
      code: 'ERR_XMC_RELEASED',
      message: 'memory: the mapping of 0x40010000 was released: map it again',
    }
    expect(caught(() => mapping.release(4096))).toMatchObject(expected)
    expect(caught(() => space.unmap(mapping, 4096))).toMatchObject(expected)
    expect(memory.log).toEqual(log)
    expect(left(all)).toEqual({ ...NOTHING, mappings: 1, locks: 1, references: 1 })
    held.release(0)
  })

  test('S70 the second release of a bounce buffer too', () => {
    const { device, space } = machine()
    const mapping = space.map(0x2000, 0, 8, true)
    mapping.release(8)
    expect(caught(() => mapping.release(8))).toMatchObject({ code: 'ERR_XMC_RELEASED' })
    expect(caught(() => mapping.bytes)).toMatchObject({ code: 'ERR_XMC_RELEASED' })
    expect(device.log).toEqual(['write 0x0 4 0x0', 'write 0x4 4 0x0'])
    expect(space.bounceBytes).toBe(0)
  })

  test('S70 a mapping of another space, or something made up, is refused', () => {
    const one = machine()
    const other = machine()
    const mapping = one.space.map(0x40010, 0, 16, true)
    const forged: DmaMapping = new Proxy(mapping, { getPrototypeOf: () => null })
    for (const wrong of [mapping, forged]) {
      expect(caught(() => other.space.unmap(wrong, 0))).toMatchObject({
        code: 'ERR_XMC_ARGUMENT',
        field: 'mapping',
      })
    }
    one.space.unmap(mapping, 0)
    expect(left(one)).toEqual(NOTHING)
  })

  test.each([-1, 17, 1.5, Number.NaN])(
    'accessed %d of 16 bytes is refused, and nothing done',
    (accessed) => {
      const { space } = machine()
      for (const mapping of [space.map(0x40010, 0, 16, true), space.map(0x2000, 0, 16, true)]) {
        expect(caught(() => mapping.release(accessed))).toMatchObject({ field: 'accessed' })
        expect(mapping.released).toBe(false)
        mapping.release(16)
      }
    },
  )

  test('a mapping outlives the place of its region', () => {
    const all = machine()
    const { memory, root, rom, xen, space } = all
    const mapping = space.map(0x40010, 0, 16, true)
    for (const bank of xen.banks) root.remove(bank)
    expect(caught(() => space.map(0x40010, 0, 16, true))).toMatchObject({
      code: 'ERR_XMC_UNASSIGNED',
    })
    root.remove(rom)
    mapping.bytes[0] = 5
    mapping.release(1)
    expect(memory.page(0x40010)[0]).toBe(5)
    expect(left(all)).toEqual(NOTHING)
  })

  test('what a write listener throws is thrown, with everything released', () => {
    const all = machine()
    all.space.addWriteListener(() => {
      throw new Error('log is full')
    })
    const mapping = all.space.map(0x40010, 0, 16, true)
    expect(() => mapping.release(16)).toThrow('log is full')
    expect(left(all)).toEqual(NOTHING)
  })
})

describe('tryMap', () => {
  test('S63 length 0 is null, and no call', () => {
    const { memory, space } = machine()
    const mapped: MappedLength = { length: 0 }
    expect(space.tryMap(0x40000, 0, mapped, true)).toBeNull()
    expect(mapped).toEqual({ length: 0, cause: undefined })
    expect(memory.log).toEqual([])
  })

  test('S71 a hole is null: length 0, the reason, and every count as before', () => {
    const all = machine()
    const { memory, xen, space } = all
    const held = space.map(0x40000, 0, 16, true)
    memory.missing.add(0x40021)
    const before = left(all)
    const mapped: MappedLength = { length: 0x3000 }
    expect(space.tryMap(0x40020, 0, mapped, true)).toBeNull()
    expect(mapped).toEqual({
      length: 0,
      cause: expect.objectContaining({ code: 'ERR_XMC_PAGES_MISSING', page: 0x40021 }),
    })
    expect(xen.memory.references).toBe(1)
    expect(left(all)).toEqual(before)
    held.release(0)
    expect(left(all)).toEqual(NOTHING)
  })

  test('S71 in the forms that throw the reason is thrown, and every count is as before', async () => {
    const all = machine()
    const { memory, space } = all
    memory.missing.add(0x40021)
    const expected = { code: 'ERR_XMC_PAGES_MISSING', page: 0x40021 }
    expect(caught(() => space.map(0x40021, 0, 16, true))).toMatchObject(expected)
    expect(caught(() => space.map(0x40021, 0, 16, true))).toMatchObject(expected)
    await expect(space.mapAsync(0x40021, 0, 16, true)).rejects.toMatchObject(expected)
    expect(left(all)).toEqual(NOTHING)
  })

  test('a reference that the guest withdrew is null, and the device goes on', () => {
    const all = machine()
    const { grants, space } = all
    grants.missing.add(9)
    const mapped: MappedLength = { length: 100 }
    expect(space.tryMap(grantPage(9), 0, mapped, true)).toBeNull()
    expect(mapped.length).toBe(0)
    mapped.length = 100
    const next = space.tryMap(grantPage(10), 0, mapped, true)
    expect(mapped).toEqual({ length: 100, cause: undefined })
    next?.release(0)
    expect(left(all)).toEqual(NOTHING)
  })

  test('a grant that is read-only is mapped for reading only', () => {
    const { grants, space } = machine()
    grants.readOnly.add(9)
    const mapped: MappedLength = { length: 100 }
    expect(space.tryMap(grantPage(9), 0, mapped, true)).toBeNull()
    expect(mapped.cause?.code).toBe('ERR_XMC_REFUSED')
    mapped.length = 100
    expect(space.tryMap(grantPage(9), 0, mapped, false)?.length).toBe(100)
  })

  test('a bad argument is thrown, not a cause', () => {
    const { space } = machine()
    expect(caught(() => space.tryMap(-1, 0, { length: 1 }, true))).toMatchObject({ field: 'page' })
    expect(caught(() => space.tryMap(0, 0, { length: -1 }, true))).toMatchObject({
      field: 'mapped.length',
    })
    expect(caught(() => space.tryMapAt(-1n, { length: 1 }, true))).toMatchObject({
      field: 'address',
    })
  })

  test('what a device throws is thrown, and the buffer is given back', () => {
    const all = machine()
    all.device.read = () => {
      throw new Error('the device is broken')
    }
    expect(() => all.space.tryMap(0x2000, 0, { length: 4 }, false)).toThrow('broken')
    expect(() => all.space.map(0x2000, 0, 4, false)).toThrow('broken')
    expect(left(all)).toEqual(NOTHING)
  })
})

describe('bounce buffers', () => {
  test('for reading one is filled from the device, and changes nothing there', () => {
    const { device, registers, space } = machine()
    device.bytes.set([1, 2, 3, 4, 5, 6, 7, 8], 0x10)
    const mapping = space.map(0x2000, 0x10, 8, false)
    expect(mapping.bounced).toBe(true)
    expect(mapping.region).toBe(registers)
    expect(mapping.address).toBe(0x2000010n)
    expect([...mapping.bytes]).toEqual([1, 2, 3, 4, 5, 6, 7, 8])
    expect(mapping.view.getUint32(mapping.start, true)).toBe(0x04030201)
    expect(registers.references).toBe(1)
    mapping.bytes[0] = 9
    mapping.release(8)
    expect(device.log).toEqual(['read 0x10 4', 'read 0x14 4'])
    expect(registers.references).toBe(0)
  })

  test('for writing one is empty, and the bytes accessed go to the device at the release', () => {
    const { device, space } = machine()
    const mapping = space.map(0x2000, 0x10, 8, true)
    expect([...mapping.bytes]).toEqual([0, 0, 0, 0, 0, 0, 0, 0])
    mapping.bytes.fill(0xab)
    expect(device.log).toEqual([])
    mapping.release(6)
    expect(device.log).toEqual(['write 0x10 4 0xabababab', 'write 0x14 2 0xabab'])
  })

  test('one ends with its region, and with the budget', () => {
    const { space } = machine({ bounceBudget: 300 })
    const whole = space.map(0x2000, 0x10, 0x1000, true)
    expect(whole.length).toBe(0xf0)
    const rest = space.map(0x2000, 0, 0x100, true)
    expect(rest.length).toBe(60)
    expect(space.bounceBytes).toBe(300)
    whole.release(0)
    rest.release(0)
    expect(space.bounceBytes).toBe(0)
  })

  test('with no bytes left nothing is mapped', async () => {
    const { registers, space } = machine({ bounceBudget: 16 })
    const mapping = space.map(0x2000, 0, 16, true)
    const expected = { code: 'ERR_XMC_BOUNCE_BUDGET', budget: 16, used: 16 }
    expect(caught(() => space.map(0x2000, 0, 1, true))).toMatchObject(expected)
    await expect(space.mapAsync(0x2000, 0, 1, true)).rejects.toMatchObject(expected)
    const mapped: MappedLength = { length: 1 }
    expect(space.tryMap(0x2000, 0, mapped, true)).toBeNull()
    expect(mapped).toMatchObject({ length: 0, cause: expected })
    expect(registers.references).toBe(1)
    mapping.release(0)
  })

  test('4096 bytes by default, and RAM needs none', () => {
    const { space } = machine({})
    const mapped: MappedLength = { length: 10000 }
    const mapping = space.tryMap(0x99999, 0, mapped, true)
    expect(mapped.length).toBe(4096)
    expect(space.map(0x40000, 0, 10000, true).length).toBe(10000)
    mapping?.release(0)
  })

  test('a ROM is mapped itself for reading; for writing `map` refuses', () => {
    const { rom, space } = machine()
    const reading = space.map(0, 0, 16, false)
    expect(reading.bounced).toBe(false)
    expect(reading.bytes[0]).toBe(0xee)
    reading.release(0)
    expect(caught(() => space.map(0, 0, 16, true))).toMatchObject({
      code: 'ERR_XMC_READ_ONLY_REGION',
      region: 'rom',
      address: 0n,
    })
    expect(rom.references).toBe(0)
  })

  test('`tryMap` gives a buffer for writing a ROM; its release discards the bytes and says so', () => {
    const all = machine()
    const { space } = all
    const mapping = space.tryMap(0, 0, { length: 16 }, true)
    expect(mapping?.bounced).toBe(true)
    expect(caught(() => mapping?.release(16))).toMatchObject({ code: 'ERR_XMC_READ_ONLY_REGION' })
    expect(space.loadUint8(0, 0)).toBe(0xee)
    expect(left(all)).toEqual(NOTHING)
    const unused = space.tryMap(0, 0, { length: 16 }, true)
    unused?.release(0)
    expect(left(all)).toEqual(NOTHING)
  })

  test('bytes for nowhere are reported when they are released, and nothing is left', () => {
    const all = machine()
    const mapping = all.space.tryMap(0x99999, 0, { length: 16 }, true)
    expect(caught(() => mapping?.release(3))).toMatchObject({
      code: 'ERR_XMC_UNASSIGNED',
      address: 0x99999000n,
      length: 3,
    })
    expect(left(all)).toEqual(NOTHING)
  })
})

describe('wrote', () => {
  test('reports stores into memory that stays mapped, at once', () => {
    const { space } = machine()
    const mapping = space.map(0x40001, 0xff0, 0x2000, true)
    const ranges = writes(space)
    mapping.wrote(0, 4)
    mapping.wrote(0x20, 2)
    mapping.wrote(0x1fff, 1)
    mapping.wrote(5, 0)
    expect(ranges).toEqual([
      [0x40001ff0n, 4],
      [0x40002010n, 2],
      [0x40003fefn, 1],
    ])
    mapping.release(0)
    expect(ranges).toHaveLength(3)
  })

  test('is not needed of a bounce buffer, whose bytes come with the release', () => {
    const { space, device } = machine()
    const mapping = space.map(0x2000, 0, 4, true)
    const ranges = writes(space)
    mapping.bytes.fill(1)
    mapping.wrote(0, 4)
    expect(ranges).toEqual([])
    mapping.release(4)
    expect(device.log).toEqual(['write 0x0 4 0x1010101'])
  })

  test('is refused where nothing can have been stored', () => {
    const { space } = machine()
    for (const page of [0x40001, 0x2000]) {
      const reading = space.map(page, 0, 16, false)
      expect(caught(() => reading.wrote(0, 1))).toMatchObject({ code: 'ERR_XMC_READ_ONLY' })
      reading.release(0)
      const writing = space.map(page, 0, 16, true)
      for (const [offset, length] of [
        [-1, 1],
        [16, 1],
        [0, 17],
        [15, 2],
      ] as const) {
        expect(caught(() => writing.wrote(offset, length))).toMatchObject({
          code: 'ERR_XMC_ARGUMENT',
        })
      }
      writing.release(0)
      expect(caught(() => writing.wrote(0, 1))).toMatchObject({ code: 'ERR_XMC_RELEASED' })
    }
  })
})

describe('registerMapClient', () => {
  test('calls once when bytes are given back, in the order of registration', () => {
    const { space } = machine({ bounceBudget: 16 })
    const mapping = space.map(0x2000, 0, 16, true)
    const calls: string[] = []
    space.registerMapClient(() => calls.push('first'))
    const cancel = space.registerMapClient(() => calls.push('second'))
    space.registerMapClient(() => calls.push('third'))
    cancel()
    expect(calls).toEqual([])
    mapping.release(0)
    expect(calls).toEqual(['first', 'third'])
    space.map(0x2000, 0, 16, true).release(0)
    expect(calls).toEqual(['first', 'third'])
  })

  test('calls at once when bytes are free', () => {
    const { space } = machine()
    let calls = 0
    space.registerMapClient(() => calls++)
    expect(calls).toBe(1)
  })

  test('one that takes the bytes leaves the others to wait again', () => {
    const { space } = machine({ bounceBudget: 16 })
    const mapping = space.map(0x2000, 0, 16, true)
    const log: string[] = []
    const client = (name: string) => (): void => {
      const mapped: MappedLength = { length: 16 }
      const got = space.tryMap(0x2000, 0, mapped, true)
      log.push(`${name} ${mapped.length}`)
      if (got === null) space.registerMapClient(client(name))
    }
    space.registerMapClient(client('a'))
    space.registerMapClient(client('b'))
    mapping.release(0)
    expect(log).toEqual(['a 16', 'b 0'])
    expect(space.bounceBytes).toBe(16)
  })

  test('what one throws is thrown by the release, after all were called', () => {
    const { space } = machine({ bounceBudget: 16 })
    const mapping = space.map(0x2000, 0, 16, true)
    let called = false
    space.registerMapClient(() => {
      throw new Error('retry failed')
    })
    space.registerMapClient(() => {
      called = true
    })
    expect(() => mapping.release(0)).toThrow('retry failed')
    expect(called).toBe(true)
    expect(space.bounceBytes).toBe(0)
    expect(space.mappings).toBe(0)
  })
})

describe('mapAsync', () => {
  test('counts the mapping while it waits, and no more when it failed', async () => {
    const all = machine()
    const { memory, xen, space } = all
    const gate = new AbortController()
    memory.gate = once(gate.signal, 'abort')
    memory.missing.add(0x40021)
    const good = space.mapAsync(0x40020, 0, 16, true)
    const bad = space.mapAsync(0x40021, 0, 16, true)
    expect(space.mappings).toBe(2)
    expect(xen.memory.references).toBe(2)
    expect(caught(() => space.close())).toMatchObject({ code: 'ERR_XMC_BUSY' })
    gate.abort()
    await expect(bad).rejects.toMatchObject({ code: 'ERR_XMC_PAGES_MISSING' })
    const mapping = await good
    expect(space.mappings).toBe(1)
    mapping.release(0)
    expect(left(all)).toEqual(NOTHING)
  })

  test('ends with the region, is given buffers and takes addresses as `map` does', async () => {
    const all = machine({ grantFrames: 1 })
    const { device, grants, space } = all
    const ram = await space.mapAsyncAt(0x8000_0000_001f_f000n, 8192, false)
    expect(ram.length).toBe(4096)
    expect(grants.log).toEqual(['lock 0x1ff:0x0 4096 read dma'])
    const bounced = await space.mapAsync(0x2000, 0, 4, true)
    bounced.bytes.set([1, 2, 3, 4])
    bounced.release(4)
    expect(device.log).toEqual(['write 0x0 4 0x4030201'])
    ram.release(0)
    expect(left(all)).toEqual(NOTHING)
  })
})
