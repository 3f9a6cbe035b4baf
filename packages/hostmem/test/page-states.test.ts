import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { propertyRuns } from '../../../vitest.properties.ts'
import { MAPPED, NO_RESERVE, PageStates, PLAIN } from '../src/internal/page-states.ts'

describe('PageStates', () => {
  it('counts mapped pages and unlike neighbours as a list of kinds does', () => {
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
        // Plain memory surrounds the window.
        const kinds = Array.from({ length: pages + 2 }, () => 'plain')
        for (const { page, state, ...rest } of steps) {
          const count = Math.min(rest.count, pages - page)
          states.set(page, count, state)
          const kind = state === MAPPED ? 'mapped' : state === PLAIN ? 'plain' : 'no-reserve'
          kinds.fill(kind, page + 1, page + 1 + count)
          const unlike = kinds.filter((one, index) => {
            const pair = new Set([one, kinds[index + 1]])
            return pair.has('plain') && pair.has('no-reserve')
          })
          expect(states.alternations).toBe(unlike.length)
          expect(states.mappedPages).toBe(kinds.filter((one) => one === 'mapped').length)
          const held = kinds.slice(page, page + 3).includes('mapped')
          const first = Math.max(page - 1, 0)
          expect(states.hasMapped(first, Math.min(page + 2, pages) - first)).toBe(held)
        }
      }),
      propertyRuns(500),
    )
  })

  it.each([
    ['plain on both sides', PLAIN, PLAIN, NO_RESERVE],
    ['no-reserve on both sides', NO_RESERVE, NO_RESERVE, PLAIN],
    ['no-reserve on the left', NO_RESERVE, PLAIN, PLAIN],
    ['mapped on the left, plain on the right', MAPPED, PLAIN, NO_RESERVE],
    ['mapped on the left, no-reserve on the right', MAPPED, NO_RESERVE, PLAIN],
    ['mapped on both sides', MAPPED, MAPPED, NO_RESERVE],
  ] as const)(
    'chooses the kind of filler unlike its neighbour: %s',
    (_title, left, right, kind) => {
      const states = new PageStates(4)
      states.set(0, 1, left)
      states.set(1, 2, MAPPED)
      states.set(3, 1, right)
      expect(states.fillerFor(1, 2, false)).toBe(kind)
    },
  )

  it('chooses the kind of its neighbour beyond 8,192 unlike neighbours', () => {
    const states = new PageStates(20_000)
    for (let page = 1; page < 8190; page += 2) states.set(page, 1, NO_RESERVE)
    expect(states.alternations).toBe(8190)
    expect(states.fillerFor(9000, 1, false)).toBe(NO_RESERVE)
    states.set(8191, 1, NO_RESERVE)
    expect(states.alternations).toBe(8192)
    expect(states.fillerFor(9000, 1, false)).toBe(PLAIN)
    expect(states.fillerFor(8192, 1, false)).toBe(NO_RESERVE)
  })
})
