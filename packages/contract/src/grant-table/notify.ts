import assert from 'node:assert/strict'
import { available } from '../contract-case.ts'
import { assertErrno } from '../internal/refusals.ts'
import { assertSame, at, pattern } from '../internal/window-bytes.ts'
import { type GrantTableCase, grantCase, grantMarked, map, unmap } from './steps.ts'

/** What happens to a page when its mapping goes. */
export const notifyCases: readonly GrantTableCase[] = [
  grantCase(
    'G36',
    'an unmap clears the byte that was asked for, and no other',
    async (provider) => {
      const pages = await grantMarked(provider, 36, 1)
      map(provider, 0, pages.references)
      provider.table.setUnmapNotify(provider.window, at(0), { clearByte: 4083 })
      assertSame(
        await pages.read(0, 4080, 16),
        pattern(36),
        'nothing is cleared while it is mapped',
      )
      unmap(provider, 0, 1)
      const expected = pattern(36)
      expected[3] = 0
      assertSame(await pages.read(0, 4080, 16), expected, 'the byte is cleared')
      assertSame(await pages.read(0, 0, 16), pattern(36), 'the rest of the page')
    },
  ),

  grantCase('G37', 'the last notification that was asked for counts', async (provider) => {
    const pages = await grantMarked(provider, 37, 1)
    map(provider, 0, pages.references)
    provider.table.setUnmapNotify(provider.window, at(0), { clearByte: 2 })
    provider.table.setUnmapNotify(provider.window, at(0), { clearByte: 5 })
    await provider.table.unmapAsync(provider.window, at(0), 1)
    const expected = pattern(37)
    expected[5] = 0
    assertSame(await pages.read(0, 0, 16), expected, 'the byte asked for last')
  }),

  grantCase('G38', 'a notification goes with its mapping', async (provider) => {
    const pages = await grantMarked(provider, 38, 1)
    map(provider, 0, pages.references)
    provider.table.setUnmapNotify(provider.window, at(0), { clearByte: 0 })
    unmap(provider, 0, 1)
    await pages.write(0, 0, pattern(39))
    map(provider, 0, pages.references)
    unmap(provider, 0, 1)
    assertSame(await pages.read(0, 0, 16), pattern(39), 'a later mapping clears nothing')
  }),

  grantCase('G39', 'a notification without a mapping is ENOENT', async (provider) => {
    await assertErrno(
      () => provider.table.setUnmapNotify(provider.window, at(0), { clearByte: 0 }),
      'ENOENT',
    )
  }),

  grantCase('G40', 'clearing a byte of a read-only mapping is EINVAL', async (provider) => {
    const pages = await grantMarked(provider, 40, 1)
    map(provider, 0, pages.references, { writable: false })
    await assertErrno(
      () => provider.table.setUnmapNotify(provider.window, at(0), { clearByte: 0 }),
      'EINVAL',
    )
    unmap(provider, 0, 1)
    assertSame(await pages.read(0, 0, 16), pattern(40), 'the granter’s bytes')
  }),

  grantCase(
    'G41',
    'an unmap signals the event channel that was asked for, once',
    async (provider) => {
      const channel = await available(provider.capabilities.eventChannels).bind()
      const pages = await grantMarked(provider, 41, 1)
      map(provider, 0, pages.references)
      provider.table.setUnmapNotify(provider.window, at(0), { eventChannel: channel.port })
      assert.equal(await channel.signals(), 0, 'signals while it is mapped')
      unmap(provider, 0, 1)
      assert.equal(await channel.signals(), 1, 'signals after the unmap')
    },
    ['eventChannels'],
  ),
]
