import type * as workerThreads from 'node:worker_threads'
import { windowPage } from '@xmc/interface'
import { expect, test, vi } from 'vitest'
import { openWindow } from '../src/index.ts'

// Node 24 detaches no buffer that is marked, Node 22 does by transfer(): without the mark every Node does.
vi.mock('node:worker_threads', async (importOriginal) => ({
  ...(await importOriginal<typeof workerThreads>()),
  markAsUntransferable: vi.fn<typeof workerThreads.markAsUntransferable>(),
}))

test('a buffer that was detached all the same is not touched again', () => {
  const window = openWindow({ pageCount: 1 })
  const { buffer } = window
  if (!(buffer instanceof ArrayBuffer)) throw new TypeError('a plain window was expected')
  const moved = structuredClone(buffer, { transfer: [buffer] })
  expect(buffer.byteLength).toBe(0)
  expect(moved.byteLength).toBeGreaterThan(4096)
  const refused: unknown = expect.objectContaining({
    code: 'ERR_XMC_REFUSED',
    message: expect.stringContaining('the buffer of a window of host memory was detached'),
  })
  expect(() => window.reset(windowPage(0), 1)).toThrow(refused)
  expect(() => window.close()).toThrow(refused)
})
