import { windowPage } from '@xmc/interface'
import { describe, expect, it } from 'vitest'
import { failure } from '../helpers/failure.ts'
import { STRICT } from '../helpers/modes.ts'
import { frame, MuseumWorld, reference } from './museum-world.ts'

const missing = failure('ERR_XMC_PAGES_MISSING')

describe('M14 the last byte is there, and no byte after it,', () => {
  it('of a bucket: a range up to its end maps no other', () => {
    using world = new MuseumWorld()
    world.guest.populate(0, 48)
    const cache = world.foreignCache(STRICT)
    cache.map(frame(15), 4095, 1).release()
    cache.map(frame(14), 0, 8192).release()
    cache.map(frame(0), 0, 65_536).release()
    expect(world.calls()).toEqual(Array.from({ length: 3 }, () => ['fm(0x0,16)', 'um(16)']).flat())
    cache.map(frame(15), 4095, 2).release()
    expect(world.calls()).toEqual(['fm(0x0,32)', 'um(32)'])
  })

  it('of the window', () => {
    using world = new MuseumWorld()
    world.guest.populate(0, 48)
    world.guest.memory.writeUint8(0x1_ffff, 77)
    const cache = world.foreignCache({ pageCount: 32 })
    const { window } = cache.backend
    expect(cache.lock(frame(0), 0, 65_536, 0)).toBe(0)
    expect(cache.lock(frame(31), 4095, 1, 0)).toBe(31)
    expect(cache.view.byteLength).toBe(131_072)
    expect(cache.view.getUint8(131_071)).toBe(77)
    expect(() => cache.view.getUint8(131_072)).toThrow(RangeError)
    const last = new Uint8Array(window.buffer, window.byteOffset + 131_071, 1)
    expect(cache.addressOf(last)).toBe(0x1_ffffn)
    const after = new Uint8Array(window.buffer, window.byteOffset + 131_072, 1)
    expect(() => cache.addressOf(after)).toThrow(failure('ERR_XMC_WRONG_CACHE'))
    expect(() => cache.lock(frame(32), 0, 1, 0)).toThrow(failure('ERR_XMC_WINDOW_FULL'))
    expect(() => window.reset(windowPage(31), 2)).toThrow(
      failure('ERR_XMC_ARGUMENT', { field: 'pageCount' }),
    )
    expect(() => window.reset(windowPage(32), 1)).toThrow(
      failure('ERR_XMC_ARGUMENT', { field: 'page' }),
    )
  })

  it('of RAM, in the middle of a bucket', () => {
    using world = new MuseumWorld()
    world.guest.populate(0, 25)
    world.guest.memory.writeUint32(0x1_8ffc, 0x1a57_b17e)
    const cache = world.foreignCache()
    const mapping = cache.map(frame(24), 0, 4096)
    expect(mapping.readUint32(4092)).toBe(0x1a57_b17e)
    expect(mapping.readUint8(4095)).toBe(0x1a)
    for (const offset of [4096, 4093]) {
      expect(() => mapping.readUint32(offset)).toThrow(
        failure('ERR_XMC_ARGUMENT', { field: 'offset' }),
      )
    }
    expect(cache.loadUint8(frame(24), 4095)).toBe(0x1a)
    expect(() => cache.loadUint16(frame(24), 4095)).toThrow(missing)
    expect(() => cache.map(frame(24), 4095, 2)).toThrow(missing)
    expect(() => cache.map(frame(25), 0, 1)).toThrow(missing)
  })

  it('of the grant table', () => {
    using world = new MuseumWorld()
    world.guest.populate(0x40, 1)
    const { grants } = world.guest
    grants.grow(64)
    expect(grants.size).toBe(32_768)
    grants.allow(32_767, { to: 0, frame: 0x40 })
    world.guest.memory.writeUint8(0x4_0fff, 99)
    const cache = world.grantCache()
    const mapping = cache.map(reference(32_767), 4095, 1)
    expect(mapping.readUint8(0)).toBe(99)
    expect(() => mapping.readUint8(1)).toThrow(failure('ERR_XMC_ARGUMENT', { field: 'offset' }))
    expect(world.calls()).toEqual(['gm[32767]r'])
    for (const length of [2, 4097]) {
      expect(() => cache.map(reference(32_767), 4095, length)).toThrow(
        failure('ERR_XMC_GRANT_MAP', { failedReference: 32_768, status: -3 }),
      )
    }
    expect(cache.statistics).toMatchObject({ entries: 1, mappedPages: 1 })
  })

  it('of all frames and of all references, with one answer and before any call', () => {
    using world = new MuseumWorld()
    const refused = failure('ERR_XMC_ARGUMENT')
    const foreign = world.foreignCache()
    const grants = world.grantCache()
    const strict = world.foreignCache(STRICT)
    const target = new Uint8Array(4097).fill(0xee)
    for (const cache of [foreign, strict]) {
      const last = frame(2 ** 52 - 1)
      expect(() => cache.lock(last, 4095, 2, 0)).toThrow(refused)
      expect(() => cache.loadUint32(last, 4093)).toThrow(refused)
      expect(() => cache.read(last, 0, target)).toThrow(refused)
    }
    const last = reference(2 ** 32 - 1)
    expect(() => grants.lock(last, 4095, 2, 0)).toThrow(refused)
    expect(() => grants.loadUint32(last, 4093)).toThrow(refused)
    expect(() => grants.read(last, 0, target)).toThrow(refused)
    expect(target).toEqual(new Uint8Array(4097).fill(0xee))
    expect(world.calls()).toEqual([])
    expect(() => foreign.loadUint8(frame(2 ** 52 - 1), 4095)).toThrow(missing)
    expect(world.calls()).toEqual(['fm(0xffffffffffff0,16) 16 bad', 'um(16)'])
  })
})
