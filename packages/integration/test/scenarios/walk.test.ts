import { describe, expect, it } from 'vitest'
import { failure } from '../helpers/failure.ts'
import { ForeignWorld } from '../helpers/foreign-world.ts'
import { contents } from '../helpers/guest-contents.ts'
import { inEachMode } from '../helpers/modes.ts'
import type { Pointer } from '../helpers/world.ts'

/** The start of S18: two locked buckets of one class, the one that was mapped first is released. */
function afterRelease(world: ForeignWorld): Pointer {
  world.populate(0)
  world.populate(0x800000)
  const a = world.lock(0x800000000, 16)
  const y = world.lock(0x5000, 16)
  world.release(a)
  return y
}

describe('the walk of 2025', () => {
  it.each(
    inEachMode({
      strict: {
        before: ['fm(0x800000,256)', 'fm(0x0,256)', 'um(256)'],
        mapped: ['(0x0,256)'],
      },
      default: {
        before: ['fm(0x800000,256)', 'fm(0x0,256)'],
        mapped: ['(0x800000,256)', '(0x0,256)'],
      },
    }),
  )('S18 in %s mode: a mapping behind an emptied place is found, not mapped twice', (_, mode) => {
    using world = new ForeignWorld(mode)
    const y = afterRelease(world)
    expect(world.calls()).toEqual(mode.expected.before)
    expect(world.access(0x5000, 16)).toEqual(contents(0x5000, 16))
    expect(world.calls()).toEqual([])
    expect(world.mapped()).toEqual(mode.expected.mapped)
    world.viewAt(y).setUint8(0, 0x5a)
    expect(world.access(0x5000, 1)).toEqual(Uint8Array.of(0x5a))
  })

  it.each(
    inEachMode({
      strict: { release: ['um(256)'], mapped: [], flush: [] },
      default: {
        release: [],
        mapped: ['(0x800000,256)', '(0x0,256)'],
        flush: ['um(256)', 'um(256)'],
      },
    }),
  )('S19 in %s mode: the release of that mapping takes back one lock, once', (_, mode) => {
    using world = new ForeignWorld(mode)
    const y = afterRelease(world)
    world.access(0x5000, 16)
    world.calls()
    world.release(y)
    expect(world.calls()).toEqual(mode.expected.release)
    expect(world.mapped()).toEqual(mode.expected.mapped)
    expect(world.cache.statistics.locks).toBe(0)
    expect(() => world.release(y)).toThrow(failure('ERR_XMC_NOT_LOCKED'))
    expect(world.cache.statistics.locks).toBe(0)
    world.cache.flush()
    expect(world.calls()).toEqual(mode.expected.flush)
    expect(world.mapped()).toEqual([])
  })

  it.each(
    inEachMode({
      strict: {
        before: ['(0x800000,256)', '(0x1000000,256)'],
        after: ['(0x800000,256)', '(0x1000000,256)', '(0x1800000,256)'],
      },
      default: {
        before: ['(0x0,256)', '(0x800000,256)', '(0x1000000,256)'],
        after: ['(0x0,256)', '(0x800000,256)', '(0x1000000,256)', '(0x1800000,256)'],
      },
    }),
  )('S20 in %s mode: a new bucket takes the emptied place, not an unlocked one', (_, mode) => {
    using world = new ForeignWorld(mode)
    for (const frame of [0, 0x800000, 0x1000000, 0x1800000]) world.populate(frame)
    const head = world.lock(0, 16)
    const x = world.lock(0x800000000, 16)
    world.access(0x1000000000, 16)
    world.release(head)
    expect(world.mapped()).toEqual(mode.expected.before)
    world.calls()
    expect(world.access(0x1800000000, 16)).toEqual(contents(0x1800000000, 16))
    expect(world.calls()).toEqual(['fm(0x1800000,256)'])
    expect(world.mapped()).toEqual(mode.expected.after)
    expect(world.bytesAt(x, 16)).toEqual(contents(0x800000000, 16))
  })
})
