import { describe, expect, it } from 'vitest'
import { failure } from '../helpers/failure.ts'
import { ForeignWorld, frameOf } from '../helpers/foreign-world.ts'
import { contents } from '../helpers/guest-contents.ts'
import { inEachMode, MODES } from '../helpers/modes.ts'

describe('foreign memory, without a lock', () => {
  it.each(MODES)('S9 in %s mode: an access maps its bucket and locks nothing', (_, mode) => {
    using world = new ForeignWorld(mode)
    world.populate(0)
    expect(world.access(0x12345, 4)).toEqual(contents(0x12345, 4))
    expect(world.calls()).toEqual(['fm(0x0,256)'])
    expect(world.viewAt(world.onlyMapping(), 0x12340).getFloat64(0, true)).toBe(0x12340 + 0.5)
    expect(world.cache.statistics).toMatchObject({ locks: 0, lockedEntries: 0, entries: 1 })
  })

  it.each(MODES)('S10 in %s mode: a further access to the bucket makes no call', (_, mode) => {
    using world = new ForeignWorld(mode)
    world.populate(0)
    world.access(0x12345, 4)
    world.calls()
    expect(world.cache.loadUint8(frameOf(0x20000), 7)).toBe(contents(0x20007, 1)[0])
    expect(world.calls()).toEqual([])
    expect(world.mapped()).toEqual(['(0x0,256)'])
  })

  it.each(MODES)('S11 in %s mode: a further access with a size makes no call either', (_, mode) => {
    using world = new ForeignWorld(mode)
    world.populate(0)
    world.access(0x12345, 4)
    const [before] = world.hypervisor.accounting.mappings()
    world.calls()
    expect(world.access(0x30000, 4)).toEqual(contents(0x30000, 4))
    expect(world.calls()).toEqual([])
    expect(world.hypervisor.accounting.mappings()).toEqual([before])
  })

  it.each(
    inEachMode({
      strict: {
        calls: ['um(256)', 'fm(0x0,512)'],
        notified: ['add(256)', 'remove(256)', 'add(512)'],
        mapped: ['(0x0,512)'],
      },
      default: {
        calls: ['fm(0x100,256)'],
        notified: ['add(256)', 'add(256)'],
        mapped: ['(0x0,256)', '(0x100,256)'],
      },
    }),
  )('S12 in %s mode: an access over the end of the bucket', (_, { retention, expected }) => {
    using world = new ForeignWorld({ retention })
    world.populate(0, 0x200)
    world.access(0x12345, 4)
    world.calls()
    expect(world.access(0xffff0, 0x20)).toEqual(contents(0xffff0, 0x20))
    expect(world.calls()).toEqual(expected.calls)
    expect(world.notified()).toEqual(expected.notified)
    expect(world.mapped()).toEqual(expected.mapped)
  })

  it.each(MODES)('S13 in %s mode: a lock over the end of a bucket maps two in one', (_, mode) => {
    using world = new ForeignWorld(mode)
    world.populate(0x70000, 0x200)
    const pointer = world.lock(0x700fff80, 512)
    expect(world.calls()).toEqual(['fm(0x70000,512)'])
    expect(world.mapped()).toEqual(['(0x70000,512)'])
    expect(world.bytesAt(pointer, 512)).toEqual(contents(0x700fff80, 512))
    expect(world.lookup(pointer)).toBe(0x700fff80)
  })

  it.each(
    inEachMode({
      strict: {
        calls: ['fm(0x0,256)', 'um(256)', 'fm(0x800000,256)'],
        mapped: ['(0x800000,256)'],
      },
      default: {
        calls: ['fm(0x0,256)', 'fm(0x800000,256)'],
        mapped: ['(0x0,256)', '(0x800000,256)'],
      },
    }),
  )('S14 in %s mode: two buckets of one class, both unlocked', (_, { retention, expected }) => {
    using world = new ForeignWorld({ retention })
    world.populate(0)
    world.populate(0x800000)
    expect(world.access(0, 16)).toEqual(contents(0, 16))
    expect(world.access(0x800000000, 16)).toEqual(contents(0x800000000, 16))
    expect(world.calls()).toEqual(expected.calls)
    expect(world.mapped()).toEqual(expected.mapped)
  })

  it.each(MODES)(
    'S15 in %s mode: a locked bucket is found beside another of its class',
    (_, mode) => {
      using world = new ForeignWorld(mode)
      world.populate(0)
      world.populate(0x800000)
      const pointer = world.lock(0, 16)
      world.access(0x800000000, 16)
      expect(world.access(0x40, 16)).toEqual(contents(0x40, 16))
      expect(world.calls()).toEqual(['fm(0x0,256)', 'fm(0x800000,256)'])
      expect(world.mapped()).toEqual(['(0x0,256)', '(0x800000,256)'])
      // The access and the lock see the same page.
      world.viewAt(pointer, 0x40).setUint8(0, 0x5a)
      expect(world.access(0x40, 1)).toEqual(Uint8Array.of(0x5a))
    },
  )

  it.each(
    inEachMode({
      strict: {
        calls: ['um(256)', 'fm(0x1000000,256)'],
        mapped: ['(0x0,256)', '(0x1000000,256)'],
      },
      default: {
        calls: ['fm(0x1000000,256)'],
        mapped: ['(0x0,256)', '(0x800000,256)', '(0x1000000,256)'],
      },
    }),
  )('S16 in %s mode: a third bucket of the class', (_, { retention, expected }) => {
    using world = new ForeignWorld({ retention })
    for (const frame of [0, 0x800000, 0x1000000]) world.populate(frame)
    const pointer = world.lock(0, 16)
    world.access(0x800000000, 16)
    world.access(0x40, 16)
    world.calls()
    expect(world.access(0x1000000000, 16)).toEqual(contents(0x1000000000, 16))
    expect(world.calls()).toEqual(expected.calls)
    expect(world.mapped()).toEqual(expected.mapped)
    expect(world.bytesAt(pointer, 16)).toEqual(contents(0, 16))
  })

  it.each(MODES)('S17 in %s mode: size 0 tests exactly one page and maps one bucket', (_, mode) => {
    using world = new ForeignWorld(mode)
    world.populate(5, 1)
    const pointer = world.lock(0x5fff, 0)
    expect(world.calls()).toEqual(['fm(0x0,256) 255 bad'])
    expect(world.lookup(pointer)).toBe(0x5fff)
    expect(world.bytesAt(pointer, 1)).toEqual(contents(0x5fff, 1))
    expect(world.access(0x5fff, 1)).toEqual(contents(0x5fff, 1))
    expect(world.calls()).toEqual([])
    for (const address of [0x4fff, 0x6000]) {
      expect(() => world.lock(address, 0)).toThrow(failure('ERR_XMC_PAGES_MISSING'))
    }
  })
})
