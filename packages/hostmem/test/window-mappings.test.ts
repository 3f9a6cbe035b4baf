import { describe, expect, it } from 'vitest'
import { openWindow, WindowMappings } from '../src/index.ts'

describe('WindowMappings', () => {
  it('says which mapping a page belongs to, and how much of each lies in a range', () => {
    using window = openWindow({ pageCount: 16 })
    const mappings = new WindowMappings()
    const first = { window, windowPage: 2, pageCount: 3 }
    const second = { window, windowPage: 6, pageCount: 2 }
    mappings.add(first, [0, -22, 0])
    mappings.add(second, [7, 7])
    expect(mappings.at(window, 2)).toBe(first)
    expect(mappings.at(window, 3)).toBeUndefined()
    expect(mappings.at(window, 7)).toBe(second)
    expect([...mappings.inRange(window, 0, 16)]).toEqual([
      [first, 2],
      [second, 2],
    ])
    expect([...mappings.inRange(window, 4, 3)]).toEqual([
      [first, 1],
      [second, 1],
    ])
    expect(mappings.all()).toEqual([first, second])
  })

  it('leaves pages that another mapping took to that one', () => {
    using window = openWindow({ pageCount: 4 })
    const mappings = new WindowMappings()
    const below = { window, windowPage: 0, pageCount: 3 }
    const above = { window, windowPage: 1, pageCount: 2 }
    mappings.add(below, [0, 0, 0])
    mappings.add(above, [0, 0])
    mappings.remove(below)
    mappings.remove(below)
    expect(mappings.at(window, 0)).toBeUndefined()
    expect(mappings.at(window, 1)).toBe(above)
    expect(mappings.all()).toEqual([above])
  })

  it('keeps the windows apart', () => {
    using one = openWindow({ pageCount: 2 })
    using other = openWindow({ pageCount: 2 })
    const mappings = new WindowMappings()
    mappings.add({ window: one, windowPage: 0, pageCount: 2 }, [0, 0])
    expect(mappings.at(other, 0)).toBeUndefined()
    expect(mappings.inRange(other, 0, 2).size).toBe(0)
  })
})
