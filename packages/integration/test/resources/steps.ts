import fc from 'fast-check'

/** Devices of the fuzzed board: two disks, a console, a source of entropy. */
const SLOTS = 4

/** Queues that any of the devices has. */
export const QUEUES = 2

/** Elements of every queue. */
export const QUEUE_SIZE = 64

/** Pages that the guest uses for data. */
export const DATA_PAGES = 2048

/** Pages of them that it may give back: each may take two areas of the budget for its own view, which nobody can refuse. */
export const GIVEN_PAGES = 256

/** Where a buffer is. */
export type Place =
  /** A page of the data, granted or by its address. */
  | { readonly kind: 'data'; readonly page: number }
  /** A page that was granted read-only. */
  | { readonly kind: 'read-only'; readonly page: number }
  | { readonly kind: 'nowhere'; readonly index: number }
  /** Registers of a device. */
  | { readonly kind: 'registers'; readonly slot: number }
  /** The queue itself. */
  | { readonly kind: 'queue' }
  /** Any number. */
  | { readonly kind: 'any'; readonly address: bigint }

/** A buffer of a chain. */
export interface BufferChoice {
  readonly place: Place
  readonly offset: number
  readonly length: number
  readonly write: boolean
}

/** What a hostile guest does. */
export type Step =
  | {
      readonly do: 'store'
      readonly slot: number
      readonly offset: number
      readonly value: number
      readonly size: 1 | 2 | 4
    }
  | { readonly do: 'set up'; readonly slot: number }
  | { readonly do: 'reset'; readonly slot: number }
  | {
      readonly do: 'request'
      readonly slot: number
      readonly queue: number
      readonly buffers: readonly BufferChoice[]
      /** Whether header and status of a good disk request are put around the buffers. */
      readonly asBlock: 'read' | 'write' | 'no'
      readonly indirect: boolean
      /** How often the chain is offered at once. */
      readonly times: number
      readonly loops: boolean
    }
  | {
      readonly do: 'give back'
      readonly first: number
      readonly count: number
      readonly every: 1 | 2
    }
  | { readonly do: 'take again' }
  | { readonly do: 'invalidate' }
  | { readonly do: 'wait'; readonly turns: number }

const slot = fc.nat(SLOTS - 1)
const page = fc.nat(DATA_PAGES - 1)
const value = fc.oneof(fc.nat(64), fc.constantFrom(0xffff, 0x7fff_ffff, 0xffff_ffff), fc.integer())

const place: fc.Arbitrary<Place> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constant('data' as const), page }) },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant('read-only' as const), page: fc.nat(63) }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant('nowhere' as const), index: fc.nat(255) }),
  },
  fc.record({ kind: fc.constant('registers' as const), slot }),
  fc.record({ kind: fc.constant('queue' as const) }),
  fc.record({ kind: fc.constant('any' as const), address: fc.bigInt(0n, 2n ** 64n - 1n) }),
)

const buffer: fc.Arbitrary<BufferChoice> = fc.record({
  place,
  offset: fc.oneof(fc.constant(0), fc.nat(4095)),
  length: fc.oneof(
    fc.constantFrom(0, 1, 64, 65, 512, 4096, 65_536, 2 ** 20, 2 ** 26, 0xffff_ffff),
    fc.nat(8192),
  ),
  write: fc.boolean(),
})

/** Everything that a guest can do to its board, and then some. */
export const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('store' as const),
      slot,
      // Most are registers or the configuration; some are odd.
      offset: fc.oneof(
        fc.nat(0x11f),
        fc.nat(0x47).map((word) => word * 4),
      ),
      value,
      size: fc.constantFrom(1, 2, 4),
    }),
  },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('set up' as const), slot }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('reset' as const), slot }) },
  {
    weight: 12,
    arbitrary: fc.record({
      do: fc.constant('request' as const),
      slot,
      queue: fc.nat(QUEUES - 1),
      buffers: fc.oneof(
        fc.array(buffer, { minLength: 1, maxLength: 8 }),
        // The same many times over.
        fc
          .tuple(buffer, fc.integer({ min: 16, max: 60 }))
          .map(([one, count]) => Array.from({ length: count }, () => one)),
        // One page in each of many places.
        fc.tuple(buffer, page, fc.integer({ min: 1, max: 64 })).map(([one, first, every]) =>
          Array.from({ length: 60 }, (_, nth) => ({
            ...one,
            place: { kind: 'data' as const, page: (first + nth * every) % DATA_PAGES },
          })),
        ),
      ),
      asBlock: fc.constantFrom('read', 'write', 'no'),
      indirect: fc.boolean(),
      times: fc.oneof(fc.constant(1), fc.constant(QUEUE_SIZE), fc.nat(QUEUE_SIZE * 2)),
      loops: fc.nat(9).map((n) => n === 0),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('give back' as const),
      first: fc.nat(GIVEN_PAGES - 1),
      count: fc.oneof(fc.nat(16), fc.nat(GIVEN_PAGES)),
      every: fc.constantFrom(1, 2),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('take again' as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('invalidate' as const) }) },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('wait' as const),
      turns: fc.integer({ min: 1, max: 30 }),
    }),
  },
)
