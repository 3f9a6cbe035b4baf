import assert from 'node:assert/strict'
import { PagesMissingError } from '@xmc/core'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { type TestPage, testPage } from './doubles/guest-double.ts'
import { type CacheOptions, type SetUp, setUp } from './doubles/set-up.ts'

const refused = expect.objectContaining({ code: 'ERR_XMC_PAGES_MISSING' })

/** Buckets of 16 pages. */
const BUCKET = { bucketShift: 16, windowPages: 16 * 64 }

function setUpHoles(options: CacheOptions = {}): SetUp {
  return setUp(BUCKET, options)
}

/** Reads each page of `count` buckets; gives the pages that are missing. */
function pass({ cache }: SetUp, buckets: number): number[] {
  const missing: number[] = []
  const bytes = new Uint8Array(4096)
  for (let page = 0; page < buckets * 16; page++) {
    try {
      cache.read(testPage(page), 0, bytes)
      expect(new DataView(bytes.buffer).getUint32(0, true)).toBe(page)
    } catch (error) {
      assert.ok(error instanceof PagesMissingError && error.page === page && error.errno === 22)
      missing.push(page)
    }
  }
  return missing
}

function mapCalls({ double }: SetUp): string[] {
  return double.log.splice(0).filter((line) => line.startsWith('map'))
}

/** Every third page. */
function thirds(buckets: number): number[] {
  return Array.from({ length: Math.ceil((buckets * 16) / 3) }, (_, nth) => nth * 3)
}

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['performance'] })
})

afterEach(() => {
  vi.useRealTimers()
})

describe('a pass over memory with holes', () => {
  it('asks for a bucket once, whether its pages are missing here and there or all', () => {
    const world = setUpHoles()
    for (const page of thirds(20)) world.double.punch(page, 1)
    world.double.punch(5 * 16, 32)
    const expected = [...new Set([...thirds(20), ...Array.from({ length: 32 }, (_, n) => 80 + n)])]
    expected.sort((a, b) => a - b)
    expect(pass(world, 20)).toEqual(expected)
    expect(mapCalls(world)).toHaveLength(20)
    expect(world.cache.statistics.missingRemembered).toBe(120)
  })

  it('asks for a bucket once in every further pass, at once or later', () => {
    const world = setUpHoles()
    for (const page of thirds(20)) world.double.punch(page, 1)
    pass(world, 20)
    mapCalls(world)
    expect(pass(world, 20)).toEqual(thirds(20))
    expect(mapCalls(world).length).toBeLessThanOrEqual(24)
    vi.advanceTimersByTime(90)
    pass(world, 20)
    mapCalls(world)
    vi.advanceTimersByTime(90)
    expect(pass(world, 20)).toEqual(thirds(20))
    expect(mapCalls(world).length).toBeLessThanOrEqual(24)
    expect(world.double.misuse).toEqual([])
  })

  it('finds what has come, at the latest in the pass after', () => {
    const world = setUpHoles()
    for (const page of thirds(4)) world.double.punch(page, 1)
    pass(world, 4)
    world.double.populate(0, 33)
    expect(pass(world, 4)).toEqual(thirds(4).filter((page) => page >= 33))
  })

  it('serves locks of the pages that are there without a call', () => {
    const world = setUpHoles()
    for (const page of thirds(20)) world.double.punch(page, 1)
    pass(world, 20)
    mapCalls(world)
    for (let page = 1; page < 320; page += 3) {
      // Ranges over the end of a bucket are mappings of their own.
      const length = page % 16 === 15 ? 4096 : 8192
      const place = world.cache.lock(testPage(page), 0, length, 0)
      expect(world.cache.pageOf(place)).toBe(page)
      world.cache.unlock(place, 0)
    }
    expect(mapCalls(world)).toEqual([])
  })
})

/** Page 3 is missing and has been read for nothing, so that a pass is under way; page 7 is missing, too. */
function duringPass(
  options: CacheOptions = {},
): SetUp & { readonly read: (page: TestPage) => void } {
  const world = setUpHoles(options)
  world.double.punch(3, 1)
  world.double.punch(7, 1)
  const bytes = new Uint8Array(4096)
  const read = (page: TestPage): void => world.cache.read(page, 0, bytes)
  expect(() => read(testPage(3))).toThrow(refused)
  mapCalls(world)
  world.double.populate(0, 16)
  return { ...world, read }
}

describe('a page that came meanwhile', () => {
  it('is refused once in a pass, and then asked for', () => {
    const { read, ...world } = duringPass()
    expect(() => read(testPage(7))).toThrow(refused)
    expect(mapCalls(world)).toEqual([])
    read(testPage(7))
    expect(mapCalls(world)).toEqual(['map 7+1 rw'])
  })

  it('is found by the access after one that was refused', () => {
    const { read, ...world } = duringPass()
    read(testPage(3))
    expect(mapCalls(world)).toEqual(['map 3+1 rw'])
  })

  it('is found by a lock, which always asks', () => {
    const world = duringPass()
    world.cache.unlock(world.cache.lock(testPage(7), 0, 16, 0), 0)
    expect(mapCalls(world)).toEqual(['map 7+1 rw'])
  })

  it('is found by an asynchronous lock', async () => {
    const world = duringPass()
    const place = await world.cache.lockAsync(testPage(7), 0, 16, 0)
    expect(world.cache.pageOf(place)).toBe(7)
  })

  it('is found after a full invalidation', async () => {
    const { read, ...world } = duringPass()
    await world.cache.invalidateAll()
    read(testPage(7))
    expect(mapCalls(world)).toEqual(['map 0+16 rw'])
  })

  it('is found after the time, and before it ends is not', () => {
    const { read } = duringPass()
    vi.advanceTimersByTime(99)
    expect(() => read(testPage(7))).toThrow(refused)
    const later = duringPass()
    vi.advanceTimersByTime(100)
    later.read(testPage(7))
    const longer = duringPass({ rememberMissingMilliseconds: 5000 })
    vi.advanceTimersByTime(4999)
    expect(() => longer.read(testPage(7))).toThrow(refused)
  })

  it('is found at once where nothing is to be remembered', () => {
    const { read } = duringPass({ rememberMissingMilliseconds: 0 })
    expect(() => read(testPage(7))).not.toThrow()
  })

  it('is found at once where no access was refused before', () => {
    const world = setUpHoles()
    world.double.punch(7, 1)
    world.cache.read(testPage(0), 0, new Uint8Array(16))
    world.double.populate(7, 1)
    world.cache.read(testPage(7), 0, new Uint8Array(16))
    expect(mapCalls(world)).toEqual(['map 0+16 rw', 'map 7+1 rw'])
  })

  it('is asked for where it was paged out', () => {
    const world = setUpHoles()
    world.double.punch(3, 1)
    world.double.punch(7, 1, 2)
    const bytes = new Uint8Array(16)
    expect(() => world.cache.read(testPage(3), 0, bytes)).toThrow(refused)
    world.double.populate(7, 1)
    expect(() => world.cache.read(testPage(7), 0, bytes)).not.toThrow()
  })

  it('is a dummy while the guest is arriving', () => {
    const { read, ...world } = duringPass()
    world.double.punch(7, 1)
    world.cache.guestArriving = true
    read(testPage(7))
    expect(mapCalls(world)).toEqual(['map 7+1 rw'])
  })
})

it('who waits for one page asks for that page alone', () => {
  const world = setUpHoles()
  world.double.punch(3, 1)
  world.double.punch(9, 1)
  const bytes = new Uint8Array(16)
  for (let round = 0; round < 5; round++) {
    expect(() => world.cache.read(testPage(3), 0, bytes)).toThrow(refused)
  }
  expect(mapCalls(world)).toEqual(['map 0+16 rw', ...Array.from({ length: 4 }, () => 'map 3+1 rw')])
})

it('a bucket that somebody has locked is not given up for a pass', () => {
  const world = setUpHoles()
  for (const page of thirds(2)) world.double.punch(page, 1)
  const place = world.cache.lock(testPage(1), 0, 16, 0)
  for (let round = 0; round < 3; round++) {
    expect(pass(world, 2)).toEqual(thirds(2))
    vi.advanceTimersByTime(60)
  }
  expect(world.cache.pageOf(place)).toBe(1)
  world.cache.unlock(place, 0)
  expect(world.double.misuse).toEqual([])
})

it.each([-1, Number.NaN, 2 ** 31])('refuses to remember for %s milliseconds', (value) => {
  expect(() => setUpHoles({ rememberMissingMilliseconds: value })).toThrow(
    expect.objectContaining({ code: 'ERR_XMC_ARGUMENT', field: 'rememberMissingMilliseconds' }),
  )
})

it('holds no more than a million pages', () => {
  const world = setUp({ bucketShift: 28, windowPages: 2 ** 16 })
  for (let bucket = 0; bucket < 20; bucket++) {
    const page = testPage(bucket * 2 ** 16)
    world.double.missing.set(page, 22)
    // The double is not asked for all pages of such buckets.
    world.double.mapAt = (_windowPage, _pages, _writable, errors) => {
      errors.fill(22)
    }
    world.double.unmapAt = () => {}
    expect(() => world.cache.loadUint8(page, 0)).toThrow(refused)
  }
  expect(world.cache.statistics.mapCalls).toBe(20)
})
