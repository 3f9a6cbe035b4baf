import { WindowFullError } from '@xmc/core/errors'
import { XmcError } from '@xmc/interface'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { caught } from './doubles/caught.ts'
import { machine } from './doubles/machine.ts'

const WINDOW_FULL = new XmcError('ERR_XMC_WINDOW_FULL', 'full', { shortage: 'passing' })
const MAP_TRACK = new XmcError('ERR_XMC_GRANT_MAP', 'no map-track', { shortage: 'passing' })
/** Nothing that time would end. */
const MISSING = new XmcError('ERR_XMC_PAGES_MISSING', 'no page')

beforeEach(() => {
  vi.useFakeTimers({
    toFake: ['setTimeout', 'clearTimeout', 'setImmediate', 'clearImmediate', 'performance'],
  })
})
afterEach(() => {
  vi.useRealTimers()
})

/** A space that has just refused a map for `refusal`, with a transfer under way. */
function refused(refusal: Error, transfers = 1) {
  const all = machine({ bounceBudget: 16 })
  const held = Array.from({ length: transfers }, (_, i) => all.space.map(0x40001 + i, 0, 16, true))
  all.memory.refusal = refusal
  expect(caught(() => all.space.map(0x40009, 0, 16, false))).toBe(refusal)
  const calls: string[] = []
  const wait = (name: string) => all.space.awaitRoom(() => calls.push(name))
  return { ...all, held, calls, wait }
}

interface Waits {
  awaitRoom(client: () => void): (() => void) | undefined
}

/** Waits again whenever it is called, until waiting does not help; gives the times of all that, in ms. */
function looksOf(space: Waits): number[] {
  const start = performance.now()
  const times: number[] = []
  const look = (): void => {
    times.push(Math.round(performance.now() - start))
    space.awaitRoom(look)
  }
  look()
  vi.advanceTimersByTime(20_000)
  return times
}

/** Whether it waits for longer than it would where nothing is held. */
function waitsForLong(space: Waits): boolean {
  return looksOf(space).length > 9
}

describe('awaitRoom', () => {
  test('calls once, in a later turn, after a release', () => {
    const { held, calls, wait } = refused(WINDOW_FULL)
    expect(wait('a')).toBeTypeOf('function')
    held[0]?.release(0)
    expect(calls).toEqual([])
    vi.advanceTimersByTime(1)
    expect(calls).toEqual(['a'])
    vi.advanceTimersByTime(10_000)
    expect(calls).toEqual(['a'])
  })

  test('calls those who wait in their order, and not one that gave up', () => {
    const { held, calls, wait } = refused(WINDOW_FULL)
    wait('a')
    const giveUp = wait('b')
    wait('c')
    giveUp?.()
    held[0]?.release(0)
    vi.advanceTimersByTime(1)
    expect(calls).toEqual(['a', 'c'])
  })

  test('one that gives another up while it is called keeps it from being called', () => {
    const { held, space, calls, wait } = refused(WINDOW_FULL)
    let giveUp: (() => void) | undefined
    space.awaitRoom(() => {
      calls.push('a')
      giveUp?.()
    })
    giveUp = wait('b')
    held[0]?.release(0)
    vi.advanceTimersByTime(1)
    expect(calls).toEqual(['a'])
  })

  test('one that waits again while it is called is called by the next release', () => {
    const { held, space, calls } = refused(WINDOW_FULL, 2)
    const again = (): void => {
      calls.push('again')
      space.awaitRoom(again)
    }
    space.awaitRoom(again)
    held[0]?.release(0)
    vi.advanceTimersByTime(1)
    expect(calls).toEqual(['again'])
    held[1]?.release(0)
    vi.advanceTimersByTime(1)
    expect(calls).toEqual(['again', 'again'])
  })

  test('releases that follow each other closely call once a millisecond', () => {
    const { held, space, calls } = refused(WINDOW_FULL, 10)
    const again = (): void => {
      calls.push('again')
      space.awaitRoom(again)
    }
    space.awaitRoom(again)
    for (const mapping of held) {
      mapping.release(0)
      vi.advanceTimersByTime(0.1)
    }
    expect(calls.length).toBeLessThanOrEqual(2)
  })

  test('calls when bounce bytes are given back', () => {
    const { space, calls, wait } = refused(WINDOW_FULL, 0)
    const bounced = space.map(0x2000, 0, 16, true)
    expect(caught(() => space.map(0x2000, 16, 16, true))).toMatchObject({
      code: 'ERR_XMC_BOUNCE_BUDGET',
      shortage: 'passing',
    })
    wait('a')
    bounced.release(0)
    vi.advanceTimersByTime(1)
    expect(calls).toEqual(['a'])
  })

  test('says that waiting does not help where nothing is held, after looks for 70 ms', () => {
    const { space } = refused(WINDOW_FULL, 0)
    expect(looksOf(space)).toEqual([0, 10, 30, 70])
    // The next request has as much time.
    expect(looksOf(space)).toEqual([0, 10, 30, 70])
  })

  test('calls those who wait one after the other where nothing is held', () => {
    const { space, calls } = refused(WINDOW_FULL, 0)
    const users = ['a', 'b', 'c'].map((name) => space.registerUser({ name }))
    for (const user of users) user.awaitRoom(() => calls.push(user.name))
    vi.advanceTimersByTime(15)
    expect(calls).toEqual(['a'])
    vi.advanceTimersByTime(20)
    expect(calls).toEqual(['a', 'b', 'c'])
    expect(vi.getTimerCount()).toBe(0)
  })

  test('gives everybody who waits looks of their own', () => {
    const { space } = refused(WINDOW_FULL, 0)
    const users = ['a', 'b'].map((name) => space.registerUser({ name }))
    expect(users.map(looksOf)).toEqual([
      [0, 10, 30, 70],
      [0, 10, 30, 70],
    ])
  })

  test('begins to count anew when something is held', () => {
    const { memory, space } = refused(WINDOW_FULL, 0)
    for (let look = 0; look < 3; look++) expect(space.awaitRoom(() => {})).toBeTypeOf('function')
    memory.refusal = undefined
    const held = space.map(0x40003, 0, 16, true)
    expect(space.awaitRoom(() => {})).toBeTypeOf('function')
    held.release(0)
    for (let look = 0; look < 3; look++) expect(space.awaitRoom(() => {})).toBeTypeOf('function')
    expect(space.awaitRoom(() => {})).toBeUndefined()
  })

  test('and when the last look was long ago', () => {
    const { space } = refused(WINDOW_FULL, 0)
    for (let look = 0; look < 3; look++) expect(space.awaitRoom(() => {})).toBeTypeOf('function')
    vi.advanceTimersByTime(5000)
    expect(space.awaitRoom(() => {})).toBeTypeOf('function')
  })

  test('says so where only what is kept for long is held: rings, and mappings that say so', () => {
    const { memory, space, held } = refused(WINDOW_FULL)
    memory.refusal = undefined
    const ring = space.openRing(0x40002, 0, 64, true)
    expect(waitsForLong(space)).toBe(true)
    held[0]?.keep()
    held[0]?.keep()
    expect(waitsForLong(space)).toBe(false)
    held[0]?.release(0)
    expect(waitsForLong(space)).toBe(false)
    ring.close()
    space.map(0x40003, 0, 16, true)
    expect(waitsForLong(space)).toBe(true)
  })

  test('a bounce buffer that is kept does not count either', () => {
    const { space } = refused(WINDOW_FULL, 0)
    const bounced = space.map(0x2000, 0, 4, true)
    expect(waitsForLong(space)).toBe(true)
    bounced.keep()
    bounced.keep()
    expect(waitsForLong(space)).toBe(false)
    bounced.release(0)
    space.map(0x2000, 0, 4, true)
    expect(waitsForLong(space)).toBe(true)
  })

  test('a map that takes time counts as held from its start', async () => {
    const { memory, space } = refused(WINDOW_FULL, 0)
    memory.refusal = undefined
    const coming = space.mapAsync(0x40003, 0, 16, true)
    expect(waitsForLong(space)).toBe(true)
    const mapping = await coming
    mapping.release(0)
  })

  test('room outside the process is looked for after 10 ms, and longer each time, up to a second', () => {
    const { space, held } = refused(MAP_TRACK)
    const start = performance.now()
    const times: number[] = []
    const look = (): void => {
      times.push(Math.round(performance.now() - start))
      if (times.length < 9) space.awaitRoom(look)
    }
    space.awaitRoom(look)
    vi.advanceTimersByTime(60_000)
    expect(times).toEqual([10, 30, 70, 150, 310, 630, 1270, 2270, 3270])
    held[0]?.release(0)
  })

  test('and during 2.55 s where nothing is held', () => {
    const { space } = refused(MAP_TRACK, 0)
    const looks = looksOf(space)
    expect(looks).toEqual([0, 10, 30, 70, 150, 310, 630, 1270, 2270])
    expect(looksOf(space)).toEqual(looks)
  })

  test('pages whose unmap failed, and which are tried again, are waited for as long', () => {
    const usage = { lockedPages: 8, shortage: 'passing' } as const
    const lost = refused(new WindowFullError('foreign', 1, 16, { ...usage, lostPages: 8 }), 0)
    expect(looksOf(lost.space)).toHaveLength(9)
    const locked = refused(new WindowFullError('foreign', 1, 16, { ...usage, lostPages: 0 }), 0)
    expect(looksOf(locked.space)).toHaveLength(4)
  })

  test('also `mapAsync` tells which room was missing', async () => {
    const { memory, space } = refused(MAP_TRACK, 0)
    memory.refusal = WINDOW_FULL
    await expect(space.mapAsync(0x40001, 0, 16, true)).rejects.toBe(WINDOW_FULL)
    expect(looksOf(space)).toHaveLength(4)
    memory.refusal = MAP_TRACK
    await expect(space.mapAsync(0x40001, 0, 16, true)).rejects.toBe(MAP_TRACK)
    expect(looksOf(space)).toHaveLength(9)
    memory.refusal = MISSING
    expect(caught(() => space.map(0x40001, 0, 16, true))).toBe(MISSING)
    expect(looksOf(space)).toHaveLength(9)
  })

  test('a space that is closed calls nobody', () => {
    const { space, calls, wait } = refused(MAP_TRACK, 0)
    wait('a')
    space.close()
    vi.advanceTimersByTime(10_000)
    expect(calls).toEqual([])
    expect(vi.getTimerCount()).toBe(0)
  })
})

describe('a space without bounce buffers', () => {
  test('says that there are none, which is no shortage', () => {
    const { space } = machine({ bounceBudget: 0 })
    const error = caught(() => space.map(0x2000, 0, 16, true))
    expect(error).toMatchObject({ code: 'ERR_XMC_BOUNCE_BUDGET', shortage: undefined, budget: 0 })
    expect(error).toHaveProperty('message', expect.stringContaining('set bounceBudget'))
  })
})
