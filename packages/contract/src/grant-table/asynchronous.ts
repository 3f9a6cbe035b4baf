import assert from 'node:assert/strict'
import { setTimeout as delay } from 'node:timers/promises'
import { available } from '../contract-case.ts'
import { together } from '../internal/in-order.ts'
import { assertErrno } from '../internal/refusals.ts'
import {
  assertBytes,
  assertSame,
  assertZeros,
  at,
  pageBytes,
  pattern,
} from '../internal/window-bytes.ts'
import { type GrantTableCase, grantCase, grantMarked, map, mapRequest, unmap } from './steps.ts'

/** What the asynchronous forms do, and paging. */
export const asynchronousCases: readonly GrantTableCase[] = [
  grantCase('G50', 'mapAsync maps and unmapAsync unmaps', async (provider) => {
    const pages = await grantMarked(provider, 50, 3)
    await provider.table.mapAsync(mapRequest(provider, 4, pages.references))
    assertBytes(provider.window, 6, 4080, pattern(52), 'the third page')
    pageBytes(provider.window, 4).set(pattern(60))
    assertSame(await pages.read(0, 0, 16), pattern(60), 'a store reaches the granter')
    await provider.table.unmapAsync(provider.window, at(4), 3)
    assertZeros(provider.window, 4, 3, 'the range')
    await assertErrno(() => unmap(provider, 4, 3), 'EINVAL')
  }),

  grantCase('G51', 'what mapAsync mapped, unmap unmaps, and the reverse', async (provider) => {
    const pages = await grantMarked(provider, 51, 2)
    await provider.table.mapAsync(mapRequest(provider, 0, pages.references))
    unmap(provider, 0, 2)
    assertZeros(provider.window, 0, 2, 'the range')
    map(provider, 0, pages.references)
    await provider.table.unmapAsync(provider.window, at(0), 2)
    assertZeros(provider.window, 0, 2, 'the range')
  }),

  grantCase(
    'G52',
    'map of a paged-out page is EAGAIN, and nothing is mapped',
    async (provider) => {
      const pages = await grantMarked(provider, 52, 2)
      await available(provider.capabilities.paging).pageOut(pages, 1)
      pageBytes(provider.window, 0).fill(0xee)
      await assertErrno(() => map(provider, 0, pages.references), 'EAGAIN')
      assertZeros(provider.window, 0, 2, 'the target')
    },
    ['paging'],
  ),

  grantCase(
    'G53',
    'mapAsync waits for a paged-out page without blocking the event loop',
    async (provider) => {
      const paging = available(provider.capabilities.paging)
      const pages = await grantMarked(provider, 53, 2)
      await paging.pageOut(pages, 1)
      const order: string[] = []
      const request = mapRequest(provider, 0, pages.references)
      const pageInLater = async (): Promise<void> => {
        await delay(1)
        order.push('paged in')
        await paging.pageIn(pages, 1)
      }
      const mapped = provider.table.mapAsync(request).then(() => order.push('mapped'))
      await together(mapped, pageInLater())
      assert.deepEqual(order, ['paged in', 'mapped'])
      assertBytes(provider.window, 1, 0, pattern(54), 'the page that was paged in')
    },
    ['paging'],
  ),
]
