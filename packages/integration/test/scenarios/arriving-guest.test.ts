import { grantReference } from '@xmc/interface'
import { describe, expect, it } from 'vitest'
import { failure } from '../helpers/failure.ts'
import { ForeignWorld, frameOf } from '../helpers/foreign-world.ts'
import { GrantWorld } from '../helpers/grant-world.ts'
import { contents } from '../helpers/guest-contents.ts'
import { inEachMode, MODES } from '../helpers/modes.ts'
import type { Pointer } from '../helpers/world.ts'

const MEBIBYTES_16 = 0x1000000

/** The start of S42: a guest that is still arriving, and a dummy for 16 MiB of its memory. */
function makeDummy(world: ForeignWorld): Pointer {
  world.cache.guestArriving = true
  return world.lock(0x40000000, MEBIBYTES_16)
}

/** The start of S43: the memory arrived elsewhere, and took the dummy's place. */
function replaceDummy(world: ForeignWorld): Pointer {
  const pointer = makeDummy(world)
  world.populate(0xf0000, 4096)
  world.calls()
  world.notified()
  world.cache.replace(frameOf(0x40000000), frameOf(0xf0000000), 4096)
  return pointer
}

describe('a guest that arrives by migration', () => {
  it.each(MODES)('S41 in %s mode: memory that is not there yet is a locked dummy', (_, mode) => {
    using world = new ForeignWorld(mode)
    const pointer = makeDummy(world)
    expect(world.calls()).toEqual(['fm(0x40000,4096) 4096 bad', 'um(4096)'])
    expect(world.mapped()).toEqual([])
    expect(world.cache.statistics).toMatchObject({ locks: 1, entries: 1, mappedPages: 4096 })
    expect(world.notifier.present).toBe(1)
    expect(world.lookup(pointer)).toBe(0x40000000)
    // Every page of it is there, reads as zeros and can be written.
    const zeros = new Uint8Array(MEBIBYTES_16)
    expect(Buffer.compare(world.bytesAt(pointer, MEBIBYTES_16), zeros)).toBe(0)
    world.viewAt(pointer, MEBIBYTES_16 - 1).setUint8(0, 0x5a)
    expect(world.viewAt(pointer, MEBIBYTES_16 - 1).getUint8(0)).toBe(0x5a)
  })

  it.each(MODES)(
    'S42 in %s mode: the memory takes the dummy’s place under its pointer',
    (_, mode) => {
      using world = new ForeignWorld(mode)
      const pointer = makeDummy(world)
      world.populate(0xf0000, 4096)
      world.calls()
      world.notified()
      const windowPage = world.cache.replace(frameOf(0x40000000), frameOf(0xf0000000), 4096)
      expect(world.calls()).toEqual(['fm(0xf0000,4096)'])
      expect(windowPage).toBe(pointer.windowPage)
      expect(world.onlyMapping()).toEqual(pointer)
      expect(world.notified()).toEqual([])
      expect(world.cache.statistics).toMatchObject({ locks: 1, entries: 1, mappedPages: 4096 })
      const arrived = contents(0xf0000000, MEBIBYTES_16)
      expect(Buffer.compare(world.bytesAt(pointer, MEBIBYTES_16), arrived)).toBe(0)
      world.viewAt(pointer).setUint8(0, 0x5a)
      expect(world.guestBytes(0xf0000000, 1)).toEqual(Uint8Array.of(0x5a))
    },
  )

  it.each(
    inEachMode({
      strict: { release: ['um(4096)'], mapped: [], notified: ['remove(4096)'] },
      default: { release: [], mapped: ['(0xf0000,4096)'], notified: [] },
    }),
  )(
    'S43 in %s mode: a replaced pointer has the new address, and its release is known',
    (_, mode) => {
      using world = new ForeignWorld(mode)
      const pointer = replaceDummy(world)
      world.calls()
      expect(world.lookup(pointer)).toBe(0xf0000000)
      world.release(pointer)
      expect(world.calls()).toEqual(mode.expected.release)
      expect(world.mapped()).toEqual(mode.expected.mapped)
      expect(world.notified()).toEqual(mode.expected.notified)
      expect(() => world.release(pointer)).toThrow(failure('ERR_XMC_NOT_LOCKED'))
      world.cache.flush()
      expect(world.mapped()).toEqual([])
    },
  )

  it.each(
    inEachMode({
      // As in the original, a bucket with missing pages is mapped anew, elsewhere.
      strict: { calls: ['fm(0x300,256)'], notified: ['add(256)'], stored: 0 },
      default: { calls: ['fm(0x301,1)'], notified: [], stored: 0x5a },
    }),
  )(
    'in %s mode: a bucket whose own replacement fails shows zeros, and is mapped again',
    (_, mode) => {
      using world = new ForeignWorld(mode)
      world.populate(0)
      world.populate(0x300)
      const pointer = world.lock(0x1000, 0)
      world.cache.replace(frameOf(0x1000), frameOf(0x301000), 1)
      expect(world.bytesAt(pointer, 4096)).toEqual(contents(0x301000, 4096))
      world.calls()
      world.notified()
      world.hypervisor.faults.fail({ site: 'foreign.map', errno: 'ENOMEM' })
      expect(() => world.cache.replace(frameOf(0x301000), frameOf(0x301000), 1)).toThrow(
        failure('ERR_XMC_FOREIGN_MAP', { errnoName: 'ENOMEM' }),
      )
      expect(world.calls()).toEqual(['fm(0x300,256) ENOMEM'])
      expect(world.mapped()).toEqual([])
      expect(world.bytesAt(pointer, 4096)).toEqual(new Uint8Array(4096))
      expect(world.lookup(pointer)).toBe(0x301000)
      // An access maps what is not mapped any more, and does not read the zeros.
      expect(world.access(0x301000, 4096)).toEqual(contents(0x301000, 4096))
      expect(world.calls()).toEqual(mode.expected.calls)
      world.viewAt(pointer).setUint8(0, 0x5a)
      expect(world.guestBytes(0x301000, 1)).toEqual(Uint8Array.of(mode.expected.stored))
      expect(world.notified()).toEqual(mode.expected.notified)
      world.cache.replace(frameOf(0x301000), frameOf(0x301000), 1)
      expect(world.bytesAt(pointer, 4096)).toEqual(world.guestBytes(0x301000, 4096))
      world.release(pointer)
    },
  )

  it('S44 there is nothing to replace: an unmapped address, no pages, a grant', () => {
    using world = new ForeignWorld()
    using grants = new GrantWorld()
    world.populate(0xf0000)
    const [from, to] = [frameOf(0x40000000), frameOf(0xf0000000)]
    expect(() => world.cache.replace(from, to, 256)).toThrow(failure('ERR_XMC_NOT_MAPPED'))
    expect(() => world.cache.replace(from, to, 0)).toThrow(
      failure('ERR_XMC_ARGUMENT', { field: 'pageCount' }),
    )
    expect(world.calls()).toEqual([])
    const mapping = grants.map(0x8000_0000_0000_7000n, 16)
    grants.calls()
    expect(() => grants.cache.replace(grantReference(7), grantReference(8), 1)).toThrow(
      failure('ERR_XMC_REFUSED'),
    )
    expect(grants.calls()).toEqual([])
    expect(mapping.copy()).toEqual(contents(0x40007000, 16))
  })

  it.each(
    inEachMode({
      // As in the original, the bucket of the first try stays, without a valid page.
      strict: { calls: ['fm(0x40000,256) 256 bad', 'fm(0xf0000,256)'], entries: 2 },
      default: { calls: ['fm(0x40000,256) 256 bad', 'um(256)', 'fm(0xf0000,256)'], entries: 1 },
    }),
  )('S45 in %s mode: an address that is translated is tried once more', (_, mode) => {
    const asked: [number, number][] = []
    using world = new ForeignWorld({
      retention: mode.retention,
      translate(page, pageCount) {
        asked.push([page, pageCount])
        return page - 0x40000 + 0xf0000
      },
    })
    world.populate(0xf0000)
    const pointer = world.lock(0x40000000, 16)
    expect(world.calls()).toEqual(mode.expected.calls)
    expect(asked).toEqual([[0x40000, 1]])
    expect(world.mapped()).toEqual(['(0xf0000,256)'])
    expect(world.cache.statistics).toMatchObject({
      entries: mode.expected.entries,
      lockedEntries: 1,
      locks: 1,
    })
    expect(world.lookup(pointer)).toBe(0xf0000000)
    expect(world.bytesAt(pointer, 16)).toEqual(contents(0xf0000000, 16))
  })

  it.each(
    inEachMode({
      strict: {
        calls: ['fm(0x40000,256) 256 bad', 'fm(0xf0000,256) 256 bad', 'um(256)'],
        entries: 2,
      },
      default: {
        calls: ['fm(0x40000,256) 256 bad', 'um(256)', 'fm(0xf0000,256) 256 bad', 'um(256)'],
        entries: 1,
      },
    }),
  )('S46 in %s mode: a translation that does not help is followed by a dummy', (_, mode) => {
    let asked = 0
    using world = new ForeignWorld({
      retention: mode.retention,
      translate(page) {
        asked++
        return page - 0x40000 + 0xf0000
      },
    })
    world.cache.guestArriving = true
    const pointer = world.lock(0x40000000, 16)
    expect(asked).toBe(1)
    expect(world.calls()).toEqual(mode.expected.calls)
    expect(world.mapped()).toEqual([])
    expect(world.cache.statistics).toMatchObject({
      entries: mode.expected.entries,
      lockedEntries: 1,
      locks: 1,
    })
    expect(world.lookup(pointer)).toBe(0xf0000000)
    expect(world.bytesAt(pointer, 16)).toEqual(new Uint8Array(16))
    world.viewAt(pointer).setUint8(0, 0x5a)
    expect(world.bytesAt(pointer, 1)).toEqual(Uint8Array.of(0x5a))
  })
})
