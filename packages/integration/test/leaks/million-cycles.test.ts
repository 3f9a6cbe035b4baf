import { LOCK_WRITE } from '@xmc/core'
import { createForeignCache, domainId as foreignDomain, guestFrame } from '@xmc/foreign'
import { createGrantCache, domainId as grantDomain, grantReference } from '@xmc/grants'
import { type HostMemoryWindow, openWindow } from '@xmc/hostmem'
import { Hypervisor } from '@xmc/sim'
import { describe, expect, it } from 'vitest'
import { processState } from './process-state.ts'

const CYCLES = 1_000_000
const FRAME = guestFrame(0x40001)
const FRAMES = [guestFrame(0x40003), guestFrame(0x40001)]

/** A guest, its caches, and one cycle of each kind; what a cycle takes it gives back. */
function kinds(): {
  xen: Hypervisor
  windows: readonly HostMemoryWindow[]
  cycles: Record<string, () => void | Promise<void>>
  close: () => void
} {
  const xen = new Hypervisor()
  const guest = xen.createDomain({ memoryBytes: 16 * 2 ** 20 })
  const memory = xen.foreignMemory()
  const windows = Array.from({ length: 4 }, () => openWindow({ bytes: 2 ** 24 }))
  const [first, second, third, fourth] = windows
  if (!first || !second || !third || !fourth) throw new Error('four windows were opened')
  const domain = foreignDomain(guest.id)
  const kept = createForeignCache({ memory, domain, window: first })
  const retention = { kind: 'at-once' } as const
  const strict = createForeignCache({ memory, domain, window: second, bucketShift: 16, retention })
  const table = xen.grantTable()
  const granter = grantDomain(guest.id)
  const grants = createGrantCache({ table, domain: granter, window: third })
  const persistent = createGrantCache({
    table,
    domain: granter,
    window: fourth,
    // Longer than the asynchronous cycles take, during which timers run.
    persistent: { maximumPages: 16, idleMilliseconds: 2 ** 30 },
  })
  const frames = Array.from({ length: 8 }, (_, nth) => 0x40000 + nth)
  const shared = guest.grants.share(frames, { to: 0 })
  const reference = grantReference(shared[0] ?? 0)
  const references = [shared[5] ?? 0, shared[2] ?? 0].map((number) => grantReference(number))
  const lockAndUnlock = (write: number): void => {
    grants.unlock(grants.lock(reference, 8, 64, write), 8)
  }
  return {
    xen,
    windows,
    cycles: {
      'foreign, kept, page surface': () => kept.unlock(kept.lock(FRAME, 0, 64, LOCK_WRITE), 0),
      'foreign, kept, handle': () => kept.map(FRAME, 0, 64, { write: true, dma: true }).release(),
      'foreign, unmapped at once': () => strict.map(FRAME, 0, 64).release(),
      'foreign, scattered frames': () => strict.mapList(FRAMES).release(),
      'grant, read-only': () => lockAndUnlock(0),
      'grant, writable': () => lockAndUnlock(LOCK_WRITE),
      'grants, scattered references': () => grants.mapList(references, { write: true }).release(),
      'grant, persistent': () => persistent.map(reference, 0, 64).release(),
      'grant, without a lock': () => grants.storeUint32(reference, 0, 7),
      'foreign, unmapped at once, asynchronous': async () => {
        const mapping = await strict.mapAsync(FRAME, 0, 64)
        await mapping.releaseAsync()
      },
      'grant, asynchronous': async () => {
        const mapping = await grants.mapAsync(reference, 0, 64, { write: true })
        await mapping.releaseAsync()
      },
    },
    close: () => {
      for (const cache of [kept, strict, grants, persistent]) cache.close()
      for (const window of windows) window.close()
    },
  }
}

describe('a million cycles leave nothing behind', () => {
  const { xen, windows, cycles, close } = kinds()

  it.each(Object.entries(cycles))(
    '%s',
    async (_, cycle) => {
      // The windows' places are all used once, so that fillers stand everywhere.
      await repeat(cycle, 10_000)
      const mapped = xen.accounting.totals()
      const before = await processState(windows)
      await repeat(cycle, CYCLES)
      const after = await processState(windows)
      expect({ ...after, heapBytes: 0 }).toEqual({ ...before, heapBytes: 0 })
      expect(after.heapBytes - before.heapBytes).toBeLessThan(2 ** 20)
      const { mappings, mappedPages, pinnedGrants } = xen.accounting.totals()
      expect({ mappings, mappedPages, pinnedGrants }).toEqual({
        mappings: mapped.mappings,
        mappedPages: mapped.mappedPages,
        pinnedGrants: mapped.pinnedGrants,
      })
    },
    300_000,
  )

  it('and nothing is mapped when the caches are closed', async () => {
    close()
    expect(xen.accounting.leftovers()).toEqual([])
    xen.close()
    expect((await processState(windows)).guestAreas).toBe(0)
  })
})

/** Does a cycle again and again; an asynchronous one from when the one before has ended. */
async function repeat(cycle: () => void | Promise<void>, times: number): Promise<void> {
  for (let nth = 0; nth < times; nth++) {
    const ended = cycle()
    // oxlint-disable-next-line no-await-in-loop -- the next cycle finds what this one left
    if (ended !== undefined) await ended
  }
}
