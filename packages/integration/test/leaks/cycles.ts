import { type HostMemoryWindow, openWindow } from '@xmc/hostmem'
import { domainId as foreignDomain, domainId as grantDomain } from '@xmc/interface'
import { type Domain, Hypervisor } from '@xmc/sim'
import { expect, it } from 'vitest'
import { repetitions } from '../../../../vitest.properties.ts'
import { processState } from './process-state.ts'

/** One cycle of one kind: what it takes it gives back. */
export type Cycle = () => void | Promise<void>

/** A simulated guest, and windows for the caches over it. */
export interface LeakWorld {
  readonly xen: Hypervisor
  readonly guest: Domain
  /** The guest, as a cache of its frames names it. */
  readonly foreignDomain: ReturnType<typeof foreignDomain>
  /** The guest, as a cache of its grants names it. */
  readonly grantDomain: ReturnType<typeof grantDomain>
  readonly windows: readonly [HostMemoryWindow, HostMemoryWindow]
}

/** Makes the world of a file of tests, which `itLeavesNothingBehind` closes. */
export function createLeakWorld(): LeakWorld {
  const xen = new Hypervisor()
  const guest = xen.createDomain({ memoryBytes: 16 * 2 ** 20 })
  return {
    xen,
    guest,
    foreignDomain: foreignDomain(guest.id),
    grantDomain: grantDomain(guest.id),
    windows: [openWindow({ bytes: 2 ** 24 }), openWindow({ bytes: 2 ** 24 })],
  }
}

/**
 * Declares a test of many cycles for each kind, a million in the long run, and one of the end of the caches.
 *
 * @param caches what the cycles use; closed before the world
 */
export function itLeavesNothingBehind(
  { xen, windows }: LeakWorld,
  caches: readonly { close(): void }[],
  cycles: Readonly<Record<string, Cycle>>,
): void {
  it.each(Object.entries(cycles))('%s', async (_, cycle) => {
    // The windows' places are all used once, so that fillers stand everywhere.
    await repeat(cycle, repetitions(5000, 10_000))
    const mapped = xen.accounting.totals()
    const before = await processState(windows)
    await repeat(cycle, repetitions(5000, 1_000_000))
    const after = await processState(windows)
    expect({ ...after, heapBytes: 0 }).toEqual({ ...before, heapBytes: 0 })
    expect(after.heapBytes - before.heapBytes).toBeLessThan(2 ** 20)
    const { mappings, mappedPages, pinnedGrants } = xen.accounting.totals()
    expect({ mappings, mappedPages, pinnedGrants }).toEqual({
      mappings: mapped.mappings,
      mappedPages: mapped.mappedPages,
      pinnedGrants: mapped.pinnedGrants,
    })
  })

  it('and nothing is mapped when the caches are closed', async () => {
    for (const cache of caches) cache.close()
    for (const window of windows) window.close()
    expect(xen.accounting.leftovers()).toEqual([])
    xen.close()
    expect((await processState(windows)).guestAreas).toBe(0)
  })
}

/** Does a cycle again and again; an asynchronous one from when the one before has ended. */
async function repeat(cycle: Cycle, times: number): Promise<void> {
  for (let nth = 0; nth < times; nth++) {
    const ended = cycle()
    // oxlint-disable-next-line no-await-in-loop -- the next cycle finds what this one left
    if (ended !== undefined) await ended
  }
}
