import { type MapCache, PagesMissingError } from '@xmc/core'
import { SystemCallError } from '@xmc/interface'
import { describe, expect, it } from 'vitest'
import { type TestPage, testPage } from './doubles/guest-double.ts'
import { ListenerDouble } from './doubles/listener-double.ts'
import { AT_ONCE, pages, setUp, setUpGrants, small } from './doubles/set-up.ts'

describe('MapCache.addRamListener', () => {
  it('tells of what appears and goes, once', () => {
    const { cache } = setUp(small(4), { retention: AT_ONCE })
    const listener = new ListenerDouble()
    cache.addRamListener(listener)
    const first = cache.map(testPage(0), 0, 16)
    const second = cache.map(testPage(0), 0, 16)
    first.release()
    expect(listener.events).toEqual(['added 4'])
    second.release()
    const list = cache.mapList(pages(9, 3, 1))
    expect([...listener.present]).toEqual([[list.pointer().windowPage, 3]])
    cache.close({ force: true })
    expect(listener.events).toEqual(['added 4', 'removed 4', 'added 3', 'removed 3'])
  })

  it('tells nothing of a map that failed', () => {
    const { cache, double } = setUp(small(4))
    const listener = new ListenerDouble()
    cache.addRamListener(listener)
    double.punch(0, 4)
    double.punch(9, 1)
    expect(() => cache.map(testPage(0), 0, 16)).toThrow(PagesMissingError)
    expect(() => cache.mapList(pages(8, 9))).toThrow(PagesMissingError)
    double.failNextMap = 12
    expect(() => cache.map(testPage(100), 0, 16)).toThrow(SystemCallError)
    expect(listener.events).toEqual([])
  })

  it('tells once of a dummy that is made real', () => {
    const { cache, double } = setUp(small(4))
    const listener = new ListenerDouble()
    cache.addRamListener(listener)
    double.punch(0, 4)
    cache.guestArriving = true
    cache.map(testPage(0), 0, 16)
    double.populate(0, 4)
    cache.replace(testPage(0), testPage(0), 1)
    cache.close({ force: true })
    expect(listener.events).toEqual(['added 4', 'removed 4'])
  })

  it('tells a listener that comes late of what is there', () => {
    const { cache } = setUp(small(4))
    cache.loadUint8(testPage(0), 0)
    cache.mapList(pages(9, 3))
    const late = new ListenerDouble()
    cache.addRamListener(late)
    expect(late.events).toEqual(['added 4', 'added 2'])
    cache.close({ force: true })
    expect(late.present.size).toBe(0)
    expect(late.unbalanced).toBe(0)
  })

  it('tells nothing more after the listener is removed', () => {
    const { cache } = setUp(small(4))
    const listener = new ListenerDouble()
    const remove = cache.addRamListener(listener)
    cache.loadUint8(testPage(0), 0)
    remove()
    cache.loadUint8(testPage(4), 0)
    cache.flush()
    expect(listener.events).toEqual(['added 4'])
  })

  it('tells the others when a listener throws, and takes back what appeared', () => {
    for (const make of [
      (cache: MapCache<TestPage>) => cache.map(testPage(0), 0, 16),
      (cache: MapCache<TestPage>) => cache.mapList(pages(0, 9)),
    ]) {
      const { cache, double } = setUp(small(4))
      const bad = new ListenerDouble()
      const good = new ListenerDouble()
      cache.addRamListener(bad)
      cache.addRamListener(good)
      bad.failNext = 'added'
      expect(() => make(cache)).toThrow('added failed')
      expect(good.present.size).toBe(0)
      expect([good.unbalanced, bad.unbalanced]).toEqual([0, 0])
      expect(double.mapped.size).toBe(0)
      expect(cache.statistics).toMatchObject({ entries: 0, locks: 0, mappedPages: 0 })
      expect(make(cache).released).toBe(false)
    }
  })

  it('S61 leaves no pinned page mapped when a listener throws', () => {
    const { cache, double } = setUpGrants()
    const bad = new ListenerDouble()
    cache.addRamListener(bad)
    bad.failNext = 'added'
    expect(() => cache.map(testPage(7), 0, 16)).toThrow('added failed')
    expect(double.mapped.size).toBe(0)
    bad.failNext = 'removed'
    const mapping = cache.map(testPage(7), 0, 16)
    expect(() => {
      mapping.release()
    }).toThrow('removed failed')
    expect(double.mapped.size).toBe(0)
    expect(cache.statistics).toMatchObject({ entries: 0, locks: 0 })
  })

  it('invalidates all the rest when a listener throws, and then says so', async () => {
    const { cache, double } = setUp(small(4))
    const bad = new ListenerDouble()
    const good = new ListenerDouble()
    cache.addRamListener(bad)
    cache.addRamListener(good)
    for (const page of [0, 4, 8]) cache.loadUint8(testPage(page), 0)
    bad.failNext = 'removed'
    await expect(cache.invalidateAll()).rejects.toThrow('removed failed')
    expect(double.mapped.size).toBe(0)
    expect(good.present.size).toBe(0)
    expect(cache.statistics).toMatchObject({ entries: 0, mappedPages: 0 })
  })

  it('flushes and closes all the rest when a listener throws, and then says so', () => {
    const { cache, double } = setUp(small(4))
    const bad = new ListenerDouble()
    cache.addRamListener(bad)
    for (const page of [0, 4, 8]) cache.loadUint8(testPage(page), 0)
    bad.failNext = 'removed'
    expect(() => cache.flush()).toThrow('removed failed')
    expect(double.mapped.size).toBe(0)
    for (const page of [0, 4, 8]) cache.loadUint8(testPage(page), 0)
    bad.failNext = 'removed'
    expect(() => {
      cache.close()
    }).toThrow('removed failed')
    expect(cache.closed).toBe(true)
    expect(double.mapped.size).toBe(0)
    expect(bad.unbalanced).toBe(0)
  })

  it('fails an eviction that a listener throws in, and works on after it', () => {
    const { cache, double } = setUp(small(1))
    const bad = new ListenerDouble()
    cache.addRamListener(bad)
    cache.loadUint8(testPage(0), 0)
    bad.failNext = 'removed'
    expect(() => cache.loadUint8(testPage(4), 0)).toThrow('removed failed')
    expect(double.mapped.size).toBe(0)
    expect(cache.loadUint32(testPage(5), 0)).toBe(5)
    expect(bad.unbalanced).toBe(0)
  })

  it('lets a listener use the cache', () => {
    const { cache, double } = setUp(small(4))
    let depth = 0
    cache.addRamListener({
      added: () => {
        if (depth++ < 2) cache.loadUint8(testPage(100 * depth), 0)
      },
      removed: () => {
        cache.flush()
      },
    })
    cache.loadUint8(testPage(0), 0)
    expect(cache.statistics.entries).toBe(3)
    cache.close()
    expect(double.mapped.size).toBe(0)
    expect(double.misuse).toEqual([])
    expect(cache.statistics).toMatchObject({ entries: 0, mappedPages: 0 })
  })
})
