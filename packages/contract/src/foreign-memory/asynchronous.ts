import assert from 'node:assert/strict'
import { constants } from 'node:os'
import { setTimeout as delay } from 'node:timers/promises'
import { available } from '../contract-case.ts'
import { together } from '../internal/in-order.ts'
import { assertErrno } from '../internal/refusals.ts'
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
  mapRequest,
  mark,
} from './steps.ts'

const { EINVAL, ENOENT } = constants.errno

/** What the asynchronous form does, and paging. */
export const asynchronousCases: readonly ForeignMemoryCase[] = [
  foreignCase('F31', 'mapAsync maps a run that aliases', async (provider) => {
    await mark(provider, 31, 3)
    const errors = new Int32Array(3).fill(-99)
    const run = { first: frameAt(provider, 0), count: 3 }
    await provider.memory.mapAsync(mapRequest(provider, 4, run, { errors }))
    assert.deepEqual([...errors], [0, 0, 0])
    assertBytes(provider.window, 6, 0, pattern(33), 'the third frame')
    pageBytes(provider.window, 4).set(pattern(40))
    const seen = await provider.guest.read(frameAt(provider, 0), 0, 16)
    assertSame(seen, pattern(40), 'a store reaches the guest')
  }),

  foreignCase('F32', 'mapAsync gives a hole its errno', async (provider) => {
    await mark(provider, 32, 1)
    const errors = new Int32Array(2)
    const frames = [provider.hole, frameAt(provider, 0)]
    await provider.memory.mapAsync(mapRequest(provider, 0, frames, { errors }))
    assert.deepEqual([...errors], [EINVAL, 0])
    assertZeros(provider.window, 0, 1, 'the page of the hole')
    assertBytes(provider.window, 1, 0, pattern(32), 'the good frame')
  }),

  foreignCase('F33', 'mapAsync rejects with ESRCH, and nothing is mapped', async (provider) => {
    pageBytes(provider.window, 0).fill(0xee)
    const domain = provider.absentDomain
    const request = mapRequest(provider, 0, framesAt(provider, 0), { domain })
    await assertErrno(() => provider.memory.mapAsync(request), 'ESRCH')
    assertZeros(provider.window, 0, 1, 'the target')
  }),

  foreignCase(
    'F34',
    'map gives a paged-out frame ENOENT and maps the others',
    async (provider) => {
      await mark(provider, 34, 3)
      await available(provider.capabilities.paging).pageOut(frameAt(provider, 1))
      const errors = new Int32Array(3)
      map(provider, 0, framesAt(provider, 0, 1, 2), { errors })
      assert.deepEqual([...errors], [0, ENOENT, 0])
      assertBytes(provider.window, 0, 0, pattern(34), 'the first frame')
      assertZeros(provider.window, 1, 1, 'the page of the paged-out frame')
      assertBytes(provider.window, 2, 0, pattern(36), 'the third frame')
    },
    ['paging'],
  ),

  foreignCase(
    'F35',
    'mapAsync waits for a paged-out frame without blocking the event loop',
    async (provider) => {
      const paging = available(provider.capabilities.paging)
      await mark(provider, 35, 2)
      await paging.pageOut(frameAt(provider, 1))
      const errors = new Int32Array(2)
      const request = mapRequest(provider, 0, framesAt(provider, 0, 1), { errors })
      const order: string[] = []
      const pageInLater = async (): Promise<void> => {
        await delay(1)
        order.push('paged in')
        await paging.pageIn(frameAt(provider, 1))
      }
      const mapped = provider.memory.mapAsync(request).then(() => order.push('mapped'))
      await together(mapped, pageInLater())
      assert.deepEqual(order, ['paged in', 'mapped'])
      assert.deepEqual([...errors], [0, 0])
      assertBytes(provider.window, 1, 0, pattern(36), 'the frame that was paged in')
    },
    ['paging'],
  ),
]
