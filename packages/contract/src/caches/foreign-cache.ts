import assert from 'node:assert/strict'
import type { MapCache } from '@xmc/core'
import { createForeignCache, type ForeignBackend, type ForeignCacheOptions } from '@xmc/foreign'
import { type GuestFrame, guestFrame, XmcError } from '@xmc/interface'
import { available } from '../contract-case.ts'
import type { ForeignMemoryProvider } from '../foreign-memory/provider.ts'
import { type ForeignMemoryCase, foreignCase, frameAt, mark } from '../foreign-memory/steps.ts'
import { inOrder, upTo } from '../internal/in-order.ts'
import { refusalOf } from '../internal/refusals.ts'
import { assertSame, assertZeros, pattern } from '../internal/window-bytes.ts'

/** 16 KiB: four frames to a bucket, so that 16 frames are four buckets. */
const BUCKET_SHIFT = 14
const BUCKET_BYTES = 2 ** BUCKET_SHIFT

/** What a cache over any provider of foreign memory does: the cases FC1 to FC14. */
export const foreignCacheContract: readonly ForeignMemoryCase[] = [
  foreignCase('FC1', 'unlocked access reads and writes the guest, over pages', async (provider) => {
    using cache = cacheOf(provider)
    await mark(provider, 1, 4)
    const bytes = new Uint8Array(32)
    cache.read(frameAt(provider, 1), 4080, bytes)
    assertSame(bytes, Uint8Array.of(...pattern(2), ...pattern(3)), 'the end of a page and the next')
    cache.write(frameAt(provider, 3), 4090, pattern(9, 6))
    cache.storeUint32(frameAt(provider, 2), 100, 0x1234_5678)
    const seen = await provider.guest.read(frameAt(provider, 3), 4090, 6)
    assertSame(seen, pattern(9, 6), 'bytes that were written')
    const word = await provider.guest.read(frameAt(provider, 2), 100, 4)
    assertSame(word, Uint8Array.of(0x78, 0x56, 0x34, 0x12), 'a word that was stored')
    assert.equal(cache.statistics.mapCalls, 1, 'all of it lies in one bucket')
  }),

  foreignCase('FC2', 'a locked mapping aliases the guest until its release', async (provider) => {
    using cache = cacheOf(provider)
    const mapping = cache.map(frameAt(provider, 5), 8, 8192, { write: true })
    mapping.write(4088, pattern(2))
    const seen = await provider.guest.read(frameAt(provider, 6), 0, 16)
    assertSame(seen, pattern(2), 'the guest sees a store to the second page')
    await provider.guest.write(frameAt(provider, 5), 8, pattern(3))
    assertSame(mapping.bytes.slice(0, 16), pattern(3), 'the mapping shows a store of the guest')
    mapping.release()
    assert.throws(() => mapping.readUint8(0), { code: 'ERR_XMC_RELEASED' })
    assert.throws(() => mapping.release(), { code: 'ERR_XMC_RELEASED' })
  }),

  foreignCase('FC3', 'pointers lead back to frames, interior ones too', async (provider) => {
    using cache = cacheOf(provider)
    const frame = frameAt(provider, 4)
    const mapping = cache.map(frame, 16, 8192, { write: true })
    const address = BigInt(frame) * 4096n
    assert.equal(mapping.address, address + 16n)
    assert.equal(cache.addressOf(mapping.bytes.subarray(5000)), address + 5016n)
    const { windowPage, offset } = mapping.pointer()
    await refusalOf(() => cache.unlock(windowPage, offset + 1))
    mapping.release()
    await refusalOf(() => cache.pageOf(windowPage))
  }),

  foreignCase(
    'FC4',
    'a hole in a bucket is refused with its errno, its neighbours are served',
    async (provider) => {
      const { border } = provider
      using cache = cacheOf(provider, { bucketShift: shiftOverTheBorder(border) })
      await provider.guest.write(border, 0, pattern(4))
      const behind = guestFrame(border + 1)
      const error = await refusalOf(() => cache.map(border, 0, 8192))
      assert.deepEqual(fieldsOf(error, 'code', 'page', 'errnoName'), {
        code: 'ERR_XMC_PAGES_MISSING',
        page: Number(behind),
        errnoName: 'EINVAL',
      })
      const mapping = cache.map(border, 0, 4096)
      assertSame(mapping.copy().subarray(0, 16), pattern(4), 'the last frame with memory')
      const { windowPage } = mapping.pointer()
      assertZeros(provider.window, windowPage + 1, 1, 'the page of the hole behind it')
      mapping.release()
      await refusalOf(() => cache.loadUint8(behind, 0))
    },
  ),

  foreignCase('FC5', 'frames in any order are one mapping', async (provider) => {
    using cache = cacheOf(provider)
    await mark(provider, 50, 16)
    const order = [11, 0, 15, 3, 3]
    const mapping = cache.mapList(
      order.map((index) => frameAt(provider, index)),
      { write: true },
    )
    for (const [page, index] of order.entries()) {
      const bytes = mapping.bytes.slice(page * 4096, page * 4096 + 16)
      assertSame(bytes, pattern(50 + index), `page ${page} of the list`)
    }
    mapping.writeUint8(3 * 4096 + 100, 77)
    assert.equal(mapping.readUint8(4 * 4096 + 100), 77, 'a frame that is listed twice')
    mapping.release()
    const holed = [frameAt(provider, 0), provider.hole]
    await refusalOf(() => cache.mapList(holed))
  }),

  foreignCase(
    'FC6',
    'mappings stay for the next access, up to the budget, the least recently used go first',
    async (provider) => {
      const retention = { kind: 'keep', budgetBytes: 2 * BUCKET_BYTES } as const
      using cache = cacheOf(provider, { retention })
      await mark(provider, 60, 16)
      const first = (bucket: number): GuestFrame => frameAt(provider, 4 * bucket)
      for (const bucket of [0, 1, 2, 0, 2, 0]) {
        assert.equal(cache.loadUint8(first(bucket), 0), pattern(60 + 4 * bucket)[0])
      }
      const { mapCalls, evictions, mappedPages } = cache.statistics
      assert.deepEqual(
        { mapCalls, evictions, mappedPages },
        { mapCalls: 4, evictions: 2, mappedPages: 8 },
      )
    },
  ),

  foreignCase(
    'FC7',
    'a full invalidation unmaps what nobody has locked, and the rest with its release',
    async (provider) => {
      const accounting = available(provider.capabilities.accounting)
      const before = accounting.liveMappings()
      using cache = cacheOf(provider)
      await mark(provider, 70, 8)
      const mapping = cache.map(frameAt(provider, 0), 0, 16, { write: true })
      cache.loadUint8(frameAt(provider, 4), 0)
      const one = accounting.liveMappings()
      await cache.invalidateAll()
      assert.ok(accounting.liveMappings() < one, 'the unlocked mapping went')
      mapping.write(0, pattern(77))
      const seen = await provider.guest.read(frameAt(provider, 0), 0, 16)
      assertSame(seen, pattern(77), 'the locked mapping still aliases')
      mapping.release()
      assert.equal(accounting.liveMappings(), before, 'live mappings')
      assert.equal(cache.loadUint8(frameAt(provider, 4), 0), pattern(74)[0], 'mapped again')
    },
    ['accounting'],
  ),

  foreignCase(
    'FC8',
    'frames are replaced in the place of a locked mapping, and pointers stay',
    async (provider) => {
      using cache = cacheOf(provider)
      await mark(provider, 80, 16)
      const mapping = cache.map(frameAt(provider, 1), 0, 4096, { write: true })
      const { windowPage } = mapping.pointer()
      assert.equal(cache.replace(frameAt(provider, 1), frameAt(provider, 9), 1), windowPage)
      assertSame(mapping.bytes.slice(0, 16), pattern(89), 'the other frame')
      assert.equal(mapping.address, BigInt(frameAt(provider, 9)) * 4096n)
      mapping.writeUint8(100, 88)
      const seen = await provider.guest.read(frameAt(provider, 9), 100, 1)
      assertSame(seen, Uint8Array.of(88), 'a store reaches the other frame')
      mapping.release()
    },
  ),

  foreignCase('FC9', 'the asynchronous forms do the same', async (provider) => {
    using cache = cacheOf(provider)
    await mark(provider, 90, 16)
    const mapping = await cache.mapAsync(frameAt(provider, 2), 0, 4096)
    assertSame(mapping.copy().subarray(0, 16), pattern(92), 'a mapping')
    await mapping.releaseAsync()
    const list = await cache.mapListAsync([frameAt(provider, 9), frameAt(provider, 3)])
    assertSame(list.copy().subarray(4096, 4112), pattern(93), 'the second frame of a list')
    list.release()
    await refusalOf(() => cache.mapAsync(provider.hole, 0, 1))
  }),

  foreignCase('FC10', 'a domain that does not exist is told with its errno', async (provider) => {
    using cache = cacheOf(provider, { domain: provider.absentDomain })
    const error = await refusalOf(() => cache.loadUint8(frameAt(provider, 0), 0))
    assert.deepEqual(fieldsOf(error, 'code', 'domain', 'errnoName'), {
      code: 'ERR_XMC_FOREIGN_MAP',
      domain: Number(provider.absentDomain),
      errnoName: 'ESRCH',
    })
  }),

  foreignCase(
    'FC11',
    'a mapping for reading is read-only where it is made as requested',
    async (provider) => {
      const protection = available(provider.capabilities.protection)
      using cache = cacheOf(provider, { access: 'as-requested' })
      const reading = cache.map(frameAt(provider, 0), 0, 16)
      const writing = cache.map(frameAt(provider, 0), 0, 16, { write: true })
      assert.deepEqual(
        [reading, writing].map((mapping) => protection.of(mapping.pointer().windowPage)),
        ['read-only', 'read-write'],
      )
      assert.throws(() => reading.writeUint8(0, 1), { code: 'ERR_XMC_READ_ONLY' })
      writing.writeUint8(3, 33)
      assert.equal(reading.readUint8(3), 33, 'both show the same frame')
      reading.release()
      writing.release()
    },
    ['protection'],
  ),

  foreignCase('FC12', 'a view that outlives the cache reads zeros', async (provider) => {
    const cache = cacheOf(provider)
    await mark(provider, 12, 1)
    const mapping = cache.map(frameAt(provider, 0), 0, 4096, { write: true })
    const stale = mapping.bytes
    assertSame(stale.slice(0, 16), pattern(12), 'the view while it is mapped')
    cache.close({ force: true })
    assert.equal(
      stale.findIndex((byte) => byte !== 0),
      -1,
      'a byte that is not zero, at index',
    )
    stale.fill(0xee)
    const seen = await provider.guest.read(frameAt(provider, 0), 0, 16)
    assertSame(seen, pattern(12), 'the guest’s bytes')
  }),

  foreignCase(
    'FC13',
    '300 locks and releases over more than the budget leave nothing mapped',
    async (provider) => {
      const accounting = available(provider.capabilities.accounting)
      const before = accounting.liveMappings()
      const cache = cacheOf(provider, { retention: { kind: 'keep', budgetBytes: BUCKET_BYTES } })
      for (const turn of upTo(300)) {
        const mapping = cache.map(frameAt(provider, (turn * 5) % 16), 0, 64, { write: true })
        mapping.writeUint32(0, turn)
        mapping.release()
      }
      assert.ok(cache.statistics.evictions > 100, 'the budget was exceeded often')
      assert.ok(accounting.liveMappings() > before, 'a mapping is kept')
      cache.close()
      assert.equal(accounting.liveMappings(), before, 'live mappings')
    },
    ['accounting'],
  ),

  foreignCase('FC14', '50 requests for holes leave nothing mapped', async (provider) => {
    using cache = cacheOf(provider)
    const { hole } = provider
    await inOrder(upTo(50), async () => {
      await refusalOf(() => cache.map(hole, 0, 16))
    })
    assert.equal(cache.statistics.mappedPages, 0, 'mapped pages')
    await mark(provider, 14, 1)
    assert.equal(cache.loadUint8(frameAt(provider, 0), 0), pattern(14)[0], 'a good frame after it')
  }),
]

function cacheOf(
  provider: ForeignMemoryProvider,
  options: Partial<ForeignCacheOptions> = {},
): MapCache<GuestFrame, ForeignBackend> {
  const { memory, domain, window } = provider
  const defaults = { bucketShift: BUCKET_SHIFT, quarantineBytes: 0 }
  return createForeignCache({ memory, domain, window, ...defaults, ...options })
}

/** The least bucket that has memory at its start and holes at its end, around the border. */
function shiftOverTheBorder(border: GuestFrame): number {
  let pages = 2
  while ((border + 1) % pages === 0) pages *= 2
  return 12 + Math.log2(pages)
}

function fieldsOf(error: XmcError, ...names: readonly string[]): Record<string, unknown> {
  const all = new Map<string, unknown>(Object.entries(error))
  return Object.fromEntries(names.map((name) => [name, all.get(name)]))
}
