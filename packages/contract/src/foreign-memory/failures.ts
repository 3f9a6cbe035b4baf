import assert from 'node:assert/strict'
import { constants } from 'node:os'
import { inOrder } from '../internal/in-order.ts'
import { assertErrno, refusalOf } from '../internal/refusals.ts'
import {
  assertBytes,
  assertSame,
  assertZeros,
  pageBytes,
  pattern,
} from '../internal/window-bytes.ts'
import { type ForeignMemoryCase, foreignCase, frameAt, framesAt, map, mark } from './steps.ts'

const { EINVAL } = constants.errno

/** What bad frames, domains and targets do. */
export const failureCases: readonly ForeignMemoryCase[] = [
  foreignCase(
    'F13',
    'a hole among good frames is an error of its own: [0, EINVAL, 0]',
    async (provider) => {
      await mark(provider, 1, 3)
      const errors = new Int32Array(3)
      map(provider, 2, [frameAt(provider, 0), provider.hole, frameAt(provider, 2)], { errors })
      assert.deepEqual([...errors], [0, EINVAL, 0], 'errors are positive errnos')
      assertBytes(provider.window, 2, 0, pattern(1), 'the frame before the hole')
      assertBytes(provider.window, 4, 4080, pattern(3), 'the frame after the hole')
      pageBytes(provider.window, 4).set(pattern(9))
      const seen = await provider.guest.read(frameAt(provider, 2), 0, 16)
      assertSame(seen, pattern(9), 'a store after the hole reaches the guest')
    },
  ),

  foreignCase('F14', 'a failed page reads as zeros, whatever the window held', async (provider) => {
    pageBytes(provider.window, 2).fill(0xee)
    pageBytes(provider.window, 3).fill(0xee)
    const errors = new Int32Array(2)
    map(provider, 2, [frameAt(provider, 0), provider.hole], { errors })
    assert.deepEqual([...errors], [0, EINVAL])
    assertZeros(provider.window, 3, 1, 'the page of the hole')
  }),

  foreignCase('F15', 'errors are written for every frame, and for no more', async (provider) => {
    const errors = new Int32Array(6).fill(-99)
    map(provider, 0, [frameAt(provider, 0), provider.hole, frameAt(provider, 1)], { errors })
    assert.deepEqual([...errors], [0, EINVAL, 0, -99, -99, -99])
  }),

  foreignCase('F16', 'a run over the end of the memory fails from there on', async (provider) => {
    await provider.guest.write(provider.border, 0, pattern(16))
    const errors = new Int32Array(2)
    map(provider, 0, { first: provider.border, count: 2 }, { errors })
    assert.deepEqual([...errors], [0, EINVAL])
    assertBytes(provider.window, 0, 0, pattern(16), 'the last frame with memory')
    assertZeros(provider.window, 1, 1, 'the page behind it')
  }),

  foreignCase('F17', 'holes alone are errors, not a refusal', async (provider) => {
    pageBytes(provider.window, 1).fill(0xee)
    const errors = new Int32Array(3)
    map(provider, 0, [provider.hole, provider.hole, provider.hole], { errors })
    assert.deepEqual([...errors], [EINVAL, EINVAL, EINVAL])
    assertZeros(provider.window, 0, 3, 'the target')
  }),

  foreignCase(
    'F18',
    'without an error array a hole fails the whole map, and nothing is mapped',
    async (provider) => {
      await mark(provider, 18, 2)
      pageBytes(provider.window, 1).fill(0xee)
      const frames = [frameAt(provider, 0), provider.hole, frameAt(provider, 1)]
      await assertErrno(() => map(provider, 0, frames, { errors: undefined }), 'EINVAL')
      assertZeros(provider.window, 0, 3, 'the target')
      pageBytes(provider.window, 0).fill(0xee)
      const seen = await provider.guest.read(frameAt(provider, 0), 0, 16)
      assertSame(seen, pattern(18), 'a store to the target does not reach the guest')
    },
  ),

  foreignCase(
    'F19',
    'a domain that does not exist is ESRCH, and nothing is mapped',
    async (provider) => {
      pageBytes(provider.window, 0).fill(0xee)
      const domain = provider.absentDomain
      const frames = framesAt(provider, 0, 1)
      await inOrder([new Int32Array(2), undefined], async (errors) => {
        await assertErrno(() => map(provider, 0, frames, { domain, errors }), 'ESRCH')
        assertZeros(provider.window, 0, 2, 'the target')
      })
    },
  ),

  foreignCase(
    'F20',
    'the caller’s own domain is ESRCH, and nothing is mapped',
    async (provider) => {
      pageBytes(provider.window, 0).fill(0xee)
      const domain = provider.ownDomain
      const frames = framesAt(provider, 0, 1)
      await inOrder([new Int32Array(2), undefined], async (errors) => {
        await assertErrno(() => map(provider, 0, frames, { domain, errors }), 'ESRCH')
        assertZeros(provider.window, 0, 2, 'the target')
      })
    },
  ),

  foreignCase(
    'F21',
    'a target over the end of the window is refused, and nothing is mapped',
    async (provider) => {
      const last = provider.window.pageCount - 1
      await mark(provider, 21, 2)
      const errors = new Int32Array(2)
      await refusalOf(() => map(provider, last, framesAt(provider, 0, 1), { errors }))
      assertZeros(provider.window, last, 1, 'the last page of the window')
      map(provider, last, framesAt(provider, 1))
      assertBytes(provider.window, last, 4080, pattern(22), 'a map that just fits')
    },
  ),

  foreignCase('F22', 'after failures the same target takes a good map', async (provider) => {
    await mark(provider, 22, 2)
    const errors = new Int32Array(2)
    map(provider, 0, [provider.hole, provider.hole], { errors })
    await assertErrno(
      () => map(provider, 0, framesAt(provider, 0, 1), { domain: provider.absentDomain }),
      'ESRCH',
    )
    map(provider, 0, framesAt(provider, 0, 1), { errors })
    assert.deepEqual([...errors], [0, 0])
    assertBytes(provider.window, 1, 0, pattern(23), 'the second frame')
  }),
]
