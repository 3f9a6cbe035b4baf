import { LOCK_WRITE, MapCacheGroup } from '@xmc/core'
import { guestFrame } from '@xmc/interface'
import { describe, expect, it } from 'vitest'
import { answerInvalidations } from '../helpers/device-model.ts'
import { failure } from '../helpers/failure.ts'
import { addForeignCache, ForeignWorld } from '../helpers/foreign-world.ts'
import { GrantWorld } from '../helpers/grant-world.ts'
import { contents } from '../helpers/guest-contents.ts'
import { MODES } from '../helpers/modes.ts'
import { Trace } from '../helpers/trace.ts'

describe('full invalidation', () => {
  it.each(MODES)('S36 in %s mode: every unlocked mapping goes, chained or not', async (_, mode) => {
    using world = new ForeignWorld(mode)
    for (const frame of [0, 0x800000, 0x300]) world.populate(frame)
    const locked = world.lock(0, 16, LOCK_WRITE)
    world.access(0x800000000, 16)
    world.access(0x300000, 16)
    expect(world.mapped()).toEqual(['(0x0,256)', '(0x800000,256)', '(0x300,256)'])
    world.calls()
    expect(await world.cache.invalidateAll()).toEqual({
      unmapped: 2,
      retired: 1,
      lockedDma: [],
      drainFailures: [],
      unmapFailures: [],
    })
    expect(world.calls()).toEqual(['um(256)', 'um(256)'])
    expect(world.mapped()).toEqual(['(0x0,256)'])
    expect(world.bytesAt(locked, 16)).toEqual(contents(0, 16))
    expect(world.access(0x300000, 16)).toEqual(contents(0x300000, 16))
    expect(world.calls()).toEqual(['fm(0x300,256)'])
    world.release(locked)
    expect(world.mapped()).toEqual(['(0x300,256)'])
  })

  it.each(MODES)(
    'S36 in %s mode: memory that was ballooned out is not seen again',
    async (_, mode) => {
      using world = new ForeignWorld(mode)
      for (const frame of [0, 0x800000]) world.populate(frame)
      const locked = world.lock(0, 16)
      world.access(0x800000000, 16)
      world.guest.depopulate(0x800000, 256)
      await world.cache.invalidateAll()
      expect(() => world.access(0x800000000, 16)).toThrow(failure('ERR_XMC_PAGES_MISSING'))
      expect(world.lookup(locked)).toBe(0)
    },
  )

  it.each(MODES)('S37 in %s mode: a lock for DMA is warned of, and stays', async (_, mode) => {
    using world = new ForeignWorld(mode)
    using warnings = new Trace('xen_invalidate_map_cache')
    world.populate(0x300)
    const pointer = world.lock(0x305123, 16)
    world.calls()
    const { lockedDma, unmapped, retired } = await world.cache.invalidateAll()
    expect({ unmapped, retired }).toEqual({ unmapped: 0, retired: 1 })
    expect(lockedDma).toEqual([
      { page: 0x305, ...pointer, locks: 1, holder: 'unnamed', stacks: [] },
    ])
    expect(warnings.messages).toEqual([
      { cache: 'foreign', page: 0x305, ...pointer, user: 'unnamed' },
    ])
    expect(world.calls()).toEqual([])
    expect(world.mapped()).toEqual(['(0x300,256)'])
    world.viewAt(pointer).setUint8(0, 0x5a)
    expect(world.guestBytes(0x305123, 1)).toEqual(Uint8Array.of(0x5a))
    world.release(pointer)
    expect(world.mapped()).toEqual([])
  })

  it('S38 an invalidation that Xen asks for drops foreign memory and leaves grants alone', async () => {
    using world = new GrantWorld()
    world.populate(0x300)
    const foreign = addForeignCache(world)
    const group = new MapCacheGroup<typeof foreign | typeof world.cache>([foreign, world.cache])
    using model = answerInvalidations(world.hypervisor, world.guest, () => group.invalidateAll())
    const read = world.map(0x8000_0000_0000_7000n, 16)
    const write = world.map(0x8000_0000_0000_8000n, 0x1000, { write: true, dma: true })
    foreign.loadUint8(guestFrame(0x300), 0)
    expect(world.mapped()).toEqual(['[7]r', '[8]rw', '(0x300,256)'])
    world.calls()
    const { searchSteps } = world.cache.statistics
    world.guest.depopulate(0x3ff)
    expect(await model.answered).toMatchObject([
      { unmapped: 1, retired: 0, lockedDma: [] },
      { unmapped: 0, retired: 0, lockedDma: [] },
    ])
    expect(world.calls()).toEqual(['um(256)'])
    expect(world.mapped()).toEqual(['[7]r', '[8]rw'])
    expect(world.cache.statistics.searchSteps).toBe(searchSteps)
    expect(read.copy()).toEqual(contents(0x40007000, 16))
    write.writeUint8(0, 0x5a)
    expect(world.guestBytes(0x40008000, 1)).toEqual(Uint8Array.of(0x5a))
  })

  it.each(MODES)(
    'S39 in %s mode: users are drained before anything is unmapped',
    async (_, mode) => {
      using world = new ForeignWorld(mode)
      world.populate(0)
      const pointer = world.lock(0x5000, 16)
      world.access(0x6000, 16)
      world.calls()
      const seenByDrain: string[][] = []
      world.cache.registerUser({
        name: 'disk',
        async drain() {
          await new Promise((resolve) => {
            setImmediate(resolve)
          })
          seenByDrain.push(world.calls(), world.mapped())
          // The transfer under way ends, and gives its lock back.
          world.release(pointer)
          world.calls()
        },
      })
      const { lockedDma, drainFailures, retired } = await world.cache.invalidateAll()
      expect(seenByDrain).toEqual([[], ['(0x0,256)']])
      expect({ lockedDma, drainFailures, retired }).toEqual({
        lockedDma: [],
        drainFailures: [],
        retired: 0,
      })
      expect(world.mapped()).toEqual([])
    },
  )

  it.each(MODES)(
    'S40 in %s mode: listeners are told of every mapping that goes',
    async (_, mode) => {
      using world = new ForeignWorld(mode)
      for (const frame of [0, 0x800000, 0x300]) world.populate(frame)
      const locked = world.lock(0, 16)
      world.access(0x800000000, 16)
      world.access(0x300000, 16)
      expect(world.notified()).toEqual(['add(256)', 'add(256)', 'add(256)'])
      await world.cache.invalidateAll()
      expect(world.notified()).toEqual(['remove(256)', 'remove(256)'])
      world.release(locked)
      expect(world.notified()).toEqual(['remove(256)'])
      expect(world.notifier.present).toBe(0)
    },
  )
})
