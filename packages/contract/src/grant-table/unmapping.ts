import assert from 'node:assert/strict'
import { available } from '../contract-case.ts'
import { inOrder, upTo } from '../internal/in-order.ts'
import { assertErrno } from '../internal/refusals.ts'
import {
  assertBytes,
  assertSame,
  assertZeros,
  at,
  pageBytes,
  pattern,
} from '../internal/window-bytes.ts'
import {
  type GrantTableCase,
  grantCase,
  grantMarked,
  map,
  REFERENCE_OUTSIDE,
  referenceAt,
  unmap,
} from './steps.ts'

/** What an unmap, and its notification, does. */
export const unmappingCases: readonly GrantTableCase[] = [
  grantCase(
    'G26',
    'unmapped pages read as zeros, and the granter keeps its bytes',
    async (provider) => {
      const pages = await grantMarked(provider, 26, 3)
      map(provider, 2, pages.references)
      assertBytes(provider.window, 4, 0, pattern(28), 'the last page while it is mapped')
      unmap(provider, 2, 3)
      assertZeros(provider.window, 2, 3, 'the range')
      assertSame(await pages.read(2, 4080, 16), pattern(28), 'the granter’s bytes')
    },
  ),

  grantCase(
    'G27',
    'a stale view reads zeros, and its stores do not reach the granter',
    async (provider) => {
      const pages = await grantMarked(provider, 27, 1)
      map(provider, 0, pages.references)
      const stale = pageBytes(provider.window, 0)
      unmap(provider, 0, 1)
      assertSame(stale.slice(0, 16), new Uint8Array(16), 'the stale view')
      stale.fill(0xee)
      assertSame(await pages.read(0, 0, 16), pattern(27), 'the granter’s bytes')
    },
  ),

  grantCase(
    'G28',
    'an unmap of another count is EINVAL, and the mapping stays',
    async (provider) => {
      const pages = await grantMarked(provider, 28, 3)
      map(provider, 2, pages.references)
      await inOrder([1, 2, 4], async (count) => {
        await assertErrno(() => unmap(provider, 2, count), 'EINVAL')
        await assertErrno(() => provider.table.unmapAsync(provider.window, at(2), count), 'EINVAL')
      })
      for (const index of upTo(3)) {
        assertBytes(provider.window, 2 + index, 0, pattern(28 + index), `page ${index}`)
      }
      pageBytes(provider.window, 4).set(pattern(50))
      assertSame(await pages.read(2, 0, 16), pattern(50), 'the mapping still aliases')
      unmap(provider, 2, 3)
      assertZeros(provider.window, 2, 3, 'the range after the right unmap')
    },
  ),

  grantCase(
    'G29',
    'an unmap at another start is EINVAL, and the mapping stays',
    async (provider) => {
      const pages = await grantMarked(provider, 29, 3)
      map(provider, 2, pages.references)
      await assertErrno(() => unmap(provider, 3, 2), 'EINVAL')
      await assertErrno(() => unmap(provider, 3, 3), 'EINVAL')
      await assertErrno(() => unmap(provider, 1, 4), 'EINVAL')
      for (const index of upTo(3)) {
        assertBytes(provider.window, 2 + index, 0, pattern(29 + index), `page ${index}`)
      }
      unmap(provider, 2, 3)
      assertZeros(provider.window, 2, 3, 'the range after the right unmap')
    },
  ),

  grantCase('G30', 'a second unmap is EINVAL', async (provider) => {
    const pages = await grantMarked(provider, 30, 1)
    map(provider, 2, pages.references)
    unmap(provider, 2, 1)
    await assertErrno(() => unmap(provider, 2, 1), 'EINVAL')
    await assertErrno(() => provider.table.unmapAsync(provider.window, at(2), 1), 'EINVAL')
  }),

  grantCase('G31', 'an unmap leaves the mappings beside it', async (provider) => {
    const pages = await grantMarked(provider, 31, 3)
    for (const index of upTo(3)) map(provider, index, [referenceAt(pages, index)])
    unmap(provider, 1, 1)
    assertBytes(provider.window, 0, 0, pattern(31), 'the mapping below')
    assertZeros(provider.window, 1, 1, 'the range')
    assertBytes(provider.window, 2, 0, pattern(33), 'the mapping above')
    pageBytes(provider.window, 2).set(pattern(60))
    assertSame(await pages.read(2, 0, 16), pattern(60), 'the mapping above still aliases')
  }),

  grantCase(
    'G32',
    'after an unmap the place and the references can be mapped again',
    async (provider) => {
      const pages = await grantMarked(provider, 32, 4)
      const pair = (first: number, second: number) => [
        referenceAt(pages, first),
        referenceAt(pages, second),
      ]
      map(provider, 0, pair(0, 1))
      unmap(provider, 0, 2)
      map(provider, 0, pair(3, 2))
      assertBytes(provider.window, 0, 0, pattern(35), 'other references at the place')
      map(provider, 8, pair(0, 1))
      assertBytes(provider.window, 9, 0, pattern(33), 'the references at another place')
    },
  ),

  grantCase('G33', '1,000 maps and unmaps leave no mapping of the reference', async (provider) => {
    const pages = await grantMarked(provider, 33, 1)
    for (const turn of upTo(1000)) {
      map(provider, turn % 8, pages.references, { writable: turn % 2 === 0 })
      unmap(provider, turn % 8, 1)
    }
    assertZeros(provider.window, 0, 8, 'the places')
    for (const page of upTo(128)) map(provider, page, pages.references)
    assertBytes(provider.window, 127, 0, pattern(33), 'the 128th mapping')
  }),

  grantCase(
    'G34',
    'maps and unmaps, good and bad, leave no mapping',
    async (provider) => {
      const accounting = available(provider.capabilities.accounting)
      const pages = await grantMarked(provider, 34, 3)
      const before = accounting.liveMappings()
      await inOrder(upTo(100), async () => {
        map(provider, 0, pages.references)
        await assertErrno(() => unmap(provider, 0, 2), 'EINVAL')
        unmap(provider, 0, 3)
        await assertErrno(
          () => map(provider, 8, [...pages.references, REFERENCE_OUTSIDE]),
          'EINVAL',
        )
      })
      assert.equal(accounting.liveMappings(), before, 'live mappings')
      map(provider, 0, pages.references)
      assert.notEqual(accounting.liveMappings(), before, 'a live mapping is counted')
    },
    ['accounting'],
  ),

  grantCase(
    'G35',
    'closing the table releases its mappings',
    async (provider) => {
      const pages = await grantMarked(provider, 35, 1)
      for (const page of upTo(128)) map(provider, page, pages.references)
      const reopened = await available(provider.capabilities.reopening).reopen()
      assertZeros(provider.window, 0, 128, 'the window')
      const { domain, window } = provider
      for (const page of upTo(128)) {
        reopened.map({
          domain,
          window,
          windowPage: at(page),
          references: pages.references,
          writable: true,
        })
      }
      assertBytes(window, 127, 0, pattern(35), 'the 128th mapping of the new table')
    },
    ['reopening'],
  ),
]
