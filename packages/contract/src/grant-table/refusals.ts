import { MAX_REFERENCES_PER_MAP } from '@xmc/interface'
import { inOrder, upTo } from '../internal/in-order.ts'
import { assertErrno, refusalOf } from '../internal/refusals.ts'
import {
  assertBytes,
  assertSame,
  assertZeros,
  pageBytes,
  pattern,
} from '../internal/window-bytes.ts'
import {
  assertRefused,
  type GrantTableCase,
  grantCase,
  grantMarked,
  map,
  mapRequest,
  REFERENCE_OUTSIDE,
  referenceAt,
  unmap,
} from './steps.ts'

/** What bad references, domains, counts and limits do: `EINVAL` for all of them. */
export const refusalCases: readonly GrantTableCase[] = [
  grantCase('G13', 'a reference outside the table is EINVAL', async (provider) => {
    await assertRefused(provider, [REFERENCE_OUTSIDE])
  }),

  grantCase('G14', 'a reference that grants nothing is EINVAL', async (provider) => {
    await assertRefused(provider, [provider.unusedReference])
  }),

  grantCase('G15', 'a domain that does not exist is EINVAL', async (provider) => {
    const pages = await grantMarked(provider, 15, 1)
    await assertRefused(provider, pages.references, { domain: provider.absentDomain })
  }),

  grantCase('G16', 'a grant for somebody else is EINVAL', async (provider) => {
    const pages = await grantMarked(provider, 16, 1, { to: provider.otherDomain })
    await assertRefused(provider, pages.references)
  }),

  grantCase('G17', 'a read-only grant is EINVAL for writing', async (provider) => {
    const pages = await grantMarked(provider, 17, 1, { writable: false })
    await assertRefused(provider, pages.references)
  }),

  grantCase('G18', 'a grant that was ended is EINVAL', async (provider) => {
    const pages = await grantMarked(provider, 18, 1)
    map(provider, 0, pages.references)
    unmap(provider, 0, 1)
    await pages.revoke()
    await assertRefused(provider, pages.references)
  }),

  grantCase('G19', 'one bad reference fails the batch, and nothing is mapped', async (provider) => {
    const pages = await grantMarked(provider, 19, 2)
    const batch = [referenceAt(pages, 0), REFERENCE_OUTSIDE, referenceAt(pages, 1)]
    await assertRefused(provider, batch)
    for (const page of [4, 5, 6]) pageBytes(provider.window, page).fill(0xee)
    assertSame(await pages.read(0, 0, 16), pattern(19), 'a store does not reach the first page')
    assertSame(await pages.read(1, 0, 16), pattern(20), 'a store does not reach the last page')
  }),

  grantCase('G20', 'no references are refused', async (provider) => {
    await refusalOf(() => map(provider, 0, []))
    await refusalOf(() => provider.table.mapAsync(mapRequest(provider, 0, [])))
  }),

  grantCase('G21', '65,537 references are refused', async (provider) => {
    const pages = await grantMarked(provider, 21, 1)
    const [reference] = pages.references
    const list = Array.from(upTo(MAX_REFERENCES_PER_MAP + 1), () => reference ?? REFERENCE_OUTSIDE)
    await refusalOf(() => map(provider, 0, list))
    assertZeros(provider.window, 0, 4, 'the target')
  }),

  grantCase(
    'G22',
    'a target over the end of the window is refused, and nothing is mapped',
    async (provider) => {
      const last = provider.window.pageCount - 1
      const pages = await grantMarked(provider, 22, 2)
      await refusalOf(() => map(provider, last, pages.references))
      assertZeros(provider.window, last, 1, 'the last page of the window')
      map(provider, last, [referenceAt(pages, 1)])
      assertBytes(provider.window, last, 4080, pattern(23), 'a map that just fits')
    },
  ),

  grantCase(
    'G23',
    '200 failed batches leave no mapping of the good reference',
    async (provider) => {
      const pages = await grantMarked(provider, 23, 1)
      const batch = [referenceAt(pages, 0), REFERENCE_OUTSIDE]
      await inOrder(upTo(200), async () => {
        await assertErrno(() => map(provider, 0, batch), 'EINVAL')
      })
      for (const page of upTo(128)) map(provider, page, pages.references)
      assertBytes(provider.window, 127, 0, pattern(23), 'the 128th mapping')
    },
  ),

  grantCase(
    'G24',
    'a reference takes 128 writable mappings, the next is EINVAL',
    async (provider) => {
      const pages = await grantMarked(provider, 24, 1)
      for (const page of upTo(128)) map(provider, 10 + page, pages.references)
      assertBytes(provider.window, 137, 0, pattern(24), 'the 128th mapping')
      await assertRefused(provider, pages.references)
      unmap(provider, 10, 1)
      map(provider, 4, pages.references)
      assertBytes(provider.window, 4, 0, pattern(24), 'a mapping in the place of a released one')
    },
  ),

  grantCase(
    'G25',
    'a reference takes 128 read-only mappings, and writable ones besides',
    async (provider) => {
      const pages = await grantMarked(provider, 25, 1)
      for (const page of upTo(128)) map(provider, 10 + page, pages.references, { writable: false })
      await assertRefused(provider, pages.references, { writable: false })
      map(provider, 4, pages.references)
      assertBytes(provider.window, 4, 0, pattern(25), 'the writable mapping')
    },
  ),
]
