import assert from 'node:assert/strict'
import { constants } from 'node:os'
import { guestFrame } from '@xmc/interface'
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
import { type ForeignMemoryCase, foreignCase, frameAt, framesAt, map, mark } from './steps.ts'

/** What a map that succeeds does. */
export const mappingCases: readonly ForeignMemoryCase[] = [
  foreignCase(
    'F1',
    'a mapped frame shows the guest’s bytes, the last one too',
    async (provider) => {
      await mark(provider, 1, 1)
      map(provider, 3, framesAt(provider, 0))
      assertBytes(provider.window, 3, 0, pattern(1), 'the start')
      assertBytes(provider.window, 3, 4080, pattern(1), 'the end')
    },
  ),

  foreignCase('F2', 'a mapping aliases the frame, both ways', async (provider) => {
    map(provider, 0, framesAt(provider, 0))
    pageBytes(provider.window, 0).set(pattern(2), 100)
    const seen = await provider.guest.read(frameAt(provider, 0), 100, 16)
    assertSame(seen, pattern(2), 'the guest sees a store through the window')
    await provider.guest.write(frameAt(provider, 0), 200, pattern(3))
    assertBytes(provider.window, 0, 200, pattern(3), 'the window shows a store of the guest')
  }),

  foreignCase('F3', 'a run maps contiguously and in order, to its last byte', async (provider) => {
    await mark(provider, 10, 16)
    map(provider, 5, { first: frameAt(provider, 0), count: 16 })
    for (const index of upTo(16)) {
      assertBytes(provider.window, 5 + index, 0, pattern(10 + index), 'the start')
      assertBytes(provider.window, 5 + index, 4080, pattern(10 + index), 'the end')
    }
    pageBytes(provider.window, 20).set(pattern(40), 4080)
    const seen = await provider.guest.read(frameAt(provider, 15), 4080, 16)
    assertSame(seen, pattern(40), 'the guest sees the last bytes of the mapping')
  }),

  foreignCase(
    'F4',
    'scattered frames map contiguously, in the order of the list',
    async (provider) => {
      await mark(provider, 30, 16)
      const order = [5, 0, 15, 3, 11]
      map(provider, 1, framesAt(provider, ...order))
      for (const [page, index] of order.entries()) {
        assertBytes(
          provider.window,
          1 + page,
          0,
          pattern(30 + index),
          `frame ${index} of the guest`,
        )
      }
      pageBytes(provider.window, 3).set(pattern(60), 8)
      const seen = await provider.guest.read(frameAt(provider, 15), 8, 16)
      assertSame(seen, pattern(60), 'a store reaches the frame that is listed third')
    },
  ),

  foreignCase('F5', 'a frame that is listed twice aliases inside the mapping', async (provider) => {
    map(provider, 0, framesAt(provider, 3, 7, 3))
    pageBytes(provider.window, 0).set(pattern(5), 64)
    assertBytes(provider.window, 2, 64, pattern(5), 'the second place of the frame')
    assertZeros(provider.window, 32, 1, 'a page that was not mapped')
  }),

  foreignCase('F6', 'two mappings of one frame alias', async (provider) => {
    map(provider, 0, framesAt(provider, 4))
    map(provider, 9, framesAt(provider, 4))
    pageBytes(provider.window, 9).set(pattern(6), 64)
    assertBytes(provider.window, 0, 64, pattern(6), 'the other mapping')
  }),

  foreignCase('F7', 'a map touches no page beside its target', async (provider) => {
    map(provider, 1, framesAt(provider, 8))
    pageBytes(provider.window, 1).set(pattern(71))
    pageBytes(provider.window, 2).set(pattern(72))
    pageBytes(provider.window, 7).set(pattern(77))
    map(provider, 3, { first: frameAt(provider, 0), count: 4 })
    assertBytes(provider.window, 1, 0, pattern(71), 'a mapping below')
    assertBytes(provider.window, 2, 0, pattern(72), 'the page below')
    assertBytes(provider.window, 7, 0, pattern(77), 'the page above')
  }),

  foreignCase(
    'F8',
    'a map hides what the window held and gives none of it to the guest',
    async (provider) => {
      await provider.guest.write(frameAt(provider, 0), 0, pattern(81))
      pageBytes(provider.window, 0).fill(0xee)
      map(provider, 0, framesAt(provider, 0))
      assertBytes(provider.window, 0, 0, pattern(81), 'the guest’s bytes')
      const seen = await provider.guest.read(frameAt(provider, 0), 0, 16)
      assertSame(seen, pattern(81), 'the guest’s bytes are untouched')
    },
  ),

  foreignCase('F9', 'a frame number is not cut to 32 bits', async (provider) => {
    await mark(provider, 9, 1)
    const far = guestFrame(provider.frames.first + 2 ** 32)
    const errors = new Int32Array(1)
    map(provider, 0, [far], { errors })
    assert.notEqual(errors[0], 0, 'a frame 2^32 further on has no memory')
    assertZeros(provider.window, 0, 1, 'its page')
  }),

  foreignCase(
    'F10',
    'a read-only mapping shows the bytes and is read-only, a writable one is writable',
    async (provider) => {
      const protection = available(provider.capabilities.protection)
      await mark(provider, 20, 2)
      map(provider, 0, framesAt(provider, 0, 1), { writable: false })
      map(provider, 4, framesAt(provider, 0, 1), { writable: true })
      assertBytes(provider.window, 1, 0, pattern(21), 'the read-only mapping')
      assert.deepEqual(
        [0, 1, 4, 5].map((page) => protection.of(page)),
        ['read-only', 'read-only', 'read-write', 'read-write'],
      )
      pageBytes(provider.window, 4).set(pattern(25))
      assertBytes(provider.window, 0, 0, pattern(25), 'a store through the writable mapping')
    },
    ['protection'],
  ),

  foreignCase(
    'F11',
    'an error array is optional where every frame has memory',
    async (provider) => {
      await mark(provider, 50, 3)
      map(provider, 0, { first: frameAt(provider, 0), count: 3 }, { errors: undefined })
      assertBytes(provider.window, 2, 0, pattern(52), 'the third frame')
    },
  ),

  foreignCase(
    'F12',
    'mappings outlive their domain, new ones are refused',
    async (provider) => {
      await mark(provider, 12, 1)
      map(provider, 0, framesAt(provider, 0))
      await available(provider.capabilities.death).destroy()
      assertBytes(provider.window, 0, 0, pattern(12), 'the mapping')
      pageBytes(provider.window, 0).set(pattern(13))
      assertBytes(provider.window, 0, 0, pattern(13), 'a store to the mapping')
      const late = framesAt(provider, 1)
      await assertErrno(() => map(provider, 4, late, { errors: undefined }), 'EINVAL')
      assertZeros(provider.window, 4, 1, 'the target of the late map')
      // A domain that dies has holes only, as far as Xen tells: it is there as long as it is mapped.
      const errors = new Int32Array(1)
      map(provider, 4, late, { errors })
      assert.deepEqual([...errors], [constants.errno.EINVAL])
      assertZeros(provider.window, 4, 1, 'the target of the late map')
    },
    ['death'],
  ),
]
