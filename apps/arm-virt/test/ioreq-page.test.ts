import { describe, expect, it } from 'vitest'
import { IOREQ_TYPE_COPY, IOREQ_TYPE_INVALIDATE, IoreqPage } from '../src/ioreq-page.ts'

/** `struct ioreq`, written as Xen does: by its offsets. */
function slotOf(view: DataView, virtualCpu: number, bits: number, type: number): number {
  const at = virtualCpu * 32
  view.setUint8(at + 30, bits)
  view.setUint8(at + 31, type)
  return at
}

const READY = 1
const IN_PROCESS = 2
const RESPONSE_READY = 3

describe('a page of request slots', () => {
  it('gives a request with every field, and marks it as in process', () => {
    const view = new DataView(new ArrayBuffer(4096))
    const page = new IoreqPage(view)
    const at = slotOf(view, 3, READY | 0x10 | 0x20 | 0x40, IOREQ_TYPE_COPY)
    view.setBigUint64(at, 0xfedc_ba98_7654_3210n, true)
    view.setBigUint64(at + 8, 0x8877_6655_4433_2211n, true)
    view.setUint32(at + 16, 5, true)
    view.setUint32(at + 20, 8, true)
    expect(page.take(3)).toEqual({
      page: Number(0xfedc_ba98_7654_3210n >> 12n),
      offset: 0x210,
      dataLow: 0x4433_2211,
      dataHigh: 0x8877_6655,
      count: 5,
      size: 8,
      dataIsPointer: true,
      read: true,
      down: true,
      type: IOREQ_TYPE_COPY,
    })
    expect(view.getUint8(at + 30)).toBe(IN_PROCESS | 0x70)
  })

  it.each([0, IN_PROCESS, RESPONSE_READY, 15])('has nothing to take in state %d', (state) => {
    const view = new DataView(new ArrayBuffer(4096))
    slotOf(view, 0, state, IOREQ_TYPE_COPY)
    expect(new IoreqPage(view).take(0)).toBeUndefined()
    expect(view.getUint8(30)).toBe(state)
  })

  it('takes one that is in process again when it is told to', () => {
    const view = new DataView(new ArrayBuffer(4096))
    slotOf(view, 0, IN_PROCESS, IOREQ_TYPE_COPY)
    const page = new IoreqPage(view)
    expect(page.take(0, true)?.type).toBe(IOREQ_TYPE_COPY)
    expect(view.getUint8(30)).toBe(IN_PROCESS)
    slotOf(view, 0, RESPONSE_READY, IOREQ_TYPE_COPY)
    expect(page.take(0, true)).toBeUndefined()
  })

  it('takes a request once', () => {
    const view = new DataView(new ArrayBuffer(4096))
    slotOf(view, 0, READY, IOREQ_TYPE_INVALIDATE)
    const page = new IoreqPage(view)
    expect(page.take(0)?.type).toBe(IOREQ_TYPE_INVALIDATE)
    expect(page.take(0)).toBeUndefined()
  })

  it('puts an answer into the slot, and leaves everything else alone', () => {
    const view = new DataView(new ArrayBuffer(8192), 4096)
    const page = new IoreqPage(view)
    const at = slotOf(view, 127, READY | 0x20, IOREQ_TYPE_COPY)
    view.setUint32(at + 24, 77, true)
    view.setUint16(at + 28, 0xabcd, true)
    page.take(127)
    page.setData(127, 0x89ab_cdef, 0x0123_4567)
    page.complete(127)
    expect(view.getBigUint64(at + 8, true)).toBe(0x0123_4567_89ab_cdefn)
    expect(view.getUint32(at + 24, true)).toBe(77)
    expect(view.getUint16(at + 28, true)).toBe(0xabcd)
    expect(view.getUint8(at + 30)).toBe(RESPONSE_READY | 0x20)
    expect(view.getUint8(at + 31)).toBe(IOREQ_TYPE_COPY)
  })
})
