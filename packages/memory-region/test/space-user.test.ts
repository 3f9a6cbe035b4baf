import { once } from 'node:events'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { propertyRuns } from '../../../vitest.properties.ts'
import { AddressSpace, RamRegion, type SpaceUser } from '../src/index.ts'
import { caught } from './doubles/caught.ts'
import { PagedMemory } from './doubles/paged-memory.ts'

/** Memory in a window of 4096 pages, in slots of `pagesPerSlot` pages. */
class SlottedMemory extends PagedMemory {
  readonly pagesPerSlot: number

  constructor(pagesPerSlot: number) {
    super('slotted')
    this.pagesPerSlot = pagesPerSlot
  }
}

/** A space with `users` users over a window of 4096 / `pagesPerSlot` slots. */
function spaceFor(users: number, options: { pagesPerSlot?: number; share?: number } = {}) {
  const memory = new SlottedMemory(options.pagesPerSlot ?? 256)
  const root = new RamRegion({ name: 'ram', size: 4096n * 4096n, backing: memory })
  const space = new AddressSpace({ root, guaranteedShare: options.share })
  const all = Array.from({ length: users }, (_, nth) => space.registerUser({ name: `disk ${nth}` }))
  const user = (nth: number): SpaceUser => {
    const found = all[nth]
    if (found === undefined) throw new RangeError(`no user ${nth}`)
    return found
  }
  return { memory, space, users: all, user }
}

/** Maps a page in each slot from `first` on until it is refused; gives the number of slots and the error. */
function fill(user: SpaceUser, first: number, pagesPerSlot = 256) {
  for (let slot = first; ; slot++) {
    const error = caught(() => user.map(slot * pagesPerSlot, 0, 4096, true))
    if (error !== undefined) return { slots: slot - first, error }
    if (slot * pagesPerSlot + pagesPerSlot > 4095) return { slots: slot - first + 1, error }
  }
}

describe('users of an address space', () => {
  test('one that maps all it can leaves the others what they are guaranteed', () => {
    const { memory, users, user } = spaceFor(2)
    const [greedy, quiet] = [user(0), user(1)]
    // 16 slots, of which half is divided: 4 for each.
    const { slots, error } = fill(greedy, 0)
    expect(slots).toBe(12)
    expect(error).toMatchObject({
      code: 'ERR_XMC_SHARE',
      shortage: 'passing',
      user: 'disk 0',
      backing: 'slotted',
      needed: 1,
      used: 12,
      guaranteed: 4,
      message:
        'disk 0: 1 more slots in the window of slotted would leave others less than the 4 that each is guaranteed: it has 12, and 12 at most: wait with awaitRoom(), or make the window larger',
    })
    expect(memory.log).toHaveLength(12)
    expect(fill(quiet, 12)).toMatchObject({ slots: 4, error: undefined })
    expect(users.map(({ shares }) => shares)).toEqual([
      [
        {
          backing: 'slotted',
          pagesPerSlot: 256,
          slots: 16,
          guaranteed: 4,
          used: 12,
          most: 12,
          refused: 1,
        },
      ],
      [
        {
          backing: 'slotted',
          pagesPerSlot: 256,
          slots: 16,
          guaranteed: 4,
          used: 4,
          most: 4,
          refused: 0,
        },
      ],
    ])
  })

  test('what one gives back is there for others', () => {
    const { user } = spaceFor(2)
    const [greedy, other] = [user(0), user(1)]
    const first = greedy.map(0, 0, 4096, true)
    fill(greedy, 1)
    fill(other, 12)
    expect(caught(() => other.map(0, 0, 4096, true))).toMatchObject({
      code: 'ERR_XMC_SHARE',
      used: 4,
    })
    first.release(0)
    other.map(0, 0, 4096, true).release(0)
    expect(other.shares[0]).toMatchObject({ used: 4, most: 5, refused: 1 })
  })

  test('one that is alone may have everything', () => {
    const { user } = spaceFor(1)
    expect(fill(user(0), 0)).toEqual({ slots: 16, error: undefined })
    expect(user(0).shares[0]).toMatchObject({ guaranteed: 0, used: 16 })
  })

  test('with a share of 0 whoever comes first may have everything', () => {
    const { user } = spaceFor(2, { share: 0 })
    expect(fill(user(0), 0)).toEqual({ slots: 16, error: undefined })
  })

  test('a share that is no part of the whole is refused', () => {
    for (const share of [-0.1, 1.1, Number.NaN]) {
      expect(caught(() => spaceFor(1, { share }))).toMatchObject({
        code: 'ERR_XMC_ARGUMENT',
        field: 'guaranteedShare',
      })
    }
  })

  test('many mappings at one slot count once', () => {
    const { user } = spaceFor(2)
    const mappings = Array.from({ length: 1000 }, (_, nth) =>
      user(0).map(nth % 256, nth % 8, 16, nth % 2 === 0),
    )
    expect(user(0).shares[0]).toMatchObject({ used: 1, most: 1 })
    for (const mapping of mappings) mapping.release(0)
    expect(user(0).shares[0]).toMatchObject({ used: 0, most: 1 })
  })

  test('a mapping over several slots counts each', () => {
    const { user } = spaceFor(2, { pagesPerSlot: 1 })
    const mapping = user(0).map(0, 1, 4096 * 3, true)
    expect(user(0).shares[0]).toMatchObject({ used: 4, guaranteed: 1024, slots: 4096 })
    mapping.release(0)
    expect(user(0).shares[0]).toMatchObject({ used: 0 })
  })

  test('one that could never fit is refused lastingly', () => {
    // Two slots of 2048 pages, one for each.
    const { user } = spaceFor(2, { pagesPerSlot: 2048, share: 1 })
    expect(user(0).map(0, 0, 2 ** 20, true).length).toBe(2 ** 20)
    expect(caught(() => user(0).map(2048 - 1, 0, 8192, true))).toMatchObject({
      code: 'ERR_XMC_SHARE',
      shortage: 'lasting',
      needed: 2,
      guaranteed: 1,
    })
  })

  test('a range of more than 1 MiB is cut at a multiple of it, a shorter one is not', async () => {
    const { memory, user } = spaceFor(2)
    expect(user(0).map(0, 0, 4 * 2 ** 20, true).length).toBe(2 ** 20)
    expect(user(0).map(255, 8, 2 ** 20 + 1, true).length).toBe(4088)
    expect((await user(0).mapAsync(300, 16, 2 ** 31, false)).length).toBe(212 * 4096 - 16)
    expect(user(0).map(200, 0, 2 ** 20, true).length).toBe(2 ** 20)
    expect(memory.log).toHaveLength(4)
    expect(caught(() => user(0).map(5000, 0, 2 ** 21, true))).toMatchObject({
      code: 'ERR_XMC_UNASSIGNED',
    })
  })

  test('maps under way count, and those that failed do not', async () => {
    const { memory, user } = spaceFor(2)
    const gate = new AbortController()
    memory.gate = once(gate.signal, 'abort')
    const coming = Array.from({ length: 12 }, (_, slot) =>
      user(0).mapAsync(slot * 256, 0, 16, true),
    )
    await expect(user(0).mapAsync(12 * 256, 0, 16, true)).rejects.toMatchObject({
      code: 'ERR_XMC_SHARE',
    })
    memory.missing.add(0)
    const outcomes = Promise.allSettled(coming)
    gate.abort()
    expect((await outcomes).filter(({ status }) => status === 'fulfilled')).toHaveLength(11)
    expect(user(0).shares[0]).toMatchObject({ used: 11, most: 11, refused: 1 })
    memory.refusal = new Error('no')
    expect(caught(() => user(0).map(0, 0, 16, true))).toBe(memory.refusal)
    expect(user(0).shares[0]).toMatchObject({ used: 11 })
  })

  test('one that comes later gets its share as slots come free, one that goes leaves its own', () => {
    const { space, user } = spaceFor(1)
    const first = user(0)
    const held = Array.from({ length: 16 }, (_, slot) => first.map(slot * 256, 0, 16, true))
    const late = space.registerUser({ name: 'late' })
    expect(space.users.map(({ name }) => name)).toEqual(['disk 0', 'late'])
    expect(caught(() => late.map(0, 0, 16, true))).toBeUndefined()
    expect(late.shares[0]).toMatchObject({ guaranteed: 4, used: 1 })
    expect(caught(() => late.close())).toMatchObject({ code: 'ERR_XMC_BUSY' })
    held[0]?.release(0)
    expect(caught(() => first.map(0, 0, 16, true))).toMatchObject({ code: 'ERR_XMC_SHARE' })
    const other = space.registerUser({ name: 'other' })
    other.close()
    expect(space.users).toHaveLength(2)
    expect(other.shares).toEqual([])
  })

  test('memory without a window, plain access and bounce buffers are not counted', () => {
    const root = new RamRegion({ name: 'ram', size: 4096n * 4096n, backing: new PagedMemory() })
    const space = new AddressSpace({ root })
    const user = space.registerUser({ name: 'disk 0' })
    const mapping = user.map(1, 0, 4, true)
    user.write(1, 0, Uint8Array.of(1, 2))
    const target = new Uint8Array(2)
    user.read(1, 0, target)
    expect([...target]).toEqual([1, 2])
    expect(user.shares).toEqual([])
    expect(user.awaitRoom(() => {})).toBeTypeOf('function')
    mapping.release(4)
    space.close()
  })

  test('whatever others do, each gets what it is guaranteed, and all is given back', () => {
    const step = fc.record({
      who: fc.nat(2),
      page: fc.nat(15 * 256),
      slots: fc.integer({ min: 1, max: 3 }),
      release: fc.boolean(),
    })
    fc.assert(
      fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
        const { users, user } = spaceFor(3)
        const held = [0, 1, 2].map((): { release(accessed: number): void }[] => [])
        for (const { who, page, slots, release } of steps) {
          if (release) {
            held[who]?.shift()?.release(0)
            continue
          }
          const before = user(who).shares[0]?.used ?? 0
          const pages = Math.min(slots * 200, 4096 - page)
          const needed = Math.floor((page + pages - 1) / 256) - Math.floor(page / 256) + 1
          const map = () => user(who).map(page, 0, pages * 4096, true)
          const error = caught(() => held[who]?.push(map()))
          // 16 slots, half of them for three users: 2 for each.
          expect(before + needed <= 2 ? error : undefined).toBeUndefined()
          const used = users.map(({ shares }) => shares[0]?.used ?? 0)
          const kept = used.reduce((sum, count) => sum + Math.max(count, 2), 0)
          expect(kept).toBeLessThanOrEqual(16)
        }
        for (const mappings of held) for (const mapping of mappings) mapping.release(0)
        for (const { shares } of users) expect(shares[0]?.used ?? 0).toBe(0)
      }),
      propertyRuns(100),
    )
  })
})
