import { describe, expect, it } from 'vitest'
import { failure } from '../helpers/failure.ts'
import { ForeignWorld } from '../helpers/foreign-world.ts'
import { contents } from '../helpers/guest-contents.ts'
import { inEachMode, MODES, type Mode } from '../helpers/modes.ts'
import type { Pointer } from '../helpers/world.ts'

const MISSING = failure('ERR_XMC_PAGES_MISSING', { page: 16, errnoName: 'EINVAL' })

/** A guest whose pages 16 to 31 of bucket 0 are holes. */
function withHoles({ retention }: Mode): ForeignWorld {
  const world = new ForeignWorld({ retention })
  world.populate(0, 16)
  world.populate(32, 224)
  return world
}

/** The start of S24: the bucket is locked, and the lock of a hole in it has failed. */
function afterFailedLock(world: ForeignWorld): Pointer {
  const first = world.lock(0, 4096)
  expect(() => world.lock(0x10000, 4096)).toThrow(MISSING)
  return first
}

describe('holes', () => {
  it.each(
    inEachMode({
      strict: ['fm(0x0,256) 16 bad', 'um(256)', 'fm(0x0,256) 16 bad'],
      // Only the page that was asked for is tried again.
      default: ['fm(0x0,256) 16 bad', 'fm(0x10,1) 1 bad'],
    }),
  )('S21 in %s mode: a hole is refused, the other 240 pages stay', (_, mode) => {
    using world = withHoles(mode)
    expect(world.access(0, 4096)).toEqual(contents(0, 4096))
    expect(() => world.access(0x10000, 4096)).toThrow(MISSING)
    expect(world.calls()).toEqual(mode.expected)
    expect(world.mapped()).toEqual(['(0x0,256) 240 mapped'])
  })

  it.each(MODES)('S22 in %s mode: a page behind the hole is served without a call', (_, mode) => {
    using world = withHoles(mode)
    world.access(0, 4096)
    expect(() => world.access(0x10000, 4096)).toThrow(MISSING)
    world.calls()
    expect(world.access(0x20000, 4096)).toEqual(contents(0x20000, 4096))
    expect(world.calls()).toEqual([])
  })

  it.each(
    inEachMode({
      strict: {
        calls: ['fm(0x0,256) 16 bad', 'fm(0x0,256) 16 bad'],
        mapped: ['(0x0,256) 240 mapped', '(0x0,256) 240 mapped'],
      },
      default: {
        calls: ['fm(0x0,256) 16 bad', 'fm(0x10,1) 1 bad'],
        mapped: ['(0x0,256) 240 mapped'],
      },
    }),
  )('S23 in %s mode: beside a locked mapping of the bucket, only that one is locked', (_, mode) => {
    using world = withHoles(mode)
    const first = afterFailedLock(world)
    expect(world.calls()).toEqual(mode.expected.calls)
    expect(world.mapped()).toEqual(mode.expected.mapped)
    expect(world.cache.statistics).toMatchObject({ locks: 1, lockedEntries: 1 })
    expect(world.bytesAt(first, 4096)).toEqual(contents(0, 4096))
    expect(world.lookup(first)).toBe(0)
  })

  it.each(
    inEachMode({
      strict: {
        lock: ['um(256)', 'fm(0x0,256)'],
        both: ['(0x0,256) 240 mapped', '(0x0,256)'],
        release: ['um(256)'],
        first: ['(0x0,256) 240 mapped'],
      },
      default: {
        lock: ['fm(0x10,1)'],
        both: ['(0x0,256) 240 mapped', '(0x10,1)'],
        release: [],
        first: ['(0x0,256) 240 mapped', '(0x10,1)'],
      },
    }),
  )(
    'S24 in %s mode: a page that came later has its own address, and its own release',
    (_, mode) => {
      using world = withHoles(mode)
      const first = afterFailedLock(world)
      const { expected } = mode
      world.populate(16, 16)
      world.calls()
      const b = world.lock(0x10000, 4096)
      expect(world.calls()).toEqual(expected.lock)
      expect(world.mapped()).toEqual(expected.both)
      expect(world.lookup(b)).toBe(0x10000)
      expect(world.bytesAt(b, 4096)).toEqual(contents(0x10000, 4096))
      world.release(b)
      expect(world.calls()).toEqual(expected.release)
      expect(world.mapped()).toEqual(expected.first)
      expect(() => world.release(b)).toThrow(failure('ERR_XMC_NOT_LOCKED'))
      // The first pointer is untouched: it reads and writes the guest's page 0.
      expect(world.lookup(first)).toBe(0)
      expect(world.bytesAt(first, 4096)).toEqual(contents(0, 4096))
      world.viewAt(first).setUint8(8, 0x5a)
      expect(world.guestBytes(8, 1)).toEqual(Uint8Array.of(0x5a))
      world.release(first)
      expect(world.cache.statistics.locks).toBe(0)
    },
  )

  it.each(
    inEachMode({
      // As in the original, the bucket stays until its place is needed.
      strict: { calls: ['fm(0x0,256) 256 bad'], entries: 1, again: ['um(256)', 'fm(0x0,256)'] },
      default: {
        calls: ['fm(0x0,256) 256 bad', 'um(256)'],
        entries: 0,
        again: ['fm(0x0,256)'],
      },
    }),
  )('S25 in %s mode: a bucket without any memory is refused', (_, mode) => {
    using world = new ForeignWorld(mode)
    expect(() => world.access(0, 16)).toThrow(
      failure('ERR_XMC_PAGES_MISSING', { page: 0, errnoName: 'EINVAL' }),
    )
    expect(world.calls()).toEqual(mode.expected.calls)
    expect(world.mapped()).toEqual([])
    expect(world.cache.statistics.entries).toBe(mode.expected.entries)
    world.populate(0)
    expect(world.access(0, 16)).toEqual(contents(0, 16))
    expect(world.calls()).toEqual(mode.expected.again)
  })
})
