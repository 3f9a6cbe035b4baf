import assert from 'node:assert/strict'
import { available } from '../contract-case.ts'
import { upTo } from '../internal/in-order.ts'
import { assertErrno } from '../internal/refusals.ts'
import {
  assertBytes,
  assertSame,
  assertZeros,
  pageBytes,
  pattern,
} from '../internal/window-bytes.ts'
import {
  type GrantTableCase,
  grantCase,
  grantMarked,
  map,
  markPages,
  referenceAt,
  unmap,
} from './steps.ts'

/** What a map that succeeds does. */
export const mappingCases: readonly GrantTableCase[] = [
  grantCase(
    'G1',
    'a mapping aliases the granted page, both ways, to its last byte',
    async (provider) => {
      const pages = await grantMarked(provider, 1, 1)
      map(provider, 3, pages.references)
      assertBytes(provider.window, 3, 0, pattern(1), 'the start')
      assertBytes(provider.window, 3, 4080, pattern(1), 'the end')
      pageBytes(provider.window, 3).set(pattern(2), 4080)
      assertSame(await pages.read(0, 4080, 16), pattern(2), 'the granter sees a store')
      await pages.write(0, 200, pattern(3))
      assertBytes(provider.window, 3, 200, pattern(3), 'the window shows a store of the granter')
    },
  ),

  grantCase(
    'G2',
    'scattered references map contiguously, in the order of the list',
    async (provider) => {
      const pages = await grantMarked(provider, 10, 6)
      const order = [5, 0, 3, 2]
      map(
        provider,
        8,
        order.map((index) => referenceAt(pages, index)),
      )
      for (const [page, index] of order.entries()) {
        assertBytes(provider.window, 8 + page, 4080, pattern(10 + index), `page ${index}`)
      }
      pageBytes(provider.window, 10).set(pattern(40))
      assertSame(await pages.read(3, 0, 16), pattern(40), 'a store reaches the third in the list')
      assertSame(await pages.read(4, 0, 16), pattern(14), 'a page that is not in the list')
    },
  ),

  grantCase(
    'G3',
    'a run maps consecutive references contiguously',
    async (provider) => {
      const pages = await available(provider.capabilities.consecutive).grant(4)
      await markPages(pages, 20)
      map(provider, 1, { first: referenceAt(pages, 0), count: 4 })
      for (const index of upTo(4)) {
        assertBytes(provider.window, 1 + index, 0, pattern(20 + index), `page ${index}`)
      }
      pageBytes(provider.window, 4).set(pattern(30), 4080)
      assertSame(await pages.read(3, 4080, 16), pattern(30), 'the last bytes of the mapping')
    },
    ['consecutive'],
  ),

  grantCase(
    'G4',
    'a reference that is listed twice aliases inside the mapping',
    async (provider) => {
      const pages = await grantMarked(provider, 4, 2)
      map(
        provider,
        0,
        [0, 1, 0].map((index) => referenceAt(pages, index)),
      )
      pageBytes(provider.window, 0).set(pattern(50), 64)
      assertBytes(provider.window, 2, 64, pattern(50), 'the second place of the reference')
    },
  ),

  grantCase('G5', 'two mappings of one reference alias', async (provider) => {
    const pages = await grantMarked(provider, 5, 1)
    map(provider, 0, pages.references)
    map(provider, 6, pages.references)
    pageBytes(provider.window, 6).set(pattern(55), 64)
    assertBytes(provider.window, 0, 64, pattern(55), 'the other mapping')
  }),

  grantCase(
    'G6',
    'a map touches no page beside its target, and nothing of the granter',
    async (provider) => {
      const pages = await grantMarked(provider, 60, 4)
      map(provider, 1, [referenceAt(pages, 0)])
      pageBytes(provider.window, 2).set(pattern(72))
      pageBytes(provider.window, 3).fill(0xee)
      pageBytes(provider.window, 4).fill(0xee)
      pageBytes(provider.window, 5).set(pattern(75))
      map(
        provider,
        3,
        [1, 2].map((index) => referenceAt(pages, index)),
      )
      assertBytes(provider.window, 1, 0, pattern(60), 'the mapping below')
      assertBytes(provider.window, 2, 0, pattern(72), 'the page below')
      assertBytes(provider.window, 5, 0, pattern(75), 'the page above')
      assertSame(await pages.read(1, 0, 16), pattern(61), 'the granter’s bytes')
      assertBytes(provider.window, 4, 4080, pattern(62), 'the mapping')
    },
  ),

  grantCase('G7', 'one mapping takes 256 references', async (provider) => {
    const pages = await grantMarked(provider, 7, 256)
    map(provider, 0, pages.references)
    for (const index of upTo(256)) {
      assertBytes(provider.window, index, 4080, pattern(7 + index), `page ${index}`)
    }
  }),

  grantCase('G8', 'a read-only grant maps for reading', async (provider) => {
    const pages = await grantMarked(provider, 8, 2, { writable: false })
    map(provider, 0, pages.references, { writable: false })
    assertBytes(provider.window, 1, 4080, pattern(9), 'the second page')
    await pages.write(1, 0, pattern(80))
    assertBytes(provider.window, 1, 0, pattern(80), 'a store of the granter')
  }),

  grantCase('G9', 'a grant maps for reading and for writing at once', async (provider) => {
    const pages = await grantMarked(provider, 9, 1)
    map(provider, 0, pages.references, { writable: false })
    map(provider, 1, pages.references, { writable: true })
    pageBytes(provider.window, 1).set(pattern(90), 32)
    assertBytes(provider.window, 0, 32, pattern(90), 'the read-only mapping')
  }),

  grantCase(
    'G10',
    'a mapping for reading is read-only, even of a writable grant',
    async (provider) => {
      const protection = available(provider.capabilities.protection)
      const pages = await grantMarked(provider, 10, 1)
      const readOnly = await grantMarked(provider, 11, 1, { writable: false })
      map(provider, 0, pages.references, { writable: false })
      map(provider, 2, pages.references, { writable: true })
      map(provider, 4, readOnly.references, { writable: false })
      assert.deepEqual(
        [0, 2, 4].map((page) => protection.of(page)),
        ['read-only', 'read-write', 'read-only'],
      )
    },
    ['protection'],
  ),

  grantCase('G11', 'a mapping survives the end of its grant', async (provider) => {
    const pages = await grantMarked(provider, 11, 1)
    map(provider, 0, pages.references)
    await pages.revoke()
    assertBytes(provider.window, 0, 0, pattern(11), 'the mapping')
    pageBytes(provider.window, 0).set(pattern(12))
    assertBytes(provider.window, 0, 0, pattern(12), 'a store to the mapping')
    unmap(provider, 0, 1)
    assertZeros(provider.window, 0, 1, 'the unmapped page')
  }),

  grantCase(
    'G12',
    'a mapping survives its domain and can be unmapped',
    async (provider) => {
      const pages = await grantMarked(provider, 12, 2)
      map(provider, 0, [referenceAt(pages, 0)])
      await available(provider.capabilities.death).destroy()
      assertBytes(provider.window, 0, 0, pattern(12), 'the mapping')
      pageBytes(provider.window, 0).set(pattern(13))
      assertBytes(provider.window, 0, 0, pattern(13), 'a store to the mapping')
      await assertErrno(() => map(provider, 4, [referenceAt(pages, 1)]), 'EINVAL')
      unmap(provider, 0, 1)
      assertZeros(provider.window, 0, 1, 'the unmapped page')
    },
    ['death'],
  ),
]
