import { LOCK_DMA as CORE_LOCK_DMA, LOCK_WRITE as CORE_LOCK_WRITE } from '@xmc/core'
import { describe, expect, test } from 'vitest'
import { LOCK_DMA, LOCK_WRITE, PlainMemory } from '../src/index.ts'

test('the lock flags are those of the caches', () => {
  expect([LOCK_WRITE, LOCK_DMA]).toEqual([CORE_LOCK_WRITE, CORE_LOCK_DMA])
})

describe('PlainMemory', () => {
  test('loads and stores in both byte orders, over page ends too', () => {
    const memory = new PlainMemory({ pageCount: 2 })
    memory.storeUint32(0, 4094, 0x11223344)
    expect(memory.loadUint8(0, 4094)).toBe(0x44)
    expect(memory.loadUint16(1, 0)).toBe(0x1122)
    expect(memory.loadUint32(0, 4094, false)).toBe(0x44332211)
    memory.storeUint8(1, 8, 0x1ff)
    memory.storeUint16(1, 9, 0xabcd, false)
    memory.storeBigUint64(1, 16, 0x1122334455667788n, false)
    expect(memory.loadUint32(1, 8)).toBe(0x00cdabff)
    expect(memory.loadBigUint64(1, 16)).toBe(0x8877665544332211n)
  })

  test('reads and writes runs of bytes', () => {
    const memory = new PlainMemory({ pageCount: 2 })
    memory.write(0, 4095, Uint8Array.of(1, 2, 3))
    const target = new Uint8Array(4)
    memory.read(0, 4094, target)
    expect([...target]).toEqual([0, 1, 2, 3])
  })

  test('a lock is a place in the view, which counts until it is released', async () => {
    const memory = new PlainMemory({ pageCount: 4 })
    expect(memory.lock(2, 8, 100, LOCK_WRITE)).toBe(2)
    expect(await memory.lockAsync(2, 8, 100, 0)).toBe(2)
    expect(memory.pageOf(2)).toBe(2)
    expect(memory.locks).toBe(2)
    memory.unlock(2, 8)
    memory.unlock(2, 8)
    expect(memory.locks).toBe(0)
    expect(() => memory.unlock(2, 8)).toThrow(
      expect.objectContaining({ code: 'ERR_XMC_NOT_LOCKED' }),
    )
  })

  test('uses a buffer that it is given', () => {
    const buffer = new SharedArrayBuffer(4096)
    new PlainMemory({ buffer }).storeUint8(0, 1, 7)
    expect(new Uint8Array(buffer)[1]).toBe(7)
  })

  test('what lies behind its end is missing, not zero', () => {
    const memory = new PlainMemory({ pageCount: 1, name: 'flash' })
    for (const access of [
      () => memory.loadUint32(0, 4093),
      () => memory.read(1, 0, new Uint8Array(1)),
      () => memory.storeUint8(1, 0, 0),
      () => memory.lock(0, 4000, 97, 0),
      () => memory.pageOf(1),
    ]) {
      expect(access).toThrow(
        expect.objectContaining({ code: 'ERR_XMC_PAGES_MISSING', cache: 'flash', page: 1 }),
      )
    }
    expect(memory.locks).toBe(0)
  })

  test.each([
    [0, 4096],
    [0, -1],
    [-1, 0],
    [0.5, 0],
    [Number.NaN, 0],
  ])('page %d, offset %d is no place', (page, offset) => {
    const memory = new PlainMemory({ pageCount: 1 })
    expect(() => memory.loadUint8(page, offset)).toThrow(
      expect.objectContaining({ code: 'ERR_XMC_ARGUMENT' }),
    )
  })

  test.each([{}, { pageCount: 0 }, { pageCount: 1.5 }, { buffer: new ArrayBuffer(100) }])(
    'refuses %o',
    (options) => {
      expect(() => new PlainMemory(options)).toThrow(
        expect.objectContaining({ code: 'ERR_XMC_ARGUMENT' }),
      )
    },
  )
})
