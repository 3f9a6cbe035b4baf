import assert from 'node:assert/strict'
import { grantReference } from '@xmc/interface'
import { inOrder } from '../internal/in-order.ts'
import { refusalOf } from '../internal/refusals.ts'
import { assertBytes, pageBytes, pattern } from '../internal/window-bytes.ts'
import { type GrantTableCase, grantCase, grantMarked, map, mapRequest } from './steps.ts'

/** What happens at the last reference that there can be. */
export const edgeCases: readonly GrantTableCase[] = [
  grantCase(
    'G54',
    'a run over the last reference is refused before anything is done',
    async (provider) => {
      const pages = await grantMarked(provider, 54, 1)
      map(provider, 0, pages.references)
      pageBytes(provider.window, 1).fill(0xee)
      const references = { first: grantReference(2 ** 32 - 1), count: 2 }
      const request = mapRequest(provider, 0, references)
      const forms = [() => provider.table.map(request), () => provider.table.mapAsync(request)]
      await inOrder(forms, async (form) => {
        assert.equal((await refusalOf(form)).code, 'ERR_XMC_ARGUMENT')
        assertBytes(provider.window, 0, 0, pattern(54), 'what was mapped in the target')
        assertBytes(provider.window, 1, 0, new Uint8Array(16).fill(0xee), 'the page behind it')
      })
    },
  ),
]
