import fc from 'fast-check'

/** A lock to take; `alias` asks by an address that is translated to the page. */
export interface Access {
  readonly page: number
  readonly offset: number
  readonly length: number
  readonly write: boolean
  readonly alias: boolean
}

/** One step of a random sequence. Numbers are reduced to what exists when the step is done. */
export type Operation =
  | ({ readonly kind: 'lock' } & Access)
  | ({ readonly kind: 'lockAsync' } & Access)
  | { readonly kind: 'list'; pages: number[]; write: boolean }
  | { readonly kind: 'unlock'; nth: number; later: boolean }
  | { readonly kind: 'unlockUnknown'; windowPage: number; offset: number }
  | { readonly kind: 'dummy'; bucket: number; count: number; write: boolean }
  | { readonly kind: 'replace'; nth: number; bucket: number }
  | { readonly kind: 'storeThrough'; nth: number; value: number }
  | { readonly kind: 'load'; page: number }
  | { readonly kind: 'store'; page: number; value: number }
  | { readonly kind: 'read'; page: number; count: number }
  | { readonly kind: 'guestWrite'; page: number; value: number }
  | { readonly kind: 'withdraw'; page: number; count: number }
  | { readonly kind: 'offer'; page: number; count: number; readonly: boolean }
  | { readonly kind: 'invalidate' }
  | { readonly kind: 'fault'; site: 'map' | 'unmap' | 'pages'; nth: number }
  | { readonly kind: 'flush' }

const page = fc.nat({ max: 63 })
const offset = fc.constantFrom(0, 0, 4, 16, 4092)
const length = fc.constantFrom(0, 1, 4, 4096, 5000, 16_384, 40_000)
const value = fc.nat({ max: 0xffff_ffff })
const write = fc.boolean()
const count = fc.integer({ min: 1, max: 9 })
const alias = fc.integer({ min: 0, max: 7 }).map((drawn) => drawn === 7)
const nth = fc.nat({ max: 30 })
const bucket = fc.nat({ max: 7 })

/** Any step, the common ones more often. */
export const operation: fc.Arbitrary<Operation> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant('lock' as const),
      page,
      offset,
      length,
      write,
      alias,
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('lockAsync' as const),
      page,
      offset,
      length,
      write,
      alias,
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('list' as const),
      pages: fc.array(page, { minLength: 1, maxLength: 12 }),
      write,
    }),
  },
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant('unlock' as const),
      nth,
      later: fc.boolean(),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('unlockUnknown' as const),
      windowPage: fc.nat({ max: 63 }),
      offset,
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('dummy' as const),
      bucket: fc.nat({ max: 1 }),
      count: fc.integer({ min: 1, max: 8 }),
      write,
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('replace' as const), nth, bucket }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('storeThrough' as const), nth, value }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('load' as const), page }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('store' as const), page, value }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('read' as const), page, count }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('guestWrite' as const), page, value }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('withdraw' as const), page, count }) },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('offer' as const),
      page,
      count,
      readonly: fc.boolean(),
    }),
  },
  { weight: 1, arbitrary: fc.constant({ kind: 'invalidate' as const }) },
  { weight: 1, arbitrary: fc.constant({ kind: 'flush' as const }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('fault' as const),
      site: fc.constantFrom('map' as const, 'unmap' as const, 'pages' as const),
      nth: fc.integer({ min: 1, max: 3 }),
    }),
  },
)
