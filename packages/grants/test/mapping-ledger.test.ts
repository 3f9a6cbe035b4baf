import { type GrantReference, grantReference, type PageRun, windowPage } from '@xmc/interface'
import { describe, expect, test } from 'vitest'
import { MappingLedger } from '../src/internal/mapping-ledger.ts'

/** A run of references that counts how often its first one is read, which each look at a reference does. */
class WatchedRun implements PageRun<GrantReference> {
  reads = 0
  readonly count: number
  private readonly start: number

  constructor(start: number, count: number) {
    this.start = start
    this.count = count
  }

  get first(): GrantReference {
    this.reads++
    return grantReference(this.start)
  }
}

const one = (reference: number) => ({ first: grantReference(reference), count: 1 })

describe('MappingLedger', () => {
  test('looks at nothing that is mapped while no reference can have too many mappings', () => {
    const ledger = new MappingLedger()
    const large = new WatchedRun(0, 7680)
    ledger.add(windowPage(0), large, true)
    for (let at = 1; at < 127; at++) ledger.add(windowPage(10_000 + at), one(9000), true)
    for (let failures = 0; failures < 253; failures++) {
      expect(ledger.overLimit(one(30_000), true, 128)).toBeUndefined()
    }
    expect(large.reads).toBe(0)
  })

  test('looks at each mapping once, whatever fails afterwards', () => {
    const ledger = new MappingLedger()
    const large = new WatchedRun(0, 7680)
    ledger.add(windowPage(0), large, true)
    for (let at = 0; at < 127; at++) ledger.add(windowPage(10_000 + at), one(9000), true)
    for (let failures = 0; failures < 253; failures++) {
      expect(ledger.overLimit(one(30_000), true, 128)).toBeUndefined()
    }
    expect(large.reads).toBe(7680)
    expect(ledger.overLimit(one(9000), true, 127)).toEqual({
      reference: 9000,
      count: 128,
      requested: 1,
    })
    ledger.remove(windowPage(10_000))
    expect(ledger.overLimit(one(9000), true, 127)).toBeUndefined()
    ledger.add(windowPage(10_000), one(9000), true)
    expect(ledger.overLimit(one(9000), true, 127)).toMatchObject({ count: 128 })
    expect(large.reads).toBe(7680)
  })

  test('a place that is mapped again holds what was mapped last', () => {
    const ledger = new MappingLedger()
    for (let times = 0; times < 200; times++) ledger.add(windowPage(0), one(7), false)
    expect(ledger.overLimit(one(7), false, 1)).toMatchObject({ count: 2 })
    ledger.remove(windowPage(0))
    expect(ledger.isEmpty).toBe(true)
    expect(ledger.overLimit(one(7), false, 1)).toBeUndefined()
  })
})
