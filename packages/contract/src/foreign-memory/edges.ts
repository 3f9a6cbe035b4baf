import assert from 'node:assert/strict'
import { guestFrame } from '@xmc/interface'
import { inOrder } from '../internal/in-order.ts'
import { refusalOf } from '../internal/refusals.ts'
import { assertBytes, pageBytes, pattern } from '../internal/window-bytes.ts'
import { type ForeignMemoryCase, foreignCase, framesAt, map, mapRequest, mark } from './steps.ts'

/** What happens at the last frame that there can be. */
export const edgeCases: readonly ForeignMemoryCase[] = [
  foreignCase(
    'F36',
    'a run over the last frame is refused before anything is done',
    async (provider) => {
      await mark(provider, 36, 1)
      map(provider, 0, framesAt(provider, 0))
      pageBytes(provider.window, 1).fill(0xee)
      const frames = { first: guestFrame(2 ** 52 - 1), count: 2 }
      const errors = new Int32Array(2).fill(-99)
      const request = mapRequest(provider, 0, frames, { errors })
      const forms = [
        () => provider.memory.map(request),
        () => provider.memory.mapAsync(request),
        () => map(provider, 0, frames, { errors: undefined }),
      ]
      await inOrder(forms, async (form) => {
        assert.equal((await refusalOf(form)).code, 'ERR_XMC_ARGUMENT')
        assert.deepEqual([...errors], [-99, -99], 'no errors are given')
        assertBytes(provider.window, 0, 4080, pattern(36), 'what was mapped in the target')
        assertBytes(provider.window, 1, 0, new Uint8Array(16).fill(0xee), 'the page behind it')
      })
    },
  ),
]
