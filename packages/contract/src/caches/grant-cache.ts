import assert from 'node:assert/strict'
import type { MapCache } from '@xmc/core'
import { createGrantCache, type GrantBackend, type GrantCacheOptions } from '@xmc/grants'
import type { GrantReference, XmcError } from '@xmc/interface'
import { available } from '../contract-case.ts'
import type { GrantTableProvider } from '../grant-table/provider.ts'
import {
  type GrantTableCase,
  grantCase,
  grantMarked,
  REFERENCE_OUTSIDE,
  referenceAt,
} from '../grant-table/steps.ts'
import { inOrder, upTo } from '../internal/in-order.ts'
import { refusalOf } from '../internal/refusals.ts'
import { assertSame, pattern } from '../internal/window-bytes.ts'

/** What a cache over any provider of grants does: the cases GC1 to GC15. */
export const grantCacheContract: readonly GrantTableCase[] = [
  grantCase(
    'GC1',
    'unlocked access reads and writes granted pages without a map',
    async (provider) => {
      using cache = cacheOf(provider)
      const pages = await grantMarked(provider, 1, 2)
      const reference = referenceAt(pages, 1)
      const bytes = new Uint8Array(16)
      cache.read(reference, 4080, bytes)
      assertSame(bytes, pattern(2), 'bytes that were read')
      cache.write(reference, 100, pattern(3))
      assertSame(await pages.read(1, 100, 16), pattern(3), 'bytes that were written')
      const { mapCalls, copyCalls } = cache.statistics
      assert.deepEqual({ mapCalls, copyCalls }, { mapCalls: 0, copyCalls: 2 })
    },
  ),

  grantCase(
    'GC2',
    'a locked mapping aliases the page and goes with its last lock',
    async (provider) => {
      const accounting = available(provider.capabilities.accounting)
      const before = accounting.liveMappings()
      using cache = cacheOf(provider)
      const pages = await grantMarked(provider, 2, 1)
      const first = cache.map(referenceAt(pages, 0), 0, 4096, { write: true })
      const second = cache.map(referenceAt(pages, 0), 8, 16, { write: true })
      first.write(8, pattern(5))
      assertSame(await pages.read(0, 8, 16), pattern(5), 'the granter sees a store')
      assertSame(second.copy(), pattern(5), 'the second lock is of the same mapping')
      assert.equal(cache.statistics.mapCalls, 1)
      first.release()
      assert.ok(accounting.liveMappings() > before, 'a lock is left')
      second.release()
      assert.equal(accounting.liveMappings(), before, 'live mappings')
      assert.throws(() => second.release(), { code: 'ERR_XMC_RELEASED' })
    },
    ['accounting'],
  ),

  grantCase(
    'GC3',
    'scattered references are one mapping, in the order of the list',
    async (provider) => {
      using cache = cacheOf(provider)
      const pages = await grantMarked(provider, 30, 4)
      const order = [3, 0, 2, 0]
      const references = order.map((index) => referenceAt(pages, index))
      const mapping = cache.mapList(references, { write: true })
      for (const [page, index] of order.entries()) {
        const bytes = mapping.bytes.slice(page * 4096, page * 4096 + 16)
        assertSame(bytes, pattern(30 + index), `page ${page} of the list`)
      }
      mapping.writeUint8(4096 + 50, 55)
      assert.equal(mapping.readUint8(3 * 4096 + 50), 55, 'a reference that is listed twice')
      mapping.release()
    },
  ),

  grantCase(
    'GC4',
    'consecutive references are one mapping',
    async (provider) => {
      const pages = await available(provider.capabilities.consecutive).grant(4)
      await pages.write(3, 4080, pattern(4))
      using cache = cacheOf(provider)
      const mapping = cache.map(referenceAt(pages, 0), 0, 4 * 4096)
      assertSame(mapping.copy().subarray(4 * 4096 - 16), pattern(4), 'the end of the last page')
      const { unsafeBytes } = mapping
      const address = (BigInt(referenceAt(pages, 0)) + 3n) * 4096n + 5n
      assert.equal(cache.addressOf(unsafeBytes.subarray(3 * 4096 + 5)), address)
      mapping.release()
    },
    ['consecutive'],
  ),

  grantCase(
    'GC5',
    'a mapping for reading is another one, and refuses stores',
    async (provider) => {
      const protection = available(provider.capabilities.protection)
      using cache = cacheOf(provider)
      const pages = await grantMarked(provider, 5, 1)
      const reading = cache.map(referenceAt(pages, 0), 0, 4096)
      const writing = cache.map(referenceAt(pages, 0), 0, 4096, { write: true })
      assert.deepEqual(
        [reading, writing].map((mapping) => protection.of(mapping.pointer().windowPage)),
        ['read-only', 'read-write'],
      )
      assert.throws(() => reading.writeUint8(0, 1), { code: 'ERR_XMC_READ_ONLY' })
      writing.writeUint8(7, 70)
      assert.equal(reading.readUint8(7), 70, 'both show the same page')
      reading.release()
      writing.release()
    },
    ['protection'],
  ),

  grantCase(
    'GC6',
    'a bad reference is named, with the status of the hypervisor',
    async (provider) => {
      using cache = cacheOf(provider)
      const pages = await grantMarked(provider, 6, 2)
      const list = [referenceAt(pages, 0), REFERENCE_OUTSIDE, referenceAt(pages, 1)]
      assert.deepEqual(failureOf(await refusalOf(() => cache.mapList(list))), {
        code: 'ERR_XMC_GRANT_MAP',
        errnoName: 'EINVAL',
        failedReference: Number(REFERENCE_OUTSIDE),
        statusName: 'GNTST_bad_gntref',
      })
      assert.deepEqual(
        failureOf(await refusalOf(() => cache.map(provider.unusedReference, 0, 1))),
        {
          code: 'ERR_XMC_GRANT_MAP',
          errnoName: 'EINVAL',
          failedReference: Number(provider.unusedReference),
          statusName: 'GNTST_general_error',
        },
      )
      assert.equal(cache.statistics.mappedPages, 0, 'mapped pages')
    },
  ),

  grantCase('GC7', 'a domain that does not exist is named so', async (provider) => {
    using cache = cacheOf(provider, { domain: provider.absentDomain })
    const pages = await grantMarked(provider, 7, 1)
    const error = await refusalOf(() => cache.map(referenceAt(pages, 0), 0, 1))
    assert.equal(failureOf(error)['statusName'], 'GNTST_bad_domain')
  }),

  grantCase(
    'GC8',
    'a read-only grant refuses a writable mapping, and serves reads',
    async (provider) => {
      using cache = cacheOf(provider)
      const pages = await grantMarked(provider, 8, 1, { writable: false })
      const reference = referenceAt(pages, 0)
      const error = await refusalOf(() => cache.map(reference, 0, 16, { write: true }))
      assert.deepEqual(failureOf(error), {
        code: 'ERR_XMC_GRANT_MAP',
        errnoName: 'EINVAL',
        failedReference: undefined,
        statusName: undefined,
      })
      assert.match(error.message, /a grant is read-only/)
      const store = await refusalOf(() => cache.storeUint8(reference, 0, 1))
      assert.equal(store.code, 'ERR_XMC_GRANT_COPY')
      const mapping = cache.map(reference, 0, 16)
      assertSame(mapping.copy(), pattern(8), 'a mapping for reading')
      mapping.release()
    },
  ),

  grantCase('GC9', 'the 129th mapping of a reference is over a named limit', async (provider) => {
    using cache = cacheOf(provider)
    const pages = await grantMarked(provider, 9, 1)
    const reference = referenceAt(pages, 0)
    const mappings = upTo(128).map(() => cache.mapList([reference], { write: true }))
    const error = await refusalOf(() => cache.mapList([reference], { write: true }))
    assert.deepEqual(
      { code: error.code, ...pick(error, 'limitName', 'limit', 'value', 'reference') },
      {
        code: 'ERR_XMC_GRANT_LIMIT',
        limitName: 'mappings-per-reference',
        limit: 128,
        value: 129,
        reference: Number(reference),
      },
    )
    for (const mapping of mappings) mapping.release()
    cache.mapList([reference], { write: true }).release()
  }),

  grantCase('GC10', 'the asynchronous forms do the same', async (provider) => {
    using cache = cacheOf(provider)
    const pages = await grantMarked(provider, 10, 3)
    const mapping = await cache.mapAsync(referenceAt(pages, 1), 0, 4096, { write: true })
    assertSame(mapping.bytes.slice(0, 16), pattern(11), 'a mapping')
    await mapping.releaseAsync()
    assert.equal(cache.statistics.mappedPages, 0, 'mapped pages after the release')
    const references = [2, 0].map((index) => referenceAt(pages, index))
    const lists = await Promise.all(upTo(8).map(() => cache.mapListAsync(references)))
    for (const list of lists) {
      assertSame(list.copy().subarray(4096, 4112), pattern(10), 'the second page of a list')
    }
    await Promise.all(lists.map((list) => list.releaseAsync()))
    assert.equal(cache.statistics.mappedPages, 0, 'mapped pages at the end')
    await refusalOf(() => cache.mapAsync(REFERENCE_OUTSIDE, 0, 1))
  }),

  grantCase('GC11', 'a full invalidation leaves locked grants alone', async (provider) => {
    using cache = cacheOf(provider)
    const pages = await grantMarked(provider, 11, 1)
    const mapping = cache.map(referenceAt(pages, 0), 0, 4096, { write: true })
    await cache.invalidateAll()
    mapping.write(0, pattern(12))
    assertSame(await pages.read(0, 0, 16), pattern(12), 'a store reaches the granter')
    mapping.release()
  }),

  grantCase(
    'GC12',
    'persistent grants stay mapped until they are flushed',
    async (provider) => {
      const accounting = available(provider.capabilities.accounting)
      const before = accounting.liveMappings()
      using cache = cacheOf(provider, {
        persistent: { maximumPages: 8, idleMilliseconds: 60_000 },
      })
      const pages = await grantMarked(provider, 12, 1)
      for (const turn of upTo(10)) {
        const mapping = cache.map(referenceAt(pages, 0), 0, 4096, { write: true })
        mapping.writeUint8(200, turn)
        mapping.release()
      }
      assert.equal(cache.statistics.mapCalls, 1)
      assertSame(await pages.read(0, 200, 1), Uint8Array.of(9), 'the last store')
      assert.equal(cache.flush(), 1)
      assert.equal(accounting.liveMappings(), before, 'live mappings')
    },
    ['accounting'],
  ),

  grantCase(
    'GC13',
    '300 maps and releases leave nothing mapped, nor pinned',
    async (provider) => {
      const accounting = available(provider.capabilities.accounting)
      const before = accounting.liveMappings()
      const cache = cacheOf(provider)
      const pages = await grantMarked(provider, 13, 4)
      for (const turn of upTo(300)) {
        const mapping = cache.map(referenceAt(pages, turn % 4), 0, 64, { write: true })
        mapping.writeUint32(0, turn)
        mapping.release()
      }
      assert.equal(accounting.liveMappings(), before, 'live mappings')
      const reference = referenceAt(pages, 0)
      const all = upTo(128).map(() => cache.mapList([reference], { write: true }))
      assert.equal(all.length, 128, 'mappings that the reference still takes')
      for (const mapping of all) mapping.release()
      cache.close()
    },
    ['accounting'],
  ),

  grantCase('GC14', '130 refused maps leave nothing mapped, nor pinned', async (provider) => {
    using cache = cacheOf(provider)
    const pages = await grantMarked(provider, 14, 1)
    const reference = referenceAt(pages, 0)
    await inOrder(upTo(130), async () => {
      await refusalOf(() => cache.mapList([reference, REFERENCE_OUTSIDE], { write: true }))
    })
    const all = upTo(128).map(() => cache.mapList([reference], { write: true }))
    for (const mapping of all) mapping.release()
    assert.equal(cache.statistics.mappedPages, 0, 'mapped pages')
  }),

  grantCase('GC15', 'a view that outlives the cache reads zeros', async (provider) => {
    const cache = cacheOf(provider)
    const pages = await grantMarked(provider, 15, 1)
    const stale = cache.map(referenceAt(pages, 0), 0, 4096, { write: true }).bytes
    assertSame(stale.slice(0, 16), pattern(15), 'the view while it is mapped')
    cache.close({ force: true })
    assert.equal(
      stale.findIndex((byte) => byte !== 0),
      -1,
      'a byte that is not zero, at index',
    )
    stale.fill(0xee)
    assertSame(await pages.read(0, 0, 16), pattern(15), 'the granter’s bytes')
  }),
]

function cacheOf(
  provider: GrantTableProvider,
  options: Partial<GrantCacheOptions> = {},
): MapCache<GrantReference, GrantBackend> {
  const { table, domain, window } = provider
  return createGrantCache({ table, domain, window, quarantineBytes: 0, ...options })
}

function failureOf(error: XmcError): Record<string, unknown> {
  return pick(error, 'code', 'errnoName', 'failedReference', 'statusName')
}

function pick(error: XmcError, ...names: readonly string[]): Record<string, unknown> {
  const all = new Map<string, unknown>(Object.entries(error))
  return Object.fromEntries(names.map((name) => [name, all.get(name)]))
}
