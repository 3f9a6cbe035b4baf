import { WindowFullError, XmcError } from '@xmc/core/errors'
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

  test('says that waiting does not help where nothing is held', () => {
    const { calls, wait } = refused(WINDOW_FULL, 0)
    expect(wait('a')).toBeUndefined()
    vi.advanceTimersByTime(10_000)
    expect(calls).toEqual([])
  })

  test('says so where only what is kept for long is held: rings, and mappings that say so', () => {
    const { memory, space, held, wait } = refused(WINDOW_FULL)
    memory.refusal = undefined
    const ring = space.openRing(0x40002, 0, 64, true)
    held[0]?.keep()
    held[0]?.keep()
    expect(wait('a')).toBeUndefined()
    held[0]?.release(0)
    expect(wait('a')).toBeUndefined()
    ring.close()
    space.map(0x40003, 0, 16, true)
    expect(wait('a')).toBeTypeOf('function')
  })

  test('a bounce buffer that is kept does not count either', () => {
    const { space, wait } = refused(WINDOW_FULL, 0)
    const bounced = space.map(0x2000, 0, 4, true)
    expect(wait('a')).toBeTypeOf('function')
    bounced.keep()
    bounced.keep()
    expect(wait('b')).toBeUndefined()
    bounced.release(0)
    const other = space.map(0x2000, 0, 4, true)
    expect(wait('c')).toBeTypeOf('function')
    other.release(0)
  })

  test('a map that takes time counts as held from its start', async () => {
    const { memory, space, wait } = refused(WINDOW_FULL, 0)
    memory.refusal = undefined
    const coming = space.mapAsync(0x40003, 0, 16, true)
    expect(wait('a')).toBeTypeOf('function')
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
    const { space, wait } = refused(MAP_TRACK, 0)
    let looks = 0
    let last: unknown = 'none'
    const look = (): void => {
      looks++
      last = space.awaitRoom(look)
    }
    look()
    vi.advanceTimersByTime(60_000)
    expect(looks).toBe(9)
    expect(last).toBeUndefined()
    // The next request has as much time.
    expect(wait('a')).toBeTypeOf('function')
  })

  test('pages whose unmap failed, and which are tried again, are waited for as well', () => {
    const usage = { lockedPages: 8, shortage: 'passing' } as const
    const lost = refused(new WindowFullError('foreign', 1, 16, { ...usage, lostPages: 8 }), 0)
    expect(lost.wait('a')).toBeTypeOf('function')
    vi.advanceTimersByTime(10)
    expect(lost.calls).toEqual(['a'])
    const locked = refused(new WindowFullError('foreign', 1, 16, { ...usage, lostPages: 0 }), 0)
    expect(locked.wait('a')).toBeUndefined()
  })

  test('also `mapAsync` tells which room was missing', async () => {
    const { memory, space, wait } = refused(MAP_TRACK, 0)
    memory.refusal = WINDOW_FULL
    await expect(space.mapAsync(0x40001, 0, 16, true)).rejects.toBe(WINDOW_FULL)
    expect(wait('a')).toBeUndefined()
    memory.refusal = MAP_TRACK
    await expect(space.mapAsync(0x40001, 0, 16, true)).rejects.toBe(MAP_TRACK)
    expect(wait('a')).toBeTypeOf('function')
    memory.refusal = MISSING
    expect(caught(() => space.map(0x40001, 0, 16, true))).toBe(MISSING)
    expect(wait('b')).toBeTypeOf('function')
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
