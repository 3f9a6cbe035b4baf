import diagnostics from 'node:diagnostics_channel'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import type { MapCache } from '@xmc/core'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { type GuestDouble, type TestPage, testPage } from './doubles/guest-double.ts'
import { settle, setUp } from './doubles/set-up.ts'

setFlagsFromString('--expose-gc')
const collect: unknown = runInNewContext('gc')

/** Collects garbage, `rounds` times or until `done` says so. */
async function collectUntil(done: () => boolean, rounds: number = 1000): Promise<void> {
  for (let nth = 0; nth < rounds && !done(); nth++) {
    if (typeof collect === 'function') collect()
    await settle()
  }
}

const uncaught: unknown[] = []
const noteUncaught = (error: unknown): void => {
  uncaught.push(error)
}
const warn = vi.spyOn(process, 'emitWarning').mockReturnValue()

beforeEach(() => {
  process.on('uncaughtException', noteUncaught)
})

afterEach(() => {
  process.off('uncaughtException', noteUncaught)
  uncaught.splice(0)
  warn.mockClear()
})

/** A function of its own, so that no frame of the test refers to the handle. */
function loseHandle(cache: MapCache<TestPage, GuestDouble>): void {
  cache.map(testPage(5), 0x10, 100)
}

function releaseHandle(cache: MapCache<TestPage, GuestDouble>): void {
  cache.map(testPage(5), 0x10, 100).release()
}

function releaseByView(cache: MapCache<TestPage, GuestDouble>): void {
  cache.release(cache.map(testPage(5), 0x10, 100).unsafeBytes)
}

/** Resolves when a handle that was made after all others has been collected. */
async function collectAll(): Promise<void> {
  const seen = new Set<string>()
  const registry = new FinalizationRegistry<string>((name) => seen.add(name))
  registry.register({}, 'canary')
  await collectUntil(() => seen.has('canary'))
  await collectUntil(() => false, 10)
}

describe('leakTracking', () => {
  it('reports a handle that was lost, with the stack that took it', async () => {
    const { cache } = setUp({}, { leakTracking: true, name: 'disk' })
    const messages: unknown[] = []
    const note = (message: unknown): void => {
      messages.push(message)
    }
    diagnostics.subscribe('xmc_leak', note)
    loseHandle(cache)
    await collectUntil(() => warn.mock.calls.length > 0)
    diagnostics.unsubscribe('xmc_leak', note)
    expect(cache.statistics).toMatchObject({ leaks: 1, locks: 1 })
    const stack = expect.stringContaining('loseHandle')
    expect(messages).toEqual([{ cache: 'disk', page: 5, offset: 0x10, length: 100, stack }])
    expect(warn.mock.calls).toEqual([
      [
        'disk: a mapping of page 0x5, 100 bytes was lost without release',
        { type: 'XmcLeakWarning', code: 'WARN_XMC_LEAK', detail: stack },
      ],
    ])
  })

  it('names the stack of a lost handle in the report of an invalidation', async () => {
    const { cache } = setUp({}, { leakTracking: true })
    ;(() => cache.map(testPage(5), 0x10, 100, { dma: true }))()
    await collectUntil(() => warn.mock.calls.length > 0)
    const { lockedDma } = await cache.invalidateAll()
    expect(lockedDma).toMatchObject([{ page: 5, offset: 0x10, locks: 1 }])
    expect(lockedDma[0]?.stacks).toEqual([expect.stringContaining('taken here')])
  })

  it('says nothing of handles that were released', async () => {
    const { cache } = setUp({}, { leakTracking: true })
    releaseHandle(cache)
    await collectAll()
    expect(warn).not.toHaveBeenCalled()
    expect(cache.statistics.leaks).toBe(0)
  })

  it('says nothing of handles whose lock was taken back by view', async () => {
    const { cache } = setUp({}, { leakTracking: true })
    releaseByView(cache)
    await collectAll()
    expect(uncaught).toEqual([])
    expect(warn).not.toHaveBeenCalled()
    expect(cache.statistics).toMatchObject({ leaks: 0, locks: 0 })
  })

  it('says nothing of handles that a close by force has released', async () => {
    const { cache } = setUp({}, { leakTracking: true })
    loseHandle(cache)
    cache.close({ force: true })
    await collectAll()
    expect(uncaught).toEqual([])
    expect(warn).not.toHaveBeenCalled()
    expect(cache.statistics.leaks).toBe(0)
  })

  it('is off unless it is asked for', async () => {
    const { cache } = setUp()
    loseHandle(cache)
    await collectAll()
    expect(warn).not.toHaveBeenCalled()
    expect(cache.statistics).toMatchObject({ leaks: 0, locks: 1 })
  })
})
