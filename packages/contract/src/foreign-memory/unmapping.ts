import assert from 'node:assert/strict'
import { available } from '../contract-case.ts'
import { inOrder, upTo } from '../internal/in-order.ts'
import { refusalOf } from '../internal/refusals.ts'
import {
  assertBytes,
  assertSame,
  assertZeros,
  pageBytes,
  pattern,
} from '../internal/window-bytes.ts'
import {
  type ForeignMemoryCase,
  foreignCase,
  frameAt,
  framesAt,
  map,
  mark,
  unmap,
} from './steps.ts'

/** What an unmap does. */
export const unmappingCases: readonly ForeignMemoryCase[] = [
  foreignCase(
    'F23',
    'unmapped pages read as zeros, and the guest keeps its bytes',
    async (provider) => {
      await mark(provider, 23, 4)
      map(provider, 2, { first: frameAt(provider, 0), count: 4 })
      assertBytes(provider.window, 5, 0, pattern(26), 'the last page while it is mapped')
      unmap(provider, 2, 4)
      assertZeros(provider.window, 2, 4, 'the range')
      const seen = await provider.guest.read(frameAt(provider, 3), 4080, 16)
      assertSame(seen, pattern(26), 'the guest’s bytes')
    },
  ),

  foreignCase(
    'F24',
    'a stale view reads zeros, and its stores do not reach the guest',
    async (provider) => {
      await mark(provider, 24, 1)
      map(provider, 0, framesAt(provider, 0))
      const stale = pageBytes(provider.window, 0)
      unmap(provider, 0, 1)
      assertSame(stale.slice(0, 16), new Uint8Array(16), 'the stale view')
      stale.fill(0xee)
      const seen = await provider.guest.read(frameAt(provider, 0), 0, 16)
      assertSame(seen, pattern(24), 'the guest’s bytes')
    },
  ),

  foreignCase('F25', 'one unmap removes several mappings and failed pages', async (provider) => {
    const errors = new Int32Array(3)
    map(provider, 0, framesAt(provider, 0, 1))
    map(provider, 2, [frameAt(provider, 2), provider.hole, frameAt(provider, 3)], { errors })
    map(provider, 6, framesAt(provider, 4))
    for (const page of [0, 1, 2, 4, 6]) pageBytes(provider.window, page).set(pattern(25))
    unmap(provider, 0, 7)
    assertZeros(provider.window, 0, 7, 'the range')
    pageBytes(provider.window, 6).fill(0xee)
    const seen = await provider.guest.read(frameAt(provider, 4), 0, 16)
    assertSame(seen, pattern(25), 'a store to the range does not reach the guest')
  }),

  foreignCase('F26', 'an unmap leaves the mappings and pages beside it', async (provider) => {
    await mark(provider, 26, 3)
    map(provider, 0, framesAt(provider, 0))
    map(provider, 1, framesAt(provider, 1))
    map(provider, 2, framesAt(provider, 2))
    pageBytes(provider.window, 3).set(pattern(40))
    unmap(provider, 1, 1)
    assertBytes(provider.window, 0, 0, pattern(26), 'the mapping below')
    assertZeros(provider.window, 1, 1, 'the range')
    assertBytes(provider.window, 2, 0, pattern(28), 'the mapping above')
    pageBytes(provider.window, 2).set(pattern(41))
    const seen = await provider.guest.read(frameAt(provider, 2), 0, 16)
    assertSame(seen, pattern(41), 'the mapping above still aliases')
    unmap(provider, 2, 1)
    assertBytes(provider.window, 3, 0, pattern(40), 'the page above the range')
  }),

  foreignCase(
    'F27',
    'after an unmap the place and the frames can be mapped again',
    async (provider) => {
      await mark(provider, 27, 4)
      map(provider, 0, framesAt(provider, 0, 1))
      unmap(provider, 0, 2)
      map(provider, 0, framesAt(provider, 3, 2))
      assertBytes(provider.window, 0, 0, pattern(30), 'other frames at the place')
      map(provider, 8, framesAt(provider, 0, 1))
      assertBytes(provider.window, 9, 0, pattern(28), 'the frames at another place')
    },
  ),

  foreignCase('F28', 'an unmap of pages without mappings leaves zeros', async (provider) => {
    pageBytes(provider.window, 1).fill(0xee)
    unmap(provider, 0, 3)
    assertZeros(provider.window, 0, 3, 'the range')
  }),

  foreignCase(
    'F29',
    'an unmap over the end of the window is refused, and unmaps nothing',
    async (provider) => {
      const last = provider.window.pageCount - 1
      await mark(provider, 29, 1)
      map(provider, last, framesAt(provider, 0))
      await refusalOf(() => unmap(provider, last, 2))
      assertBytes(provider.window, last, 0, pattern(29), 'the last page of the window')
    },
  ),

  foreignCase(
    'F30',
    '1,000 maps and unmaps, good and bad, leave no mapping',
    async (provider) => {
      const accounting = available(provider.capabilities.accounting)
      const before = accounting.liveMappings()
      const errors = new Int32Array(3)
      const frames = [frameAt(provider, 0), provider.hole, frameAt(provider, 1)]
      await inOrder(upTo(1000), async (turn) => {
        map(provider, turn % 8, frames, { errors })
        unmap(provider, turn % 8, 3)
      })
      await inOrder(upTo(100), async () => {
        await refusalOf(() => map(provider, 20, frames, { errors: undefined }))
      })
      assert.equal(accounting.liveMappings(), before, 'live mappings')
      map(provider, 0, frames, { errors })
      assert.notEqual(accounting.liveMappings(), before, 'a live mapping is counted')
    },
    ['accounting'],
  ),
]
