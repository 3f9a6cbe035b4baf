import { MapCache, type MapCacheOptions } from '@xmc/core'
import type { WindowPage } from '@xmc/interface'
import {
  CopyingDouble,
  GuestDouble,
  type GuestDoubleOptions,
  type TestPage,
  testPage,
} from './guest-double.ts'

/** The retention of a cache that unmaps with the last lock. */
export const AT_ONCE = { kind: 'at-once' } as const

/** A window of `buckets` buckets of 4 pages. */
export function small(buckets: number): { windowPages: number; bucketShift: number } {
  return { windowPages: buckets * 4, bucketShift: 14 }
}

/** Pages of the double. */
export function pages(...numbers: number[]): TestPage[] {
  return numbers.map(testPage)
}

/** Passes a number off as a page, as a caller without types would. */
export function unchecked(value: number): TestPage & WindowPage {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- what is tested is the check
  return value as TestPage & WindowPage
}

/** Options of the cache that a test is about. */
export type CacheOptions = Partial<MapCacheOptions<TestPage, GuestDouble>>

/** A cache over a guest of its own, and the guest. */
export interface SetUp {
  readonly cache: MapCache<TestPage, GuestDouble>
  readonly double: GuestDouble
}

/** Makes a guest and a cache over it. Unlike a cache's own default, freed places do not rest. */
export function setUp(guest: GuestDoubleOptions = {}, options: CacheOptions = {}): SetUp {
  const double = new GuestDouble(guest)
  return { cache: new MapCache({ quarantineBytes: 0, ...options, backend: double }), double }
}

/** As {@link setUp}, with a guest like one that grants single pages, which can be copied. */
export function setUpGrants(
  guest: GuestDoubleOptions = {},
  options: CacheOptions = {},
): SetUp & { readonly double: CopyingDouble } {
  const pinned = { bucketShift: 12, windowPages: 64, access: 'as-requested', pinned: true } as const
  const double = new CopyingDouble({ ...pinned, ...guest })
  return { cache: new MapCache({ quarantineBytes: 0, ...options, backend: double }), double }
}

/** The number that the guest page mapped at `windowPage` starts with; 0 where nothing is. */
export function contentAt(cache: MapCache<TestPage, GuestDouble>, windowPage: number): number {
  return cache.view.getUint32(windowPage * 4096, true)
}

/** A gate for `beforeMap` or `beforeUnmap`: calls wait there until it is opened. */
export class Gate {
  /** Calls that have reached the gate. */
  arrived = 0
  private readonly waiting: (() => void)[] = []
  private opened = false

  /** To be given as a double's `beforeMap` or `beforeUnmap`. */
  readonly pass = async (): Promise<void> => {
    this.arrived++
    if (this.opened) return
    await new Promise<void>((resolve) => {
      this.waiting.push(resolve)
    })
  }

  /** Lets every call pass, now and later. */
  open(): void {
    this.opened = true
    for (const resolve of this.waiting.splice(0)) resolve()
  }

  /** Lets the call pass that arrived first. */
  openOnce(): void {
    this.waiting.shift()?.()
  }
}

/** Resolves in a later turn of the event loop, when every promise that could settle has. */
export async function settle(): Promise<void> {
  await new Promise<void>((resolve) => {
    setImmediate(resolve)
  })
}
