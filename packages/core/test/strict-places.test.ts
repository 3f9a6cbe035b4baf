import { describe, expect, it } from 'vitest'
import { StrictPlaces } from '../src/internal/strict-places.ts'

const all = (): boolean => true
const none = (): boolean => false
const only =
  (...slots: number[]) =>
  (slot: number): boolean =>
    slots.includes(slot)

describe('StrictPlaces', () => {
  it('has no victim for a class that holds nothing', () => {
    const places = new StrictPlaces()
    expect(places.victim(5, all)).toBe(-1)
    places.occupy(5, 50)
    expect(places.victim(6, all)).toBe(-1)
  })

  it('S14 gives up the unlocked first place to a bucket of the same class', () => {
    const places = new StrictPlaces()
    places.occupy(0, 10)
    expect(places.victim(0x8000, all)).toBe(10)
  })

  it('S16 gives up the first unlocked further place while the first place is locked', () => {
    const places = new StrictPlaces()
    places.occupy(0, 10)
    places.occupy(0x8000, 11)
    places.occupy(0x1_0000, 12)
    expect(places.victim(0x1_8000, only(11, 12))).toBe(11)
    expect(places.victim(0x1_8000, only(12))).toBe(12)
    expect(places.victim(0x1_8000, none)).toBe(-1)
  })

  it('S20 fills the emptied first place before it takes an unlocked one', () => {
    const places = new StrictPlaces()
    places.occupy(0, 10)
    places.occupy(0x8000, 11)
    places.occupy(0x1_0000, 12)
    places.vacate(0, 10)
    expect(places.victim(0x1_8000, only(12))).toBe(-1)
    places.occupy(0x1_8000, 13)
    // 13 is in the first place now, so it goes first.
    expect(places.victim(0, all)).toBe(13)
  })

  it('S29 forgets further places with their entry', () => {
    const places = new StrictPlaces()
    places.occupy(0, 10)
    places.occupy(0x8000, 11)
    places.occupy(0x1_0000, 12)
    places.vacate(0x8000, 11)
    expect(places.victim(0, only(11, 12))).toBe(12)
  })

  it('ignores entries it does not know', () => {
    const places = new StrictPlaces()
    places.vacate(3, 30)
    places.vacate(Number.NaN, 30)
    places.occupy(3, 30)
    places.vacate(3, 99)
    expect(places.victim(3, all)).toBe(30)
  })

  it('starts a class afresh when all its places are empty', () => {
    const places = new StrictPlaces()
    places.occupy(3, 30)
    places.vacate(3, 30)
    expect(places.victim(3, all)).toBe(-1)
    places.occupy(3, 31)
    expect(places.victim(3, all)).toBe(31)
  })
})
