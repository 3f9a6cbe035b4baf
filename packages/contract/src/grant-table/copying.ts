import assert from 'node:assert/strict'
import { inspect } from 'node:util'
import { type GrantCopySegment, XmcError } from '@xmc/interface'
import { assertBytes, assertSame, pattern } from '../internal/window-bytes.ts'
import {
  copyOne,
  type GrantTableCase,
  grantCase,
  grantMarked,
  map,
  REFERENCE_OUTSIDE,
  referenceAt,
} from './steps.ts'

/** What grant copy does. */
export const copyingCases: readonly GrantTableCase[] = [
  grantCase('G42', 'a copy reads a granted page without mapping it', async (provider) => {
    const pages = await grantMarked(provider, 42, 2)
    const bytes = new Uint8Array(16)
    const reference = referenceAt(pages, 1)
    assert.equal(copyOne(provider, 'from-grant', reference, 4080, bytes), 0)
    assertSame(bytes, pattern(43), 'the bytes read')
    const whole = new Uint8Array(4096)
    assert.equal(copyOne(provider, 'from-grant', reference, 0, whole), 0)
    assertSame(whole.subarray(4080), pattern(43), 'the end of a whole page')
    assertSame(await pages.read(1, 0, 16), pattern(43), 'the granter’s bytes')
  }),

  grantCase('G43', 'a copy writes a granted page without mapping it', async (provider) => {
    const pages = await grantMarked(provider, 43, 2)
    const reference = referenceAt(pages, 1)
    assert.equal(copyOne(provider, 'to-grant', reference, 100, pattern(60)), 0)
    assertSame(await pages.read(1, 100, 16), pattern(60), 'the bytes written')
    assertSame(await pages.read(1, 0, 16), pattern(44), 'the bytes before them')
    assertSame(await pages.read(1, 116, 16), new Uint8Array(16), 'the bytes behind them')
    assertSame(await pages.read(0, 0, 16), pattern(43), 'the other page')
  }),

  grantCase('G44', 'a copy and a mapping of one page agree', async (provider) => {
    const pages = await grantMarked(provider, 44, 1)
    map(provider, 0, pages.references)
    assert.equal(copyOne(provider, 'to-grant', referenceAt(pages, 0), 8, pattern(61)), 0)
    assertBytes(provider.window, 0, 8, pattern(61), 'the mapping')
  }),

  grantCase(
    'G45',
    'each segment has a status: a bad one does not stop the others',
    async (provider) => {
      const pages = await grantMarked(provider, 45, 2)
      const buffers = [0, 1, 2].map(() => new Uint8Array(16).fill(0xee))
      const references = [referenceAt(pages, 0), REFERENCE_OUTSIDE, referenceAt(pages, 1)]
      const segments = references.map((reference, index): GrantCopySegment => {
        const bytes = buffers[index] ?? new Uint8Array(0)
        return { domain: provider.domain, reference, offset: 0, bytes, direction: 'from-grant' }
      })
      assert.deepEqual([...provider.table.copy(segments)], [0, -3, 0])
      const [first, second, third] = buffers
      assertSame(first ?? new Uint8Array(0), pattern(45), 'the first segment')
      assertSame(second ?? new Uint8Array(0), new Uint8Array(16).fill(0xee), 'the refused one')
      assertSame(third ?? new Uint8Array(0), pattern(46), 'the third segment')
    },
  ),

  grantCase('G46', 'a read-only grant is read, and refuses a write with −1', async (provider) => {
    const pages = await grantMarked(provider, 46, 1, { writable: false })
    const reference = referenceAt(pages, 0)
    const bytes = new Uint8Array(16)
    assert.equal(copyOne(provider, 'from-grant', reference, 0, bytes), 0)
    assertSame(bytes, pattern(46), 'the bytes read')
    assert.equal(copyOne(provider, 'to-grant', reference, 0, pattern(62)), -1)
    assertSame(await pages.read(0, 0, 16), pattern(46), 'the granter’s bytes')
  }),

  grantCase(
    'G47',
    'a reference that grants nothing, or to somebody else, is −1',
    async (provider) => {
      const bytes = new Uint8Array(16)
      assert.equal(copyOne(provider, 'from-grant', provider.unusedReference, 0, bytes), -1)
      const pages = await grantMarked(provider, 47, 1, { to: provider.otherDomain })
      assert.equal(copyOne(provider, 'from-grant', referenceAt(pages, 0), 0, bytes), -1)
      assertSame(bytes, new Uint8Array(16), 'the local bytes')
    },
  ),

  grantCase('G48', 'a domain that does not exist is −2', async (provider) => {
    const pages = await grantMarked(provider, 48, 1)
    const bytes = new Uint8Array(16)
    const reference = referenceAt(pages, 0)
    const status = copyOne(provider, 'from-grant', reference, 0, bytes, provider.absentDomain)
    assert.equal(status, -2)
    assertSame(bytes, new Uint8Array(16), 'the local bytes')
  }),

  grantCase(
    'G49',
    'a copy over the end of the page is refused: by an error, or −10',
    async (provider) => {
      const pages = await grantMarked(provider, 49, 2)
      for (const direction of ['from-grant', 'to-grant'] as const) {
        const bytes = new Uint8Array(32).fill(0xee)
        let status: number | undefined
        try {
          status = copyOne(provider, direction, referenceAt(pages, 0), 4080, bytes)
        } catch (error) {
          // gntdev checks the range itself and refuses the whole call.
          assert.ok(error instanceof XmcError, inspect(error))
          status = -10
        }
        assert.equal(status, -10)
        assertSame(bytes, new Uint8Array(32).fill(0xee), 'the local bytes')
      }
      assertSame(await pages.read(0, 4080, 16), pattern(49), 'the granted page')
      assertSame(await pages.read(1, 0, 16), pattern(50), 'the next page')
    },
  ),
]
