import { describe, expect, test } from 'vitest'
import { AddressSpace, RamRegion, ResidentBlock, type ResidentBlockOptions } from '../src/index.ts'
import { caught } from './doubles/caught.ts'
import { PagedMemory } from './doubles/paged-memory.ts'

/** A ROM of 256 KiB that lies in the guest at frame 0x80000. */
function setUp(options: Partial<ResidentBlockOptions> = {}) {
  const memory = new PagedMemory('foreign')
  const block = new ResidentBlock({
    backing: memory,
    firstPage: 0x80000,
    length: 0x40000,
    ...options,
  })
  const region = new RamRegion({
    name: 'vga.rom',
    size: 0x40000n,
    backing: block,
    firstPage: 0x80000,
    readOnly: true,
  })
  return { memory, block, space: new AddressSpace({ root: region }) }
}

describe('ResidentBlock', () => {
  test('S72 the first read locks the whole block, later ones make no call, closing gives it back', () => {
    const { memory, block, space } = setUp()
    expect(block.resident).toBe(false)
    expect(space.loadUint32(1, 0)).toBe(0)
    expect(memory.log).toEqual(['lock 0x80000:0x0 262144 write'])
    space.loadUint32(0x3f, 4092)
    space.read(0, 0, new Uint8Array(0x40000))
    space.map(2, 0, 4096, false).release(0)
    expect(memory.log).toHaveLength(1)
    expect(block.resident).toBe(true)
    block.close()
    expect(memory.log).toEqual(['lock 0x80000:0x0 262144 write', 'unlock 0x80000:0x0'])
    block.close()
    expect(memory.locks).toBe(0)
    expect(caught(() => space.loadUint8(0, 0))).toMatchObject({ code: 'ERR_XMC_CLOSED' })
  })

  test('S72 the lock is for a transfer when the first access is one', () => {
    const { memory, space } = setUp()
    space.map(2, 0, 4096, false).release(0)
    expect(memory.log).toEqual(['lock 0x80000:0x0 262144 write dma'])
  })

  test('S73 every page of the block is found again, inner ones too', () => {
    const { block } = setUp()
    const windowPage = block.lock(0x80000, 0x100, 16, 0)
    expect(block.pageOf(windowPage)).toBe(0x80000)
    expect(block.pageOf(windowPage + 63)).toBe(0x8003f)
    expect(caught(() => block.pageOf(windowPage + 64))).toMatchObject({
      code: 'ERR_XMC_NOT_LOCKED',
    })
    expect(caught(() => setUp().block.pageOf(0))).toMatchObject({ code: 'ERR_XMC_NOT_LOCKED' })
  })

  test('is memory: loads, stores, reads, writes and locks', () => {
    const { memory, block } = setUp()
    block.storeUint8(0x80001, 0, 0x11)
    block.storeUint16(0x80001, 2, 0x2233, true)
    block.storeUint32(0x80001, 4, 0x44556677, false)
    block.storeBigUint64(0x80001, 8, 0x8899aabbccddeeffn, true)
    block.write(0x80001, 16, Uint8Array.of(1, 2, 3))
    expect(block.loadUint8(0x80001, 0)).toBe(0x11)
    expect(block.loadUint16(0x80001, 2, false)).toBe(0x3322)
    expect(block.loadUint32(0x80001, 4, true)).toBe(0x77665544)
    expect(block.loadBigUint64(0x80001, 8, false)).toBe(0xffeeddccbbaa9988n)
    const target = new Uint8Array(4)
    block.read(0x80001, 15, target)
    expect([...target]).toEqual([0x88, 1, 2, 3])
    expect([...memory.page(0x80001).subarray(16, 19)]).toEqual([1, 2, 3])
    const windowPage = block.lock(0x80001, 16, 3, 0)
    expect(memory.view.getUint8(windowPage * 4096 + 16)).toBe(1)
  })

  test('counts its own locks, and closes when they are gone', () => {
    const { memory, block } = setUp()
    const first = block.lock(0x80001, 8, 16, 0)
    expect(block.lock(0x80001, 8, 16, 0)).toBe(first)
    expect(memory.locks).toBe(1)
    expect(caught(() => block.close())).toMatchObject({ code: 'ERR_XMC_BUSY' })
    block.unlock(first, 8)
    block.unlock(first, 8)
    expect(caught(() => block.unlock(first, 8))).toMatchObject({ code: 'ERR_XMC_NOT_LOCKED' })
    block.close()
    expect(memory.locks).toBe(0)
  })

  test('ends where it ends', () => {
    const { memory, block } = setUp({ length: 0x1800 })
    for (const access of [
      () => block.loadUint8(0x7ffff, 0),
      () => block.loadUint32(0x80001, 0x7fd, true),
      () => block.lock(0x80002, 0, 1, 0),
    ]) {
      expect(caught(access)).toMatchObject({ code: 'ERR_XMC_PAGES_MISSING' })
    }
    expect(memory.log).toEqual([])
  })

  test('that may not be written is locked for reading, and stores never reach its pages', () => {
    const { memory, block } = setUp({ write: false })
    block.loadUint8(0x80000, 0)
    expect(memory.log).toEqual(['lock 0x80000:0x0 262144 read'])
    for (const access of [
      () => block.storeUint8(0x80000, 0, 1),
      () => block.write(0x80000, 0, Uint8Array.of(1)),
      () => block.lock(0x80000, 0, 1, 1),
    ]) {
      expect(caught(access)).toMatchObject({ code: 'ERR_XMC_READ_ONLY' })
    }
    expect(memory.page(0x80000)[0]).toBe(0)
  })

  test('a failed first access leaves nothing, and the next tries again', () => {
    const { memory, block } = setUp()
    memory.missing.add(0x80003)
    expect(caught(() => block.loadUint8(0x80000, 0))).toMatchObject({ page: 0x80003 })
    expect(block.resident).toBe(false)
    memory.missing.clear()
    expect(block.loadUint8(0x80000, 0)).toBe(0)
    expect(memory.locks).toBe(1)
  })

  test('asynchronous locks that come together are one lock below', async () => {
    const { memory, block } = setUp()
    const locks = await Promise.all([
      block.lockAsync(0x80001, 0, 1, 0),
      block.lockAsync(0x80002, 0, 1, 0),
    ])
    expect(locks[1] - locks[0]).toBe(1)
    expect(await block.lockAsync(0x80001, 0, 1, 0)).toBe(locks[0])
    expect(memory.log).toEqual(['lock 0x80000:0x0 262144 write'])
  })

  test('a synchronous access or a close meanwhile leaves one lock, or none', async () => {
    const both = setUp()
    const pending = both.block.lockAsync(0x80001, 0, 1, 0)
    both.block.loadUint8(0x80000, 0)
    await pending
    expect(both.memory.locks).toBe(1)
    const closed = setUp()
    const late = closed.block.lockAsync(0x80001, 0, 1, 0)
    closed.block.close()
    await expect(late).rejects.toMatchObject({ code: 'ERR_XMC_CLOSED' })
    expect(closed.memory.locks).toBe(0)
  })
})
