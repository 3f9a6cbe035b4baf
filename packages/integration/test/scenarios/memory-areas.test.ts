import assert from 'node:assert/strict'
import { MemoryAreaAccount } from '@xmc/hostmem'
import { expect, it } from 'vitest'
import { failure } from '../helpers/failure.ts'
import { addForeignCache, ForeignWorld, frameOf } from '../helpers/foreign-world.ts'
import { GrantWorld } from '../helpers/grant-world.ts'
import { contents } from '../helpers/guest-contents.ts'
import { MODES } from '../helpers/modes.ts'
import type { Pointer } from '../helpers/world.ts'

const MIB = 2 ** 20
const KIB_64 = 2 ** 16
const SHORT = 'ERR_XMC_MEMORY_AREAS'

/** An account for the windows of one test, which knows of nobody else, and gives half of the limit. */
function account(limit: number): MemoryAreaAccount {
  return new MemoryAreaAccount({ limit, budget: limit / 2, measure: () => 0 })
}

/** Populates every other page of `buckets` buckets: each page is a memory area when it is mapped, and each gap. */
function populateEveryOther(world: ForeignWorld, buckets: number, bucketPages = 256): void {
  for (let frame = 0; frame < buckets * bucketPages; frame += 2) world.populate(frame, 1)
}

/** The pointer that was taken last. */
function last(pointers: readonly Pointer[]): Pointer {
  const pointer = pointers.at(-1)
  assert.ok(pointer !== undefined)
  return pointer
}

it.each(MODES)('in %s mode buckets with holes go by areas, and every byte is right', (_, mode) => {
  const areaAccount = account(8000)
  using world = new ForeignWorld({ ...mode, areaAccount })
  populateEveryOther(world, 12)
  for (let round = 0; round < 2; round++) {
    for (let bucket = 0; bucket < 12; bucket++) {
      expect(world.access(bucket * MIB, 16)).toEqual(contents(bucket * MIB, 16))
      const { memoryAreas, memoryAreaLimit } = world.cache.statistics
      expect(memoryAreaLimit).toBe(1000)
      expect(memoryAreas).toBeLessThanOrEqual(1000)
      expect(areaAccount.statistics.used).toBeLessThanOrEqual(4000)
    }
  }
  expect(world.cache.statistics.entries).toBeLessThan(12)
})

it('unmaps buckets with holes before those without', () => {
  using world = new ForeignWorld({ areaAccount: account(8000) })
  world.populate(100 * 256, 256)
  world.access(100 * MIB, 16)
  populateEveryOther(world, 12)
  for (let bucket = 0; bucket < 12; bucket++) world.access(bucket * MIB, 16)
  world.calls()
  expect(world.access(100 * MIB, 16)).toEqual(contents(100 * MIB, 16))
  expect(world.calls()).toEqual([])
  // The last one is there as well.
  world.access(11 * MIB, 16)
  expect(world.calls()).toEqual([])
})

it.each(MODES)(
  'in %s mode locked buckets that leave too few areas let others be mapped by page',
  (_, mode) => {
    using world = new ForeignWorld({ ...mode, areaAccount: account(8000) })
    populateEveryOther(world, 12)
    const pointers: Pointer[] = []
    for (let bucket = 0; bucket < 12; bucket++) {
      pointers.push(world.lock(bucket * MIB + 4096 * 2, 4096))
    }
    for (const [bucket, pointer] of pointers.entries()) {
      const address = bucket * MIB + 4096 * 2
      expect(world.lookup(pointer)).toBe(address)
      expect(world.bytesAt(pointer, 4096)).toEqual(contents(address, 4096))
      world.viewAt(pointer).setUint32(8, bucket)
      expect([...world.guestBytes(address + 8, 4)]).toEqual([0, 0, 0, bucket])
    }
    const { memoryAreas, areaShortages, lockedEntries } = world.cache.statistics
    expect(memoryAreas).toBeLessThanOrEqual(1000)
    expect(areaShortages).toBeGreaterThan(0)
    expect(lockedEntries).toBe(12)
    // Without a lock as well: what is read is not kept.
    expect(world.access(4 * MIB + 4096 * 4, 16)).toEqual(contents(4 * MIB + 4096 * 4, 16))
    expect(world.cache.loadUint8(frameOf(5 * MIB + 4096 * 4), 3)).toBe(
      contents(5 * MIB + 4096 * 4 + 3, 1)[0],
    )
    world.cache.storeUint8(frameOf(5 * MIB + 4096 * 4), 3, 0x77)
    expect([...world.guestBytes(5 * MIB + 4096 * 4 + 3, 1)]).toEqual([0x77])
    expect(() => world.access(4 * MIB + 4096 * 5, 16)).toThrow(failure('ERR_XMC_PAGES_MISSING'))
    expect(world.cache.statistics.lockedEntries).toBe(12)
    for (const pointer of pointers) world.release(pointer)
    expect(world.cache.statistics.locks).toBe(0)
  },
)

it.each(MODES)(
  'in %s mode areas that are locked make others wait, and releases end that',
  async (_, mode) => {
    using world = new ForeignWorld({ ...mode, areaAccount: account(800), bucketShift: 16 })
    populateEveryOther(world, 120, 16)
    const pointers: Pointer[] = []
    const fill = (): void => {
      for (let bucket = pointers.length; bucket < 120; bucket++) {
        pointers.push(world.lock(bucket * KIB_64, 16))
      }
    }
    expect(fill).toThrow(failure(SHORT, { shortage: 'passing', limit: 100 }))
    const locked = pointers.length
    expect(locked).toBeGreaterThan(5)
    expect(world.cache.statistics.memoryAreas).toBeLessThanOrEqual(100)
    await expect(world.cache.lockAsync(frameOf(locked * KIB_64), 0, 16, 0)).rejects.toMatchObject({
      code: SHORT,
      shortage: 'passing',
    })
    expect(() => world.access(locked * KIB_64, 16)).toThrow(failure(SHORT, { shortage: 'passing' }))
    world.release(last(pointers))
    pointers.pop()
    expect(fill).toThrow(failure(SHORT, { shortage: 'passing' }))
    expect(pointers).toHaveLength(locked)
    expect(world.bytesAt(last(pointers), 16)).toEqual(contents((locked - 1) * KIB_64, 16))
    for (const pointer of pointers) world.release(pointer)
  },
)

it('says that what never fits never fits, and names the option', () => {
  using world = new ForeignWorld({ memoryAreas: 20, areaAccount: account(8000) })
  populateEveryOther(world, 1)
  world.populate(1, 1)
  // A range of pages without a hole does fit.
  const pointer = world.lock(0, 8192)
  expect(world.bytesAt(pointer, 8192)).toEqual(contents(0, 8192))
  world.release(pointer)
  using small = new ForeignWorld({ memoryAreas: 1, areaAccount: account(8000) })
  small.populate(0, 256)
  const refusal = failure(SHORT, {
    shortage: 'lasting',
    limit: 1,
    option: 'the option memoryAreas of openWindow',
  })
  expect(() => small.lock(0, 16)).toThrow(refusal)
  expect(() => small.access(0, 16)).toThrow(refusal)
  expect(() => small.cache.mapList([frameOf(0)])).toThrow(refusal)
})

it('takes areas back from another cache of the process that keeps what nobody has locked', () => {
  const areaAccount = account(4000)
  using world = new ForeignWorld({ areaAccount, memoryAreas: 2000 })
  populateEveryOther(world, 12)
  const other = addForeignCache(world)
  for (let bucket = 0; bucket < 7; bucket++) world.access(bucket * MIB, 16)
  expect(world.cache.statistics.memoryAreas).toBeGreaterThan(1500)
  const bytes = new Uint8Array(16)
  for (let bucket = 6; bucket < 12; bucket++) {
    other.read(frameOf(bucket * MIB), 0, bytes)
    expect(bytes).toEqual(contents(bucket * MIB, 16))
    expect(areaAccount.statistics.used).toBeLessThanOrEqual(2000)
  }
  expect(other.statistics.entries).toBeGreaterThan(0)
  expect(world.cache.statistics.entries).toBeLessThan(7)
})

it('fills holes while areas are short', () => {
  using world = new ForeignWorld({ areaAccount: account(8000), memoryAreas: 300 })
  populateEveryOther(world, 2)
  const first = world.lock(0, 16)
  world.populate(1, 1)
  const second = world.lock(4096, 16)
  expect(world.bytesAt(second, 16)).toEqual(contents(4096, 16))
  expect(world.lookup(second)).toBe(4096)
  world.release(first)
  world.release(second)
})

it('holds single granted pages, read-only and writable in turn, within the areas', async () => {
  const areaAccount = account(800)
  using world = new GrantWorld({ references: 200, areaAccount })
  const mappings = []
  let refused: unknown
  for (let reference = 10; refused === undefined && reference < 200; reference++) {
    try {
      const address = (1n << 63n) + BigInt(reference) * 4096n
      mappings.push(world.map(address, 16, { write: reference % 2 === 0 }))
    } catch (error) {
      refused = error
    }
  }
  expect(refused).toMatchObject({ code: SHORT, shortage: 'passing', limit: 100 })
  expect(mappings.length).toBeGreaterThan(90)
  expect(areaAccount.statistics.used).toBeLessThanOrEqual(400)
  const address = (1n << 63n) + 199n * 4096n
  expect(() => world.map(address, 16)).toThrow(failure(SHORT))
  mappings.pop()?.release()
  using mapping = world.map(address, 16)
  expect(mapping.length).toBe(16)
  for (const held of mappings) held.release()
})
