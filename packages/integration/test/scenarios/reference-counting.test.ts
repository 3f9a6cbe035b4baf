import { LOCK_WRITE } from '@xmc/core'
import { describe, expect, it } from 'vitest'
import { failure } from '../helpers/failure.ts'
import { ForeignWorld, frameOf } from '../helpers/foreign-world.ts'
import { GrantWorld } from '../helpers/grant-world.ts'
import { contents } from '../helpers/guest-contents.ts'
import { inEachMode, MODES, STRICT } from '../helpers/modes.ts'
import { Trace } from '../helpers/trace.ts'
import type { Pointer } from '../helpers/world.ts'

/** The start of S29 to S31: three locked buckets of one class. */
function threeLocked(world: ForeignWorld): { a: Pointer; b: Pointer; c: Pointer } {
  for (const frame of [0, 0x800000, 0x1000000, 0x1800000]) world.populate(frame)
  const a = world.lock(0x1000, 16)
  const b = world.lock(0x800001000, 16)
  const c = world.lock(0x1000001000, 16)
  world.calls()
  return { a, b, c }
}

describe('reference counting and invalidation', () => {
  it.each(
    inEachMode({
      strict: { third: ['um(256)'], mapped: [] },
      default: { third: [], mapped: ['(0x0,256)'] },
    }),
  )('S26 in %s mode: three locks are one mapping and take three releases', (_, mode) => {
    using world = new ForeignWorld(mode)
    using missed = new Trace('xen_invalidate_map_cache_entry_unlocked_not_found')
    world.populate(0)
    const first = world.lock(0x5000, 16)
    expect(world.lock(0x5000, 16)).toEqual(first)
    expect(world.lock(0x5000, 16)).toEqual(first)
    expect(world.calls()).toEqual(['fm(0x0,256)'])
    expect(world.cache.statistics.locks).toBe(3)
    world.release(first)
    world.release(first)
    expect(world.calls()).toEqual([])
    expect(world.mapped()).toEqual(['(0x0,256)'])
    expect(world.bytesAt(first, 16)).toEqual(contents(0x5000, 16))
    world.release(first)
    expect(world.calls()).toEqual(mode.expected.third)
    expect(world.mapped()).toEqual(mode.expected.mapped)
    expect(missed.messages).toEqual([])
    expect(() => world.release(first)).toThrow(failure('ERR_XMC_NOT_LOCKED'))
    expect(missed.messages).toEqual([{ cache: 'foreign', ...first }])
    expect(world.calls()).toEqual([])
    expect(world.mapped()).toEqual(mode.expected.mapped)
  })

  it.each(MODES)('S27 in %s mode: a pointer resolves, and so do interior ones', (_, mode) => {
    using world = new ForeignWorld(mode)
    world.populate(0)
    const pointer = world.lock(0x5000, 0x3000)
    expect(world.lookup(pointer)).toBe(0x5000)
    expect(world.cache.addressOf(world.viewAt(pointer, 1))).toBe(0x5001n)
    expect(world.cache.addressOf(world.viewAt(pointer, 0x2fff))).toBe(0x7fffn)
  })

  it.each(MODES)('S28 in %s mode: what was not locked does not resolve', (_, mode) => {
    using world = new ForeignWorld(mode)
    world.populate(0)
    world.access(0x5000, 16)
    const pointer = world.onlyMapping()
    expect(world.bytesAt(pointer, 16)).toEqual(contents(0, 16))
    expect(() => world.lookup(pointer)).toThrow(failure('ERR_XMC_NOT_LOCKED'))
    expect(() => world.cache.addressOf(world.viewAt(pointer, 0x5000))).toThrow(
      failure('ERR_XMC_NOT_LOCKED'),
    )
  })

  it.each(
    inEachMode({
      strict: { calls: ['um(256)'], mapped: ['(0x0,256)', '(0x1000000,256)'] },
      default: { calls: [], mapped: ['(0x0,256)', '(0x800000,256)', '(0x1000000,256)'] },
    }),
  )('S29 in %s mode: the second of three of one class is released', (_, mode) => {
    using world = new ForeignWorld(mode)
    const { a, b, c } = threeLocked(world)
    world.release(b)
    expect(world.calls()).toEqual(mode.expected.calls)
    expect(world.mapped()).toEqual(mode.expected.mapped)
    expect([a, c].map((pointer) => world.lookup(pointer))).toEqual([0x1000, 0x1000001000])
    expect(world.bytesAt(a, 16)).toEqual(contents(0x1000, 16))
    expect(world.bytesAt(c, 16)).toEqual(contents(0x1000001000, 16))
  })

  it.each(
    inEachMode({
      strict: { calls: ['um(256)'], mapped: ['(0x1000000,256)'] },
      default: { calls: [], mapped: ['(0x0,256)', '(0x800000,256)', '(0x1000000,256)'] },
    }),
  )('S30 in %s mode: when the first goes, too, the third is still found', (_, mode) => {
    using world = new ForeignWorld(mode)
    const { a, b, c } = threeLocked(world)
    world.release(b)
    world.calls()
    world.release(a)
    expect(world.calls()).toEqual(mode.expected.calls)
    expect(world.mapped()).toEqual(mode.expected.mapped)
    expect(world.lookup(c)).toBe(0x1000001000)
    expect(world.lock(0x1000001000, 16)).toEqual(c)
    expect(world.access(0x1000001000, 16)).toEqual(contents(0x1000001000, 16))
    expect(world.calls()).toEqual([])
    expect(world.cache.statistics.locks).toBe(2)
  })

  it.each(
    inEachMode({
      strict: ['(0x1000000,256)', '(0x1800000,256)'],
      default: ['(0x0,256)', '(0x800000,256)', '(0x1000000,256)', '(0x1800000,256)'],
    }),
  )('S31 in %s mode: a fourth takes the place that the first left', (_, mode) => {
    using world = new ForeignWorld(mode)
    const { a, b, c } = threeLocked(world)
    world.release(b)
    world.release(a)
    world.calls()
    const d = world.lock(0x1800000000, 16)
    expect(world.calls()).toEqual(['fm(0x1800000,256)'])
    expect(world.mapped()).toEqual(mode.expected)
    expect([c, d].map((pointer) => world.lookup(pointer))).toEqual([0x1000001000, 0x1800000000])
  })

  it.each(
    inEachMode({
      strict: { release: ['um(512)'], mapped: ['(0x700,256)'] },
      default: { release: [], mapped: ['(0x700,512)', '(0x700,256)'] },
    }),
  )('S32 in %s mode: a release of 2 MiB leaves the 1 MiB mapping of the same bucket', (_, mode) => {
    using world = new ForeignWorld(mode)
    world.populate(0x700, 0x200)
    const large = world.lock(0x7ffff0, 0x20)
    world.access(0x700000, 16)
    expect(world.calls()).toEqual(['fm(0x700,512)', 'fm(0x700,256)'])
    world.release(large)
    expect(world.calls()).toEqual(mode.expected.release)
    expect(world.mapped()).toEqual(mode.expected.mapped)
    expect(world.access(0x700010, 16)).toEqual(contents(0x700010, 16))
    expect(world.calls()).toEqual([])
  })

  it.each(MODES)(
    'S33 in %s mode: one lock too many is an error, and the count stays',
    (_, mode) => {
      using world = new ForeignWorld(mode)
      world.populate(0)
      const frame = frameOf(0x5000)
      const windowPage = world.cache.lock(frame, 0, 16, LOCK_WRITE)
      for (let nth = 1; nth < 524_287; nth++) world.cache.lock(frame, 0, 16, LOCK_WRITE)
      expect(world.cache.statistics.locks).toBe(524_287)
      expect(() => world.cache.lock(frame, 0, 16, LOCK_WRITE)).toThrow(
        failure('ERR_XMC_LOCK_LIMIT', { limit: 524_287 }),
      )
      expect(world.cache.statistics.locks).toBe(524_287)
      expect(world.calls()).toEqual(['fm(0x0,256)'])
      for (let nth = 1; nth < 524_287; nth++) world.cache.unlock(windowPage, 0)
      expect(world.cache.statistics.locks).toBe(1)
      expect(world.mapped()).toEqual(['(0x0,256)'])
      world.cache.unlock(windowPage, 0)
      expect(world.cache.statistics.locks).toBe(0)
    },
  )

  it('S33 256 locks do not wrap around', () => {
    using world = new ForeignWorld(STRICT)
    world.populate(0)
    const pointer = world.lock(0x5000, 16)
    for (let nth = 1; nth < 256; nth++) world.lock(0x5000, 16)
    world.populate(0x800000)
    world.access(0x800000000, 16)
    expect(world.bytesAt(pointer, 16)).toEqual(contents(0x5000, 16))
    for (let nth = 1; nth < 256; nth++) world.release(pointer)
    expect(world.mapped()).toContain('(0x0,256)')
    world.release(pointer)
    expect(world.mapped()).toEqual(['(0x800000,256)'])
  })

  it('S34 an asynchronous release resolves after the unmap, made off the caller’s turn', async () => {
    using world = new ForeignWorld(STRICT)
    world.populate(0)
    const mapping = world.cache.map(frameOf(0x5000), 0, 16, { write: true, dma: true })
    world.calls()
    world.notified()
    const released = mapping.releaseAsync()
    expect(world.calls()).toEqual([])
    expect(world.notified()).toEqual([])
    await released
    expect(world.calls()).toEqual(['um(256)'])
    expect(world.notified()).toEqual(['remove(256)'])
    expect(world.mapped()).toEqual([])
  })

  it('S34 the asynchronous release of a grant resolves after its unmap', async () => {
    using world = new GrantWorld()
    const mapping = world.map(0x8000_0000_0000_7000n, 0x2000)
    world.calls()
    world.notified()
    const released = mapping.releaseAsync()
    expect(world.calls()).toEqual([])
    await released
    expect(world.calls()).toEqual(['gu(2)'])
    expect(world.notified()).toEqual(['remove(2)'])
    expect(world.pins(7)).toEqual({ reads: 0, writes: 0 })
  })

  it.each(MODES)('S35 in %s mode: the release of nothing changes nothing', (_, mode) => {
    using world = new ForeignWorld(mode)
    world.populate(0)
    const pointer = world.lock(0x5000, 16)
    const mapping = world.cache.map(frameOf(0x6000), 0, 16)
    world.calls()
    // @ts-expect-error a null pointer is no window page
    expect(() => world.cache.unlock(null, 0)).toThrow(failure('ERR_XMC_NOT_LOCKED'))
    mapping.release()
    // A handle that was released is disposed of once more at the end of its block.
    mapping[Symbol.dispose]()
    expect(world.calls()).toEqual([])
    expect(world.mapped()).toEqual(['(0x0,256)'])
    expect(world.cache.statistics.locks).toBe(1)
    expect(world.bytesAt(pointer, 16)).toEqual(contents(0x5000, 16))
  })
})
