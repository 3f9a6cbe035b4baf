import diagnostics from 'node:diagnostics_channel'
import type { MapCache, RamListener } from '@xmc/core'
import { ClosedError, windowPage } from '@xmc/interface'
import { describe, expect, it, vi } from 'vitest'
import { type GuestDouble, type TestPage, testPage } from './doubles/guest-double.ts'
import { ListenerDouble } from './doubles/listener-double.ts'
import { AT_ONCE, contentAt, settle, setUp, setUpGrants, small } from './doubles/set-up.ts'

/** A listener that does something the first time that it hears of something. */
function once(kind: 'added' | 'removed', act: () => void): RamListener {
  let isDone = false
  const tell = (told: 'added' | 'removed') => () => {
    if (told !== kind || isDone) return
    isDone = true
    act()
  }
  return { added: tell('added'), removed: tell('removed') }
}

describe('a listener that uses the cache', () => {
  const ACTS: Record<string, (cache: MapCache<TestPage, GuestDouble>) => void> = {
    flush: (cache) => cache.flush(),
    'load another': (cache) => cache.loadUint8(testPage(8), 0),
    'lock and release': (cache) => cache.map(testPage(1), 0, 16).release(),
    'lock another': (cache) => cache.lock(testPage(8), 0, 1, 0),
  }
  it.each(Object.keys(ACTS))('leaves what is being announced in place (%s)', (act) => {
    for (const retention of [AT_ONCE, { kind: 'keep', budgetBytes: 16_384 }] as const) {
      const { cache, double } = setUp(small(4), { retention })
      const balance = new ListenerDouble()
      cache.addRamListener(balance)
      cache.addRamListener(once('added', () => ACTS[act]?.(cache)))
      const mapping = cache.map(testPage(1), 0, 16, { write: true })
      expect(mapping.readUint32(0)).toBe(1)
      expect(mapping.page).toBe(1)
      cache.flush()
      expect(mapping.readUint32(0)).toBe(1)
      cache.close({ force: true })
      expect([balance.unbalanced, balance.present.size, double.mapped.size]).toEqual([0, 0, 0])
    }
  })

  it('leaves a list in place', () => {
    const { cache } = setUp(small(4))
    cache.addRamListener(once('added', () => cache.flush()))
    expect(cache.mapList([testPage(9), testPage(3)]).readUint32(4096)).toBe(3)
  })

  it('leaves a dummy in place', () => {
    const { cache, double } = setUp(small(4))
    double.punch(0, 4)
    cache.guestArriving = true
    cache.addRamListener(once('added', () => cache.flush()))
    const place = cache.lock(testPage(1), 0, 1, 0)
    expect(cache.pageOf(place)).toBe(1)
    expect(cache.statistics).toMatchObject({ entries: 1, locks: 1 })
  })

  it('may not put other pages in the place of what is being announced', () => {
    const { cache } = setUp(small(4))
    const codes: unknown[] = []
    cache.addRamListener(
      once('added', () => {
        try {
          cache.replace(testPage(0), testPage(8), 4)
        } catch (error) {
          codes.push(error)
        }
      }),
    )
    const place = cache.lock(testPage(1), 0, 1, 0)
    expect(codes).toEqual([expect.objectContaining({ code: 'ERR_XMC_REFUSED' })])
    expect(cache.pageOf(place)).toBe(1)
    cache.replace(testPage(0), testPage(8), 4)
    expect(cache.pageOf(place)).toBe(9)
  })

  it.each(['added', 'removed'] as const)('may close it (%s): what was asked for fails', (kind) => {
    for (const act of [
      (cache: MapCache<TestPage, GuestDouble>) => cache.lock(testPage(5), 0, 1, 0),
      (cache: MapCache<TestPage, GuestDouble>) => cache.mapList([testPage(5)]),
      (cache: MapCache<TestPage, GuestDouble>) => cache.loadUint8(testPage(5), 0),
      (cache: MapCache<TestPage, GuestDouble>) => {
        cache.guestArriving = true
        cache.backend.punch(4, 4)
        cache.lock(testPage(5), 0, 1, 0)
      },
    ]) {
      const { cache, double } = setUp(small(4), {
        retention: { kind: 'keep', budgetBytes: 16_384 },
      })
      cache.loadUint8(testPage(1), 0)
      const balance = new ListenerDouble()
      cache.addRamListener(balance)
      cache.addRamListener(
        once(kind, () => {
          cache.close({ force: true })
        }),
      )
      expect(() => act(cache)).toThrow(ClosedError)
      expect(double.mapped.size).toBe(0)
      expect(double.misuse).toEqual([])
      expect([balance.unbalanced, balance.present.size]).toEqual([0, 0])
      expect(cache.statistics).toMatchObject({ entries: 0, locks: 0, holds: 0 })
    }
  })

  it('is refused everything new once the cache closes, before it hears of the first removal', () => {
    for (const retention of [AT_ONCE, undefined]) {
      const { cache, double } = setUp(small(8), { retention })
      const places = [1, 5].map((page) => cache.lock(testPage(page), 0, 1, 0))
      const codes: string[] = []
      const attempt = (act: () => unknown): void => {
        try {
          act()
          codes.push('nothing')
        } catch (error) {
          codes.push(error instanceof ClosedError ? 'closed' : String(error))
        }
      }
      cache.addRamListener({
        added: () => {},
        removed: () => {
          for (const page of [1, 5, 9]) {
            attempt(() => cache.lock(testPage(page), 0, 1, 0))
            attempt(() => cache.loadUint8(testPage(page), 0))
            attempt(() => cache.map(testPage(page), 0, 1))
            attempt(() => cache.mapList([testPage(page)]))
            attempt(() => {
              cache.write(testPage(page), 0, new Uint8Array(1))
            })
          }
        },
      })
      cache.close({ force: true })
      expect(new Set(codes)).toEqual(new Set(['closed']))
      expect(codes).toHaveLength(2 * 15)
      expect(double.mapped.size).toBe(0)
      expect(cache.statistics.entries).toBe(0)
      for (const place of places) expect(() => cache.pageOf(place)).toThrow('no lock')
    }
  })

  it('keeps the lock that it has taken when another listener throws', () => {
    const { cache, double } = setUp(small(2), { quarantineBytes: 0 })
    const taken: number[] = []
    cache.addRamListener(once('added', () => taken.push(cache.lock(testPage(1), 0, 1, 0))))
    cache.addRamListener(
      once('added', () => {
        throw new Error('listener')
      }),
    )
    expect(() => cache.lock(testPage(1), 0, 1, 0)).toThrow('listener')
    const [place = -1] = taken
    expect(contentAt(cache, place)).toBe(1)
    expect(cache.statistics).toMatchObject({ entries: 1, locks: 1 })
    const other = cache.lock(testPage(4), 0, 1, 0)
    cache.unlock(windowPage(place), 0)
    expect(cache.statistics.locks).toBe(1)
    cache.loadUint8(testPage(8), 0)
    expect(contentAt(cache, other)).toBe(4)
    cache.close({ force: true })
    expect(double.misuse).toEqual([])
  })

  it("finds nothing locked in what is unmapped, and its late release takes nobody else's lock", () => {
    const { cache } = setUpGrants({ windowPages: 1 })
    const place = cache.lock(testPage(7), 0, 1, 0)
    const errors: unknown[] = []
    cache.addRamListener(
      once('removed', () => {
        try {
          cache.unlock(place, 0)
        } catch (error) {
          errors.push(error)
        }
      }),
    )
    cache.unlock(place, 0)
    expect(errors).toEqual([expect.objectContaining({ code: 'ERR_XMC_NOT_LOCKED' })])
    expect(cache.lock(testPage(8), 0, 1, 0)).toBe(place)
    expect(cache.statistics.locks).toBe(1)
  })

  it('is told of each entry once when it is added while another changes what is there', () => {
    const { cache } = setUp(small(8))
    for (const page of [0, 4, 8]) cache.loadUint8(testPage(page), 0)
    const listener = new ListenerDouble()
    cache.addRamListener({
      added: (place, pageCount) => {
        listener.added(place, pageCount)
        cache.flush()
        if (listener.present.size < 3) cache.loadUint8(testPage(100), 0)
      },
      removed: (place, pageCount) => {
        listener.removed(place, pageCount)
      },
    })
    expect(listener.unbalanced).toBe(0)
    expect(listener.present.size).toBe(cache.statistics.entries)
    cache.close()
    expect([listener.unbalanced, listener.present.size]).toEqual([0, 0])
  })

  it('is not told of anything any more once another has removed it', () => {
    const { cache } = setUp(small(8))
    const told: number[] = []
    const second: { remove?: () => void } = {}
    cache.addRamListener(once('added', () => second.remove?.()))
    second.remove = cache.addRamListener({
      added: (place) => told.push(place),
      removed: (place) => told.push(place),
    })
    cache.loadUint8(testPage(0), 0)
    cache.flush()
    expect(told).toEqual([])
  })
})

/** A listener's method that throws. */
function fail(text: string): () => void {
  return () => {
    throw new Error(text)
  }
}

describe('a release for a later turn', () => {
  it('ends although the cache was closed while its entry was announced to somebody', async () => {
    const { cache, double } = setUp(small(4), { retention: AT_ONCE })
    const done = cache.unlockAsync(cache.lock(testPage(1), 0, 1, 0), 0)
    cache.addRamListener(
      once('added', () => {
        cache.close()
      }),
    )
    expect(double.mapped.size).toBe(4)
    await done
    expect(double.mapped.size).toBe(0)
    expect(cache.statistics).toMatchObject({ entries: 0, holds: 0, callsUnderWay: 0 })
  })
})

describe('a subscriber that uses the cache', () => {
  it('may make what a request has found give way: the request maps it again', async () => {
    const { cache, double } = setUp(small(4), { retention: AT_ONCE, quarantineBytes: 0 })
    double.beforeMap = settle
    const wide: Promise<number>[] = []
    // Another request has mapped the bucket first; the unmap of what this one mapped fails, and whoever
    // is told of that takes the room of the other.
    const remap = once('added', () => cache.loadUint8(testPage(4), 0))
    const onMap = (): void => {
      remap.added(windowPage(0), 0)
    }
    const onFailure = (): void => {
      wide.push(cache.lockAsync(testPage(0), 0, 3 * 16_384, 0))
    }
    diagnostics.subscribe('xen_remap_bucket', onMap)
    diagnostics.subscribe('xmc_unmap_failed', onFailure)
    try {
      double.failNextUnmap = true
      const place = cache.lock(testPage(5), 0, 1, 0)
      expect(contentAt(cache, place)).toBe(5)
      expect(cache.pageOf(place)).toBe(5)
      expect(wide).toHaveLength(1)
      await Promise.allSettled(wide)
    } finally {
      diagnostics.unsubscribe('xen_remap_bucket', onMap)
      diagnostics.unsubscribe('xmc_unmap_failed', onFailure)
    }
    cache.close({ force: true })
    expect([double.mapped.size, double.misuse]).toEqual([0, []])
  })
})

describe('what a listener throws', () => {
  it('becomes a process warning where it reaches nobody, once', async () => {
    const warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
    try {
      const { cache, double } = setUp(small(8), { name: 'ram' })
      cache.addRamListener({ added: () => {}, removed: fail('first') })
      cache.addRamListener({ added: () => {}, removed: fail('second') })
      cache.loadUint8(testPage(0), 0)
      expect(() => cache.flush()).toThrow('first')
      cache.loadUint8(testPage(0), 0)
      double.failNextUnmap = true
      cache.loadUint8(testPage(4), 0)
      expect(() => cache.flush()).toThrow('first')
      expect(warn.mock.calls.map(([text, options]) => [text, options])).toEqual([
        [
          'ram: a RAM listener threw: second (others of its kind are not reported)',
          expect.objectContaining({ type: 'XmcListenerWarning', code: 'WARN_XMC_LISTENER' }),
        ],
      ])
      await settle()
    } finally {
      warn.mockRestore()
    }
  })

  it('in the sweep of idle mappings is a warning, and the sweep goes on', () => {
    vi.useFakeTimers()
    const warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
    try {
      const { cache, double } = setUp(small(8), {
        retention: { kind: 'keep', budgetBytes: 2 ** 20, idleMilliseconds: 100 },
      })
      cache.addRamListener({
        added: () => {},
        removed: () => {
          throw new Error('in a timer')
        },
      })
      for (const page of [0, 4]) cache.loadUint8(testPage(page), 0)
      vi.advanceTimersByTime(300)
      expect(double.mapped.size).toBe(0)
      expect(warn).toHaveBeenCalledTimes(1)
    } finally {
      warn.mockRestore()
      vi.useRealTimers()
    }
  })
})
