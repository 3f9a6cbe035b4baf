import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import { LOCK_WRITE } from '@xmc/core'
import { grantReference } from '@xmc/interface'
import { describe, expect, it } from 'vitest'
import { failure } from '../helpers/failure.ts'
import { ForeignWorld, frameOf } from '../helpers/foreign-world.ts'
import { GrantWorld } from '../helpers/grant-world.ts'
import { contents } from '../helpers/guest-contents.ts'
import { inEachMode, MODES, STRICT } from '../helpers/modes.ts'

/** Reads a double at a byte of a shared buffer, and stores another one 8 bytes on. */
const WORKER = `
const { parentPort, workerData } = require('node:worker_threads')
const view = new DataView(workerData.buffer, workerData.byte)
const seen = view.getFloat64(0, true)
view.setFloat64(8, 42, true)
parentPort.postMessage(seen)
`

describe('concurrency', () => {
  it('S87 two lock maps of the same at once are one mapping with two locks', async () => {
    using world = new ForeignWorld()
    world.populate(0)
    const [first, second] = await Promise.all([
      world.cache.mapAsync(frameOf(0x5000), 0, 16, { write: true }),
      world.cache.mapAsync(frameOf(0x5000), 0, 16, { write: true }),
    ])
    expect(world.calls()).toEqual(['fm(0x0,256)'])
    expect(second.pointer()).toEqual(first.pointer())
    expect(world.cache.statistics).toMatchObject({ entries: 1, locks: 2 })
    first.release()
    expect(second.copy()).toEqual(contents(0x5000, 16))
  })

  it('S87 a cache belongs to one thread; another one sees the window', async () => {
    using world = new ForeignWorld({ shared: true })
    world.populate(0)
    const pointer = world.lock(0x5000, 16)
    expect(world.lock(0x5000, 16)).toEqual(pointer)
    expect(world.calls()).toEqual(['fm(0x0,256)'])
    expect(world.cache.statistics.locks).toBe(2)
    const { buffer, byteOffset } = world.window
    expect(buffer).toBeInstanceOf(SharedArrayBuffer)
    const byte = byteOffset + pointer.windowPage * 4096 + pointer.offset
    const worker = new Worker(WORKER, { eval: true, workerData: { buffer, byte } })
    const [seen]: unknown[] = await once(worker, 'message')
    expect(seen).toBe(0x5000 + 0.5)
    await worker.terminate()
    expect(world.viewAt(pointer, 8).getFloat64(0, true)).toBe(42)
    expect(new DataView(world.guestBytes(0x5008, 8).buffer).getFloat64(0, true)).toBe(42)
  })
})

// Ten thousand mappings take their time on a machine that does other work, too.
describe('scale', () => {
  it('S88 the release of one of 10000 locked grants visits no other', () => {
    using world = new GrantWorld({
      windowPages: 16_384,
      references: 10_000,
      grantTableFrames: 20,
    })
    const pages = Array.from({ length: 10_000 }, (_, reference) =>
      world.cache.lock(grantReference(reference), 0, 16, 0),
    )
    expect(world.cache.statistics).toMatchObject({ lockedEntries: 10_000, locks: 10_000 })
    const { searchSteps } = world.cache.statistics
    expect(pages.map((page) => world.cache.pageOf(page))).toEqual(pages.map((_, nth) => nth))
    for (const page of pages) world.cache.unlock(page, 0)
    expect(world.cache.statistics.searchSteps - searchSteps).toBe(0)
    expect(world.mapped()).toEqual([])
  })

  it('S88 the release of one of 10000 locked frames visits no other, and to find one takes few steps', () => {
    using world = new ForeignWorld({ ...STRICT, bucketShift: 12 })
    world.populate(0x40000, 10_000)
    const pages = Array.from({ length: 10_000 }, (_, nth) =>
      world.cache.lock(frameOf((0x40000 + nth) * 4096), 0, 16, LOCK_WRITE),
    )
    const before = world.cache.statistics.searchSteps
    for (let nth = 0; nth < 9999; nth += 100) world.lock((0x40000 + nth) * 4096 + 4000, 200)
    expect(world.cache.statistics.searchSteps - before).toBeLessThan(1000)
    const { searchSteps } = world.cache.statistics
    for (const page of pages) world.cache.unlock(page, 0)
    expect(world.cache.statistics.searchSteps - searchSteps).toBe(0)
    expect(world.mapped()).toHaveLength(100)
  })

  it('S89 accesses of 1 MiB and of 2 MiB by turns map each bucket once', () => {
    using world = new ForeignWorld()
    world.populate(0x700, 0x200)
    for (let round = 0; round < 100; round++) {
      expect(world.access(0x700000, 16)).toEqual(contents(0x700000, 16))
      expect(world.access(0x7ffff0, 0x20)).toEqual(contents(0x7ffff0, 0x20))
    }
    expect(world.calls()).toEqual(['fm(0x700,256)', 'fm(0x800,256)'])
  })

  it('S89 locks of 1 MiB and of 2 MiB by turns are two mappings', () => {
    using world = new ForeignWorld()
    world.populate(0x700, 0x200)
    for (let round = 0; round < 100; round++) {
      world.release(world.lock(0x700000, 16))
      world.release(world.lock(0x7ffff0, 0x20))
    }
    expect(world.calls()).toEqual(['fm(0x700,256)', 'fm(0x700,512)'])
  })

  it.each(inEachMode({ strict: 1000, default: 1 }))(
    'S90 in %s mode: the foreign maps of 1000 DMA cycles on one bucket',
    (_, mode) => {
      using world = new ForeignWorld(mode)
      world.populate(0)
      for (let cycle = 0; cycle < 1000; cycle++) world.release(world.lock(0x5000, 4096))
      expect(world.hypervisor.faults.calls('foreign.map')).toBe(mode.expected)
      expect(world.cache.statistics.mapCalls).toBe(mode.expected)
    },
  )

  it.each(MODES)('S92 in %s mode: a hole in a bucket never mixes up its mappings', (_, mode) => {
    using world = new ForeignWorld(mode)
    world.populate(0x1300, 0x500)
    world.guest.depopulate(0x1388)
    const h2 = world.lock(0x13f0000, 131_072)
    const h3 = world.lock(0x1305000, 4096)
    world.release(h2)
    expect(() => world.cache.loadUint8(frameOf(0x1388000), 0)).toThrow(
      failure('ERR_XMC_PAGES_MISSING', { page: 0x1388 }),
    )
    const h4 = world.lock(0x1306000, 4096)
    world.release(h3)
    const h5 = world.lock(0x1706000, 4096)
    expect(world.lookup(h4)).toBe(0x1306000)
    expect(world.bytesAt(h4, 4096)).toEqual(contents(0x1306000, 4096))
    world.viewAt(h4, 0x10).setFloat64(0, 42, true)
    expect(new DataView(world.guestBytes(0x1306010, 8).buffer).getFloat64(0, true)).toBe(42)
    expect(world.guestBytes(0x1706000, 4096)).toEqual(contents(0x1706000, 4096))
    expect(world.lookup(h5)).toBe(0x1706000)
    expect(world.bytesAt(h5, 4096)).toEqual(contents(0x1706000, 4096))
    for (const stale of [h2, h3]) {
      expect(() => world.release(stale)).toThrow(failure('ERR_XMC_NOT_LOCKED'))
    }
    world.release(h4)
    world.release(h5)
    expect(world.cache.statistics.locks).toBe(0)
  })
})
