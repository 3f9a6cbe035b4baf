import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { propertyRuns } from '../../../vitest.properties.ts'
import {
  FrameAllocator,
  GuestBuffer,
  guestFrame,
  PlainDmaMapper,
  RingWriter,
  ringLayout,
} from '../src/driver.ts'
import { GuestDouble } from './doubles/driver-guest.ts'

function allocator(first: number, count: number): FrameAllocator {
  return new FrameAllocator({ first, count, view: (_, pages) => new Uint8Array(pages * 4096) })
}

describe('FrameAllocator', () => {
  test('takes the lowest run that is large enough', () => {
    const frames = allocator(100, 10)
    expect([2, 3, 4].map((count) => frames.allocate(count))).toEqual([100, 102, 105])
    expect(frames.allocate(2)).toBeUndefined()
    frames.free(guestFrame(102), 3)
    expect(frames.allocate(2)).toBe(102)
    expect([frames.freeCount, frames.takenCount]).toEqual([2, 8])
  })

  test('what was not taken, or not so, cannot be freed', () => {
    const frames = allocator(0, 4)
    frames.allocate(2)
    for (const [frame, count] of [
      [1, 1],
      [0, 1],
      [2, 2],
    ] as const) {
      expect(() => frames.free(guestFrame(frame), count)).toThrow('that were taken')
    }
    frames.free(guestFrame(0), 2)
    expect(() => frames.free(guestFrame(0), 2)).toThrow('that were taken')
  })

  test('counts and frames that cannot be are refused', () => {
    expect(() => allocator(0, 0)).toThrow('count')
    expect(() => allocator(2 ** 52 - 1, 2)).toThrow('guest frame')
    expect(() => allocator(0, 1).allocate(0)).toThrow('count')
  })

  test('never gives a frame twice, and has one run again when all is freed', () => {
    const operation = fc.oneof(
      fc.record({ allocate: fc.integer({ min: 1, max: 9 }) }),
      fc.record({ free: fc.nat() }),
    )
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 100 }), (operations) => {
        const frames = allocator(1000, 40)
        const taken: { frame: ReturnType<typeof guestFrame>; count: number }[] = []
        for (const step of operations) {
          if ('allocate' in step) {
            const frame = frames.allocate(step.allocate)
            if (frame !== undefined) taken.push({ frame, count: step.allocate })
          } else if (taken.length > 0) {
            const [run] = taken.splice(step.free % taken.length, 1)
            if (run !== undefined) frames.free(run.frame, run.count)
          }
          const all = taken.flatMap(({ frame, count }) =>
            Array.from({ length: count }, (_, i) => frame + i),
          )
          expect(new Set(all).size).toBe(all.length)
          expect(all.every((frame) => frame >= 1000 && frame < 1040)).toBe(true)
          expect(frames.freeCount).toBe(40 - all.length)
        }
        for (const { frame, count } of taken) frames.free(frame, count)
        expect(frames.allocate(40)).toBe(1000)
      }),
      propertyRuns(100),
    )
  })
})

describe('GuestBuffer', () => {
  test('its pages are freed when it was released and no request uses it', () => {
    const { frames } = new GuestDouble({ frames: 4 })
    const buffer = new GuestBuffer(frames, 5000)
    expect([buffer.pageCount, buffer.bytes.length, frames.freeCount]).toEqual([2, 5000, 2])
    buffer.retain()
    buffer.release()
    expect(frames.freeCount).toBe(2)
    buffer.relinquish()
    expect(frames.freeCount).toBe(4)
    expect(() => buffer.release()).toThrow('guest buffer was released')
    expect(() => buffer.retain()).toThrow('guest buffer was released')
  })

  test('parts lie inside it', () => {
    const buffer = new GuestBuffer(new GuestDouble({ frames: 4 }).frames, 4096)
    expect(buffer.slice(4095, 1)).toMatchObject({ offset: 4095, length: 1 })
    for (const [offset, length] of [
      [-1, 1],
      [0, 0],
      [0, 4097],
      [4096, 1],
      [0.5, 1],
    ] as const) {
      expect(() => buffer.slice(offset, length)).toThrow('expected')
    }
  })

  test('no memory, or no length, is an error', () => {
    const { frames } = new GuestDouble({ frames: 4 })
    expect(() => new GuestBuffer(frames, 0)).toThrow('length')
    expect(() => new GuestBuffer(frames, 5 * 4096)).toThrow('no 5 contiguous guest frames are free')
  })
})

describe('DMA addresses', () => {
  test('6.1 grants: bit 63, reference and offset; page i of a buffer has reference + i', () => {
    const guest = new GuestDouble()
    const page = guest.granted.map(guestFrame(0x40000), 0x1f80, 0x200, 'to-device')
    expect(page).toBe(2 ** 51 + 8)
    expect(guest.grants.log).toEqual([
      { reference: 8, frame: 0x40001, readOnly: true },
      { reference: 9, frame: 0x40002, readOnly: true },
    ])
    expect(guest.granted.unmap(page, 0x1f80)).toBe(true)
    expect(guest.grants.entries.size).toBe(0)
  })

  test('a full grant table is −1, any other error goes through, and a broken mapper refuses', () => {
    const guest = new GuestDouble({ references: 10 })
    const frame = guestFrame(0x40000)
    expect(guest.granted.map(frame, 0, 8193, 'to-device')).toBe(-1)
    expect(guest.granted.allocateCoherent(frame, 3)).toBe(-1)
    expect(() => guest.granted.unmap(5, 0)).toThrow('nothing is granted')
    guest.grants.broken = true
    expect(guest.granted.unmap(5, 0)).toBe(false)
    expect(() => guest.granted.map(frame, 0, 1, 'to-device')).toThrow('still had a buffer mapped')
    expect(() => guest.granted.allocateCoherent(frame, 1)).toThrow('still had a buffer mapped')
  })

  test('plain: the page of the buffer itself', () => {
    const plain = new PlainDmaMapper()
    expect(plain.map(guestFrame(0x40000), 0x1f80)).toBe(0x40001)
    expect(plain.allocateCoherent(guestFrame(7))).toBe(7)
    expect(plain.unmap() && plain.freeCoherent()).toBe(true)
  })
})

describe('RingWriter', () => {
  test('2.7 the parts follow the layout, the used ring in a page of its own', () => {
    expect(ringLayout(256)).toEqual({ available: 4096, used: 8192, pageCount: 3 })
    expect(ringLayout(8)).toEqual({ available: 128, used: 4096, pageCount: 2 })
    expect(ringLayout(32_768)).toEqual({ available: 524_288, used: 593_920, pageCount: 210 })
  })

  test('2.7.5 descriptors are little-endian, addresses of all 64 bits exact', () => {
    const memory = new Uint8Array(ringLayout(4).pageCount * 4096)
    const ring = new RingWriter(memory, 4)
    ring.writeDescriptor(1, 2 ** 51 + 0x1_2345_6789, 0xabc, 0x1122_3344, 0x5566, 0x7788)
    expect(Buffer.from(memory.subarray(16, 32)).toString('hex')).toBe(
      'bc9a7856341200804433221166558877',
    )
    fc.assert(
      fc.property(fc.bigInt(0n, 2n ** 52n - 1n), fc.nat(4095), (page, offset) => {
        ring.writeDescriptor(0, Number(page), offset, 1, 0, 0)
        const address = new DataView(memory.buffer).getBigUint64(0, true)
        expect(address).toBe((page << 12n) | BigInt(offset))
        expect(ring.readDescriptor(0)).toMatchObject({ page: Number(page), offset })
      }),
      propertyRuns(100),
    )
  })

  test('2.7.6 and 2.7.8 ring positions wrap at the queue size, indexes at 2^16', () => {
    const memory = new Uint8Array(ringLayout(4).pageCount * 4096)
    const ring = new RingWriter(memory, 4)
    ring.setAvailableHead(6, 3)
    ring.availableIndex = 0x1_0007
    ring.availableFlags = 1
    ring.usedEvent = 0x0102
    expect(Buffer.from(ring.available).toString('hex')).toBe('0100070000000000030000000201')
    expect([ring.availableHead(2), ring.availableIndex, ring.availableFlags]).toEqual([3, 7, 1])
    ring.setUsedElement(5, 2, 9)
    ring.usedIndex = 0x1_0006
    ring.usedFlags = 1
    ring.availableEvent = 0x0304
    expect(Buffer.from(ring.used).toString('hex')).toBe(
      `010006000000000000000000020000000900000${'0'.repeat(33)}0403`,
    )
    expect([ring.usedId(1), ring.usedLength(1), ring.usedIndex]).toEqual([2, 9, 6])
    expect([ring.usedEvent, ring.availableEvent, ring.usedFlags]).toEqual([0x0102, 0x0304, 1])
  })

  test('memory that is too short, and sizes that are none, are refused', () => {
    expect(() => new RingWriter(new Uint8Array(4096), 4)).toThrow('memory: expected 4134 bytes')
    expect(() => new RingWriter(new Uint8Array(8192), 6)).toThrow('a power of 2 up to 32768')
  })
})
