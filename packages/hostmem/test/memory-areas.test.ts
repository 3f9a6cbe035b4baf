import { readFileSync } from 'node:fs'
import { windowPage } from '@xmc/interface'
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { propertyRuns } from '../../../vitest.properties.ts'
import { createMemoryFile, MemoryAreaAccount, memoryAreas, openWindow } from '../src/index.ts'
import { MAPPED, NO_RESERVE, PageStates, PLAIN } from '../src/internal/page-states.ts'
import { countAreas } from './helpers/process-memory.ts'

/** An account that knows of nobody else, and gives half of the limit. */
function account(limit: number): MemoryAreaAccount {
  return new MemoryAreaAccount({ limit, budget: limit / 2, measure: () => 0 })
}

it('never counts fewer areas than the kernel has in a window', () => {
  const pages = 24
  const step = fc.record({
    page: fc.nat({ max: pages - 1 }),
    count: fc.integer({ min: 1, max: 6 }),
    map: fc.boolean(),
  })
  using file = createMemoryFile({ name: 'areas', size: 4096 * pages })
  fc.assert(
    fc.property(fc.array(step, { minLength: 1, maxLength: 30 }), (steps) => {
      const areas = account(10_000)
      using window = openWindow({ pageCount: pages, areaAccount: areas })
      for (const { page, map, ...rest } of steps) {
        const count = Math.min(rest.count, pages - page)
        // Backwards in the file: a map that follows another is never its continuation.
        const from = (pages - page - count) * 4096
        if (map) window.map(windowPage(page), count, file.fd, from, true)
        else window.reset(windowPage(page), count)
        // Those of the page behind the window lie outside; the one that the window is in was there before.
        expect(countAreas(window) - 1).toBeLessThanOrEqual(areas.statistics.used - 2)
      }
    }),
    propertyRuns(30),
  )
})

it('counts where areas start as a list of owners does', () => {
  const pages = 16
  const step = fc.record({
    page: fc.nat({ max: pages - 1 }),
    count: fc.integer({ min: 1, max: pages }),
    state: fc.constantFrom<typeof PLAIN | typeof NO_RESERVE | typeof MAPPED>(
      PLAIN,
      NO_RESERVE,
      MAPPED,
    ),
  })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
      const states = new PageStates(pages)
      // A map is an area of its own; anonymous pages of one kind are one.
      const owners = Array.from({ length: pages + 2 }, () => 'plain')
      for (const [nth, { page, state, ...rest }] of steps.entries()) {
        const count = Math.min(rest.count, pages - page)
        const before = states.areas
        const forecast = states.areasForMap(page, count)
        states.set(page, count, state)
        expect(state === MAPPED ? states.areas - before : forecast).toBe(forecast)
        const owner = state === MAPPED ? `map ${nth}` : state === PLAIN ? 'plain' : 'no-reserve'
        owners.fill(owner, page + 1, page + 1 + count)
        const starts = owners.filter((one, index) => index > 0 && one !== owners[index - 1])
        expect(states.areas).toBe(starts.length)
      }
    }),
    propertyRuns(200),
  )
})

it('gives the windows three quarters of what the kernel allows, and each of them at most a quarter of that', () => {
  const areas = new MemoryAreaAccount({ limit: 1000, measure: () => 0 })
  expect(areas.statistics).toEqual({
    limit: 1000,
    budget: 750,
    used: 0,
    others: 0,
    alternations: 0,
    refusals: 0,
  })
  using window = openWindow({ pageCount: 1000, areaAccount: areas })
  expect(window.areas.limit).toBe(187)
  // The page behind the window.
  expect(window.areas.used).toBe(2)
  expect(areas.statistics.used).toBe(2)
})

it('leaves more to others where they have more already', () => {
  const areas = new MemoryAreaAccount({ limit: 1000, measure: () => 600 })
  using window = openWindow({ pageCount: 1, areaAccount: areas })
  expect(window.areas.used).toBe(2)
  expect(areas.statistics).toMatchObject({ others: 600, budget: 275 })
  areas.budget = 300
  expect(areas.statistics).toMatchObject({ budget: 300 })
})

it('reads the limit and the areas of the process from the kernel', () => {
  const limit = Number(readFileSync('/proc/sys/vm/max_map_count', 'latin1'))
  using window = openWindow({ pageCount: 1 })
  expect(window.areas.used).toBe(2)
  const { statistics } = memoryAreas()
  expect(statistics.limit).toBe(limit)
  expect(statistics.others).toBeGreaterThan(20)
  expect(statistics.budget).toBeLessThanOrEqual((limit * 3) / 4)
})

it('refuses a map beyond the part of its window, changes nothing then, and goes on after a reset', () => {
  const areas = account(1000)
  using file = createMemoryFile({ name: 'areas', size: 4096 })
  using window = openWindow({ pageCount: 1000, areaAccount: areas })
  let page = 1
  const mapAll = (): void => {
    for (; page < 1000; page += 2) window.map(windowPage(page), 1, file.fd, 0, true)
  }
  expect(mapAll).toThrow(
    expect.objectContaining({
      code: 'ERR_XMC_MEMORY_AREAS',
      shortage: 'passing',
      needed: 2,
      used: 124,
      limit: 125,
      option:
        'the option memoryAreas of openWindow, or memoryAreas().budget, of which a window takes a quarter',
      message:
        'a window of host memory: 2 memory areas are needed, and 124 of 125 are in use: release mappings, or raise the option memoryAreas of openWindow, or memoryAreas().budget, of which a window takes a quarter',
    }),
  )
  expect(window.mappedPages).toBe(61)
  expect(countAreas(window)).toBeLessThanOrEqual(125)
  expect(areas.statistics.refusals).toBe(1)
  // A map in the place of another needs none.
  window.map(windowPage(1), 1, file.fd, 0, false)
  window.reset(windowPage(1), 1)
  window.map(windowPage(page), 1, file.fd, 0, true)
  expect(window.mappedPages).toBe(61)
})

it('refuses a map beyond the budget of all windows, and names what raises it', () => {
  const areas = account(100)
  using file = createMemoryFile({ name: 'areas', size: 4096 })
  const windows = [0, 1].map(() =>
    openWindow({ pageCount: 100, areaAccount: areas, memoryAreas: 40 }),
  )
  let mapped = 0
  expect(() => {
    for (let page = 1; page < 100; page += 2) {
      for (const window of windows) {
        window.map(windowPage(page), 1, file.fd, 0, true)
        mapped++
      }
    }
  }).toThrow(
    expect.objectContaining({
      code: 'ERR_XMC_MEMORY_AREAS',
      shortage: 'passing',
      used: 50,
      limit: 50,
      option: 'memoryAreas().budget, and vm.max_map_count, which is 100',
    }),
  )
  expect(mapped).toBe(23)
  for (const window of windows) window.close()
  // Two windows that are closed keep the areas of the page behind each, until they are collected.
  expect(areas.statistics.used).toBeLessThanOrEqual(8)
})

it('says that waiting does not help a map that could never fit', () => {
  using file = createMemoryFile({ name: 'areas', size: 4096 })
  using window = openWindow({ pageCount: 10, areaAccount: account(1000), memoryAreas: 1 })
  expect(() => window.map(windowPage(1), 1, file.fd, 0, true)).toThrow(
    expect.objectContaining({ code: 'ERR_XMC_MEMORY_AREAS', shortage: 'lasting', limit: 1 }),
  )
})

it('refuses an asynchronous map alike', async () => {
  using file = createMemoryFile({ name: 'areas', size: 4096 })
  using window = openWindow({ pageCount: 10, areaAccount: account(1000), memoryAreas: 1 })
  await expect(window.mapAsync(windowPage(1), 1, file.fd, 0, true)).rejects.toMatchObject({
    code: 'ERR_XMC_MEMORY_AREAS',
  })
  expect(window.mappedPages).toBe(0)
})

it('asks those who take most first to give areas up, and nobody once there is room', () => {
  const areas = account(400)
  using file = createMemoryFile({ name: 'areas', size: 4096 })
  const asked: string[] = []
  const taker = (name: string, pages: number) => {
    const window = openWindow({ pageCount: 200, areaAccount: areas, memoryAreas: 100 })
    for (let page = 1; page <= pages; page++) {
      window.map(windowPage(2 * page), 1, file.fd, 0, true)
    }
    const withdraw = window.areas.onShortage((wanted) => {
      asked.push(`${name} ${wanted}`)
      for (let page = 1; page <= pages; page++) window.reset(windowPage(2 * page), 1)
    })
    return { window, withdraw }
  }
  taker('small', 20)
  const large = taker('large', 40)
  const asking = taker('asking', 5)
  const room = 200 - areas.statistics.used
  asking.window.areas.reclaim(room + 10)
  expect(asked).toEqual(['large 10'])
  large.withdraw()
  asking.window.areas.reclaim(195)
  expect(asked).toHaveLength(2)
  expect(asked[1]).toMatch(/^small /)
})

it('merges gaps once half of the areas are in use', () => {
  const areas = account(200)
  using file = createMemoryFile({ name: 'areas', size: 4096 })
  using window = openWindow({ pageCount: 400, areaAccount: areas, memoryAreas: 100 })
  for (let page = 0; page < 400; page++) {
    window.map(windowPage(page), 1, file.fd, 0, true)
    window.reset(windowPage(page), 1)
  }
  expect(areas.statistics.used).toBeLessThanOrEqual(54)
  expect(countAreas(window)).toBeLessThanOrEqual(54)
})

it.each([0, -1, 1.5, Number.NaN])('refuses %s as a number of areas', (value) => {
  const refused = expect.objectContaining({ code: 'ERR_XMC_ARGUMENT' })
  expect(() => openWindow({ pageCount: 1, memoryAreas: value })).toThrow(refused)
  expect(() => new MemoryAreaAccount({ limit: value })).toThrow(refused)
  expect(() => {
    account(10).budget = value
  }).toThrow(refused)
})
