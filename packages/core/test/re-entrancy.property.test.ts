import assert from 'node:assert/strict'
import diagnostics from 'node:diagnostics_channel'
import { LOCK_DMA, LOCK_WRITE, MapCache } from '@xmc/core'
import { type WindowPage, XmcError } from '@xmc/interface'
import fc from 'fast-check'
import { describe, expect, it, vi } from 'vitest'
import { propertyRuns } from '../../../vitest.properties.ts'
import { GuestDouble, HOLE, type TestPage, testPage } from './doubles/guest-double.ts'
import { ListenerDouble } from './doubles/listener-double.ts'
import { settle } from './doubles/set-up.ts'

const BUCKET = 4
const SLOTS = 4
/** Calls from calls from calls: what a listener does in what a listener does. */
const DEEPEST = 3

const page = fc.integer({ min: 0, max: 6 * BUCKET - 1 })
const act = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constantFrom('lock' as const, 'lockAsync' as const),
      page,
      offset: fc.constantFrom(0, 8),
      length: fc.constantFrom(1, 4096, 2 * BUCKET * 4096),
      flags: fc.constantFrom(0, LOCK_WRITE, LOCK_DMA),
    }),
  },
  { weight: 3, arbitrary: page.map((at) => ({ kind: 'load' as const, page: at })) },
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constantFrom('unlock' as const, 'unlockAsync' as const),
      nth: fc.nat(100),
    }),
  },
  {
    weight: 2,
    arbitrary: fc
      .uniqueArray(page, { minLength: 1, maxLength: 5 })
      .map((pages) => ({ kind: 'list' as const, pages })),
  },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant('replace' as const), from: fc.nat(5), to: fc.nat(5) }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constantFrom('punch' as const, 'populate' as const),
      page,
    }),
  },
  {
    weight: 5,
    arbitrary: fc.constantFrom(
      { kind: 'flush' as const },
      { kind: 'invalidateAll' as const },
      { kind: 'failUnmap' as const },
      { kind: 'arriving' as const },
      { kind: 'listen' as const },
      { kind: 'settle' as const },
    ),
  },
)
const close = fc.constantFrom({ kind: 'close' as const }, { kind: 'force' as const })
type Act = typeof act extends fc.Arbitrary<infer T> ? T : never
type Close = typeof close extends fc.Arbitrary<infer T> ? T : never

/** What somebody does who is told of something, and whether what fails in that is thrown on. */
const reaction = fc.record({
  act: fc.oneof({ weight: 60, arbitrary: act }, { weight: 1, arbitrary: close }),
  throws: fc.boolean(),
})
type Reaction = typeof reaction extends fc.Arbitrary<infer T> ? T : never

const kind = fc.record({
  pinned: fc.boolean(),
  access: fc.constantFrom('read-write' as const, 'as-requested' as const),
  keep: fc.constantFrom(undefined, 1, 100),
})

/** Channels whose messages come in the middle of something. */
const CHANNELS = [
  'xen_map_cache',
  'xen_map_cache_return',
  'xen_remap_bucket',
  'xen_invalidate_map_cache_entry_unlocked_not_found',
  'xen_invalidate_map_cache_entry_unlocked_found',
  'xen_invalidate_map_cache',
  'xen_replace_cache_entry_dummy',
  'xmc_unmap_failed',
] as const

interface Lock {
  readonly place: WindowPage
  readonly offset: number
}

/** A cache whose listeners, subscribers and users call it, and what must be true of it at any time. */
class World {
  readonly double: GuestDouble
  readonly cache: MapCache<TestPage, GuestDouble>
  readonly locks: Lock[] = []
  readonly underWay: Set<Promise<void>> = new Set()
  readonly unexpected: unknown[] = []
  private readonly balances: ListenerDouble[] = []
  private readonly reactions: Reaction[]
  private depth = 0
  /** Pages may be given as zeros. */
  private mayBeZeros = false

  constructor(made: typeof kind extends fc.Arbitrary<infer T> ? T : never, reactions: Reaction[]) {
    this.reactions = [...reactions]
    const { pinned, access, keep } = made
    this.double = new GuestDouble({
      windowPages: SLOTS * BUCKET,
      bucketShift: 14,
      pinned,
      access,
    })
    this.double.beforeMap = settle
    this.double.beforeUnmap = settle
    this.cache = new MapCache({
      backend: this.double,
      quarantineBytes: 0,
      retention:
        keep === undefined
          ? { kind: 'at-once' }
          : { kind: 'keep', budgetBytes: keep * BUCKET * 4096 },
    })
    for (let nth = 0; nth < 2; nth++) this.listen()
    const drain = (): void => this.react(true)
    this.cache.registerUser({ name: 'user', drain })
    for (const name of CHANNELS) diagnostics.subscribe(name, this.subscriber)
  }

  readonly subscriber = (): void => {
    this.react(false)
  }

  dispose(): void {
    for (const name of CHANNELS) diagnostics.unsubscribe(name, this.subscriber)
  }

  private listen(): void {
    const balance = new ListenerDouble()
    this.balances.push(balance)
    try {
      this.cache.addRamListener({
        added: (place, pageCount) => {
          balance.added(place, pageCount)
          this.react(true)
        },
        removed: (place, pageCount) => {
          balance.removed(place, pageCount)
          this.react(true)
        },
      })
    } catch (error) {
      // It was not added, and is told of nothing any more.
      this.balances.splice(this.balances.indexOf(balance), 1)
      throw error
    }
  }

  /** Does the next reaction, if there is one and this is not too deep. */
  private react(mayThrow: boolean): void {
    if (this.depth >= DEEPEST) return
    const next = this.reactions.shift()
    if (next === undefined) return
    try {
      this.act(next.act)
    } catch (error) {
      this.note(error)
      if (mayThrow && next.throws) throw error
    }
  }

  /** Does one thing; asynchronous things go on. */
  act(action: Act | Close): void {
    this.depth++
    try {
      this.doIt(action)
    } finally {
      this.depth--
    }
  }

  /** Notes an error that nobody may meet. */
  note(error: unknown): void {
    if (!(error instanceof XmcError) || error.code === 'ERR_XMC_NOT_LOCKED') {
      this.unexpected.push(error)
    }
  }

  private doIt(action: Act | Close): void {
    const { cache, double } = this
    switch (action.kind) {
      case 'lock': {
        const { page: first, offset, length, flags } = action
        const place = cache.lock(testPage(first), offset, length, flags)
        this.locks.push({ place, offset })
        break
      }
      case 'lockAsync': {
        const { page: first, offset, length, flags } = action
        this.start(async () => {
          const place = await cache.lockAsync(testPage(first), offset, length, flags)
          this.locks.push({ place, offset })
        })
        break
      }
      case 'load':
        cache.loadUint8(testPage(action.page), 0)
        break
      case 'unlock': {
        const [lock] = this.locks.splice(action.nth % Math.max(1, this.locks.length), 1)
        if (lock !== undefined && !cache.closed) cache.unlock(lock.place, lock.offset)
        break
      }
      case 'unlockAsync': {
        const [lock] = this.locks.splice(action.nth % Math.max(1, this.locks.length), 1)
        if (lock === undefined || cache.closed) break
        this.start(async () => cache.unlockAsync(lock.place, lock.offset))
        break
      }
      case 'list': {
        const mapping = cache.mapList(action.pages.map(testPage))
        if (mapping.released) break
        const { windowPage: place, offset } = mapping.pointer()
        this.locks.push({ place, offset })
        break
      }
      case 'replace':
        this.mayBeZeros = true
        cache.replace(testPage(action.from * BUCKET), testPage(action.to * BUCKET), BUCKET)
        break
      case 'punch':
        double.punch(action.page, 1)
        break
      case 'populate':
        double.populate(action.page, 1)
        break
      case 'flush':
        cache.flush()
        break
      case 'invalidateAll':
        this.start(async () => {
          await cache.invalidateAll()
        })
        break
      case 'failUnmap':
        double.failNextUnmap = true
        break
      case 'arriving':
        this.mayBeZeros = true
        cache.guestArriving = !cache.guestArriving
        break
      case 'listen':
        this.listen()
        break
      case 'settle':
        break
      case 'close':
        cache.close()
        break
      case 'force':
        cache.close({ force: true })
        break
    }
  }

  private start(run: () => Promise<void>): void {
    const ended = run()
      .catch((error: unknown) => {
        this.note(error)
      })
      .then(() => void this.underWay.delete(ended))
    this.underWay.add(ended)
  }

  /** Checks what must be true whenever no call is being made. */
  check(): void {
    const { cache, double } = this
    assert.deepEqual(double.misuse, [])
    assert.deepEqual(this.unexpected, [])
    const { entries, locks } = cache.statistics
    for (const { unbalanced, present } of this.balances) {
      assert.equal(unbalanced, 0)
      assert.equal(present.size, entries)
    }
    if (cache.closed) {
      assert.equal(locks, 0)
      return
    }
    if (this.underWay.size === 0) assert.equal(locks, this.locks.length)
    else assert.ok(locks >= this.locks.length)
    for (const { place } of this.locks) {
      const mapped = double.mapped.get(place)
      const content = cache.view.getUint32(place * 4096, true)
      if (mapped === undefined || mapped === HOLE) assert.ok(this.mayBeZeros && content === 0)
      else {
        assert.equal(mapped, cache.pageOf(place))
        assert.equal(content, mapped)
      }
    }
  }

  /** Ends everything: nothing is left then, and the window is free. */
  async end(): Promise<void> {
    const { cache, double } = this
    this.reactions.splice(0)
    while (this.underWay.size > 0) await Promise.all(this.underWay)
    double.failNextUnmap = false
    this.check()
    const { holds, callsUnderWay } = cache.statistics
    assert.deepEqual([holds, callsUnderWay], [0, 0])
    if (!cache.closed) {
      for (const { place, offset } of this.locks.splice(0)) cache.unlock(place, offset)
      this.check()
    }
    await cache.closeAsync()
    assert.deepEqual([...double.mapped], [])
    const { entries, mappedPages, lostPages, locks } = cache.statistics
    assert.deepEqual([entries, mappedPages, lostPages, locks], [0, 0, 0, 0])
    assert.equal(double.window.holds, 0)
    new MapCache({ backend: double }).close()
    assert.deepEqual(double.misuse, [])
  }
}

describe('MapCache', () => {
  it('is right whatever its listeners, subscribers and users do with it, whenever they are told', async () => {
    const warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
    try {
      const steps = fc.array(act, { maxLength: 30, size: 'max' })
      const reactions = fc.array(reaction, { maxLength: 30, size: 'max' })
      await fc.assert(
        fc.asyncProperty(kind, steps, reactions, async (made, actions, told) => {
          const world = new World(made, told)
          try {
            for (const action of actions) {
              try {
                world.act(action)
              } catch (error) {
                world.note(error)
              }
              world.check()
              if (action.kind === 'settle') await settle()
            }
            await world.end()
            expect(world.unexpected).toEqual([])
          } finally {
            world.dispose()
          }
        }),
        propertyRuns(150, 10_000),
      )
    } finally {
      warn.mockRestore()
    }
  })
})
