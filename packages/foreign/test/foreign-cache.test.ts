import { constants } from 'node:os'
import { domainId, guestFrame, SystemCallError } from '@xmc/interface'
import { describe, expect, test } from 'vitest'
import { createForeignCache, type ForeignCacheOptions } from '../src/index.ts'
import { ScriptedForeignMemory } from './doubles/foreign-memory.ts'
import { plainWindow } from './doubles/window.ts'

const { EINVAL, ENOENT, ESRCH } = constants.errno

function setUp(options: Partial<ForeignCacheOptions> = {}) {
  const memory = new ScriptedForeignMemory()
  const cache = createForeignCache({
    memory,
    domain: domainId(3),
    window: plainWindow(),
    quarantineBytes: 0,
    ...options,
  })
  return { memory, cache }
}

function frames(first: number, count: number): readonly number[] {
  return Array.from({ length: count }, (_, index) => first + index)
}

describe('createForeignCache', () => {
  test('S9 maps the 1 MiB bucket around an access, and serves the next from it', () => {
    const { memory, cache } = setUp()
    cache.loadUint32(guestFrame(0x12), 0x345)
    cache.loadUint32(guestFrame(0x30), 0)
    expect(memory.calls).toEqual([{ map: frames(0, 256), at: 0, writable: true }])
    expect(cache.backend.domain).toBe(3)
    expect(cache.name).toBe('foreign')
  })

  test('keeps a bucket when its last lock goes, and unmaps it whole on close', () => {
    const { memory, cache } = setUp()
    cache.map(guestFrame(5), 0, 16).release()
    cache.map(guestFrame(5), 0, 16).release()
    expect(memory.calls).toHaveLength(1)
    cache.close()
    expect(memory.calls[1]).toEqual({ unmap: 256, at: 0 })
  })

  test('passes the options of the cache on: name, retention', () => {
    const { memory, cache } = setUp({ name: 'guest ram', retention: { kind: 'at-once' } })
    expect(cache.name).toBe('guest ram')
    cache.map(guestFrame(5), 0, 16).release()
    expect(memory.calls).toEqual([
      { map: frames(0, 256), at: 0, writable: true },
      { unmap: 256, at: 0 },
    ])
  })

  test('S45 passes the translation on: one retry at the translated frame', () => {
    const { memory, cache } = setUp({ translate: (frame) => frame + 0xb0000 })
    for (const frame of frames(0x40000, 256)) memory.frameErrors.set(frame, -EINVAL)
    cache.map(guestFrame(0x40000), 0, 16)
    expect(memory.calls.flatMap((call) => ('map' in call ? [call.map[0]] : []))).toEqual([
      0x40000, 0xf0000,
    ])
  })

  test('buckets can be smaller, and mappings read-only', () => {
    const { memory, cache } = setUp({ bucketShift: 16, access: 'as-requested' })
    cache.map(guestFrame(17), 0, 1)
    cache.map(guestFrame(17), 0, 1, { write: true })
    expect(memory.calls).toEqual([
      { map: frames(16, 16), at: 0, writable: false },
      { map: frames(16, 16), at: 16, writable: true },
    ])
  })

  test('a read-only cache refuses a writable mapping', () => {
    const { memory, cache } = setUp({ access: 'read-only' })
    expect(() => cache.map(guestFrame(1), 0, 1, { write: true })).toThrow(
      expect.objectContaining({ code: 'ERR_XMC_READ_ONLY' }),
    )
    cache.map(guestFrame(1), 0, 1)
    expect(memory.calls).toEqual([{ map: frames(0, 256), at: 0, writable: false }])
  })

  test('S21 S22 a hole is ERR_XMC_PAGES_MISSING with a positive errno, its neighbours map', () => {
    const { memory, cache } = setUp()
    memory.frameErrors.set(16, -EINVAL)
    expect(() => cache.map(guestFrame(16), 0, 1)).toThrow(
      expect.objectContaining({ code: 'ERR_XMC_PAGES_MISSING', page: 16, errnoName: 'EINVAL' }),
    )
    expect(cache.map(guestFrame(17), 0, 1).length).toBe(1)
  })

  test('a paged-out frame is ERR_XMC_PAGED_OUT', () => {
    const { memory, cache } = setUp()
    memory.frameErrors.set(3, -ENOENT)
    expect(() => cache.map(guestFrame(3), 0, 1)).toThrow(
      expect.objectContaining({ code: 'ERR_XMC_PAGED_OUT', page: 3 }),
    )
  })

  test('a refused domain is ERR_XMC_FOREIGN_MAP, and leaves nothing in the cache', async () => {
    const { memory, cache } = setUp()
    memory.refusal = new SystemCallError('privcmd mmapbatch', ESRCH, 'domain 3')
    const refused = expect.objectContaining({ code: 'ERR_XMC_FOREIGN_MAP', errnoName: 'ESRCH' })
    expect(() => cache.map(guestFrame(3), 0, 1)).toThrow(refused)
    await expect(cache.mapAsync(guestFrame(3), 0, 1)).rejects.toEqual(refused)
    expect(cache.statistics).toMatchObject({ entries: 0, mappedPages: 0 })
    memory.refusal = undefined
    expect(cache.map(guestFrame(3), 0, 1).length).toBe(1)
  })

  const whole = { memory: new ScriptedForeignMemory(), domain: domainId(3), window: plainWindow() }
  test.each([
    [undefined, 'options'],
    [{ ...whole, memory: undefined }, 'memory'],
    [{ ...whole, memory: {} }, 'memory'],
    [{ ...whole, window: undefined }, 'window'],
    [{ ...whole, domain: undefined }, 'domain id'],
    [{ ...whole, bucketshift: 12 }, 'bucketshift'],
    [{ ...whole, retention: { kind: 'keep', budgetbytes: 4096 } }, 'budgetbytes'],
  ])('refuses %o, as a program in JavaScript may give it', (options, field) => {
    expect(() => Reflect.apply(createForeignCache, undefined, [options])).toThrow(
      expect.objectContaining({ code: 'ERR_XMC_ARGUMENT', field }),
    )
  })

  test('names the options that there are', () => {
    expect(() => Reflect.apply(createForeignCache, undefined, [{ ...whole, windwo: 1 }])).toThrow(
      'windwo: expected one of the options of createForeignCache (memory, domain, window, bucketShift, access, ' +
        'name, retention, quarantineBytes, translate, rememberMissingMilliseconds, leakTracking), got 1',
    )
  })

  test('says which frame is meant where an address is given', () => {
    const { memory, cache } = setUp()
    memory.frameErrors.set(0x4000_1010, -EINVAL)
    expect(() => cache.map(guestFrame(0x4000_1010), 0, 1)).toThrow(
      'foreign: page 0x40001010 cannot be mapped (EINVAL): the guest has no memory there, or is gone ' +
        '(if 0x40001010 is an address, its page is 0x40001)',
    )
    memory.refusal = new SystemCallError('privcmd mmapbatch', EINVAL, 'domain 3')
    expect(() => cache.map(guestFrame(0x5000_1000), 0, 1)).toThrow(
      'frames from frame 0x50001000 (if 0x50001000 is an address, its page is 0x50001) could not be mapped',
    )
    expect(() => Reflect.apply(guestFrame, undefined, [0x4000_1010n])).toThrow(
      'guest frame: expected an integer from 0 to 2^52 - 1, which is a guest address / 4096, got 1073745936n',
    )
  })
})
