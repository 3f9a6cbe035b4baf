import { openWindow } from '@xmc/hostmem'
import { domainId, grantReference, guestFrame, windowPage } from '@xmc/interface'
import { describe, expect, it } from 'vitest'
import {
  BIND_INTERDOMAIN,
  BIND_UNBOUND_PORT,
  NOTIFY,
  UNBIND,
  words,
} from '../src/internal/evtchn.ts'
import {
  ALLOCATE_GRANTS,
  allocateGrants,
  FREE_GRANTS,
  freeGrants,
  indexOfGrants,
  referencesOfGrants,
} from '../src/internal/gntalloc.ts'
import {
  GRANT_COPY,
  GRANT_COPY_BYTES,
  indexOf,
  MAP_GRANT_REFERENCES,
  mapGrantReferences,
  SET_UNMAP_NOTIFY,
  setUnmapNotify,
  statusOfSegment,
  UNMAP_GRANT_REFERENCES,
  unmapGrantReferences,
  writeGrantCopy,
} from '../src/internal/gntdev.ts'
import { MAP_BATCH, mapBatchBytes, readErrors, writeMapBatch } from '../src/internal/privcmd.ts'

/** Bytes as hexadecimal digits, eight bytes apart. */
function hex(bytes: Uint8Array): string {
  return (
    Buffer.from(bytes)
      .toString('hex')
      .match(/.{1,16}/g) ?? []
  ).join(' ')
}

describe('request numbers', () => {
  it('are those of the kernel headers', () => {
    expect(MAP_BATCH).toBe(0x0020_5004)
    expect(MAP_GRANT_REFERENCES).toBe(0x0018_4700)
    expect(UNMAP_GRANT_REFERENCES).toBe(0x0010_4701)
    expect(SET_UNMAP_NOTIFY).toBe(0x0010_4707)
    expect(GRANT_COPY).toBe(0x0010_4708)
    expect(ALLOCATE_GRANTS).toBe(0x0018_4705)
    expect(FREE_GRANTS).toBe(0x0010_4706)
    expect(BIND_INTERDOMAIN).toBe(0x0008_4501)
    expect(BIND_UNBOUND_PORT).toBe(0x0004_4502)
    expect(UNBIND).toBe(0x0004_4503)
    expect(NOTIFY).toBe(0x0004_4504)
  })
})

describe('struct privcmd_mmapbatch_v2', () => {
  it('holds num, dom, addr, arr and err, and 64-bit frames behind it', () => {
    const view = new DataView(new ArrayBuffer(mapBatchBytes(2)))
    writeMapBatch(view, 0x7f12_3456_7000, {
      domain: 0x1234,
      hostAddress: 0xffff_8765_4000,
      frames: [guestFrame(1), guestFrame(2 ** 51 + 5), guestFrame(0x40000)],
      start: 1,
      count: 2,
    })
    expect(hex(new Uint8Array(view.buffer))).toBe(
      [
        '0200000034120000', // num, dom
        '00406587ffff0000', // addr
        '20705634127f0000', // arr: 32 bytes on
        '30705634127f0000', // err: 16 bytes further
        '0500000000000800', // 2^51 + 5
        '0000040000000000', // 0x40000
        '0000000000000000', // two errors
      ].join(' '),
    )
  })

  it('takes a run of frames from any place on', () => {
    const view = new DataView(new ArrayBuffer(mapBatchBytes(2)))
    writeMapBatch(view, 0, {
      domain: 1,
      hostAddress: 4096,
      frames: { first: guestFrame(0xffff_fffe), count: 9 },
      start: 1,
      count: 2,
    })
    expect(hex(new Uint8Array(view.buffer, 32, 16))).toBe('ffffffff00000000 0000000001000000')
  })

  it('gives back the errors, with their sign, at the place of their frames', () => {
    const view = new DataView(new ArrayBuffer(mapBatchBytes(3)))
    for (const [index, errno] of [0, -22, -2].entries()) view.setInt32(56 + 4 * index, errno, true)
    const statuses = new Int32Array(5).fill(9)
    const frames = { first: guestFrame(0), count: 5 }
    const batch = { domain: 1, hostAddress: 0, frames, start: 1, count: 3 }
    expect(readErrors(view, batch, statuses)).toBe(2)
    expect([...statuses]).toEqual([9, 0, -22, -2, 9])
  })
})

describe('struct ioctl_gntdev_map_grant_ref', () => {
  it('holds count, pad, index, and domain and reference of each page', () => {
    using window = openWindow({ pageCount: 4 })
    const view = mapGrantReferences({
      domain: domainId(0x7ef),
      window,
      windowPage: windowPage(0),
      references: [grantReference(0x0102_0304), grantReference(0xffff_fff0)],
      writable: true,
    })
    expect(hex(new Uint8Array(view.buffer))).toBe(
      '0200000000000000 0000000000000000 ef07000004030201 ef070000f0ffffff',
    )
    view.setUint32(8, 0x0000_3000, true)
    view.setUint32(12, 1, true)
    expect(indexOf(view)).toBe(0x1_0000_3000)
  })

  it('M11 holds counts of 65,536 and references of 32 bits as they are', () => {
    using window = openWindow({ pageCount: 4 })
    const view = mapGrantReferences({
      domain: domainId(1),
      window,
      windowPage: windowPage(0),
      references: { first: grantReference(0xfffe_0000), count: 65_536 },
      writable: true,
    })
    expect(view.byteLength).toBe(524_304)
    expect(view.getUint32(0, true)).toBe(65_536)
    expect(view.getUint32(16 + 8 * 65_535 + 4, true)).toBe(0xfffe_ffff)
  })
})

describe('the other structures of gntdev', () => {
  it('struct ioctl_gntdev_unmap_grant_ref holds index and count', () => {
    expect(hex(unmapGrantReferences(0x1_2345_6000, 65_536))).toBe(
      '0060452301000000 0000010000000000',
    )
  })

  it('struct ioctl_gntdev_unmap_notify holds the byte, the action and the port', () => {
    expect(hex(setUnmapNotify(0x3000, { clearByte: 0xabc }))).toBe(
      'bc3a000000000000 0100000000000000',
    )
    expect(hex(setUnmapNotify(0x3000, { eventChannel: 77 }))).toBe(
      '0030000000000000 020000004d000000',
    )
    expect(hex(setUnmapNotify(0x3000, { clearByte: 0, eventChannel: 77 }))).toBe(
      '0030000000000000 030000004d000000',
    )
    expect(hex(setUnmapNotify(0x3000, {}))).toBe('0030000000000000 0000000000000000')
  })

  it('struct ioctl_gntdev_grant_copy and its segments hold both directions', () => {
    const view = new DataView(new ArrayBuffer(GRANT_COPY_BYTES))
    const address = 0x7f00_0000_0010
    writeGrantCopy(view, address, [
      {
        domain: domainId(1),
        reference: grantReference(0x0a0b_0c0d),
        offset: 0xff0,
        bytes: new Uint8Array(16),
        direction: 'from-grant',
      },
      {
        domain: domainId(2),
        reference: grantReference(9),
        offset: 4,
        bytes: Uint8Array.of(1, 2, 3),
        direction: 'to-grant',
      },
    ])
    expect(hex(new Uint8Array(view.buffer, 0, 64))).toBe(
      [
        '0200000000000000', // count
        '20000000007f0000', // segments: 16 bytes on
        '0d0c0b0af00f0100', // source: reference, offset, domain
        '00100000007f0000', // target: a page of the host
        '1000010000000000', // length 16, source is a grant, status
        '00200000007f0000', // source: the next page
        '0900000004000200', // target: reference, offset, domain
        '0300020000000000', // length 3, target is a grant, status
      ].join(' '),
    )
    expect([...new Uint8Array(view.buffer, 0x2000 - 0x10, 3)]).toEqual([1, 2, 3])
    view.setInt16(16 + 24 + 20, -3, true)
    expect([statusOfSegment(view, 0), statusOfSegment(view, 1)]).toEqual([0, -3])
  })
})

describe('the structures of gntalloc', () => {
  it('struct ioctl_gntalloc_alloc_gref holds domain, flags and count, and gets index and references', () => {
    const view = allocateGrants(0x102, true, 3)
    expect(hex(new Uint8Array(view.buffer))).toBe(
      '0201010003000000 0000000000000000 0000000000000000 00000000',
    )
    expect(hex(new Uint8Array(allocateGrants(5, false, 1).buffer))).toBe(
      '0500000001000000 0000000000000000 0000000000000000',
    )
    view.setUint32(8, 0x5000, true)
    for (const [index, reference] of [9, 8, 0xffff_fff1].entries()) {
      view.setUint32(16 + 4 * index, reference, true)
    }
    expect(indexOfGrants(view)).toBe(0x5000)
    expect(referencesOfGrants(view, 3)).toEqual([9, 8, 0xffff_fff1])
  })

  it('struct ioctl_gntalloc_dealloc_gref holds index and count', () => {
    expect(hex(freeGrants(0x7000, 3))).toBe('0070000000000000 0300000000000000')
  })
})

describe('the structures of evtchn', () => {
  it('are unsigned 32-bit integers', () => {
    expect(hex(words(1, 0xffff_fffe))).toBe('01000000feffffff')
    expect(hex(words(7))).toBe('07000000')
  })
})
