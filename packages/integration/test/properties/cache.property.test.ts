import assert from 'node:assert/strict'
import type { Retention } from '@xmc/core'
import { Hypervisor } from '@xmc/sim'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { propertyRuns } from '../../../../vitest.properties.ts'
import { foreignGuest, grantingGuest, type ModelledGuest } from './guests.ts'
import { type Operation, operation } from './operations.ts'
import { SequenceRunner } from './run-sequence.ts'

// By itself fast-check keeps arrays to about ten elements, and few of those leave locks behind.
const sequence = fc.array(operation, { minLength: 1, maxLength: 40, size: 'max' })

/** A budget of four buckets, and the two ways to unmap sooner. */
const retention: fc.Arbitrary<Retention> = fc.constantFrom<Retention>(
  { kind: 'keep', budgetBytes: 4 * 8 * 4096 },
  { kind: 'keep', budgetBytes: 2 ** 30 },
  { kind: 'at-once' },
)
const access = fc.constantFrom('read-write' as const, 'as-requested' as const)
const persistent = fc.constantFrom(undefined, { maximumPages: 6, idleMilliseconds: 60_000 })

describe('random sequences against the model', () => {
  it('of a cache of foreign memory', async () => {
    const property = fc.asyncProperty(retention, access, sequence, async (kept, writes, steps) => {
      await runAll((hypervisor) => [foreignGuest(hypervisor, kept, writes)], steps)
    })
    await expect(fc.assert(property, propertyRuns(60, 900))).resolves.toBeUndefined()
  })

  it('of a cache of grants', async () => {
    const property = fc.asyncProperty(persistent, sequence, async (kept, steps) => {
      await runAll((hypervisor) => [grantingGuest(hypervisor, kept)], steps)
    })
    await expect(fc.assert(property, propertyRuns(60, 900))).resolves.toBeUndefined()
  })

  it('of several caches at once, of several guests', async () => {
    const property = fc.asyncProperty(
      retention,
      access,
      persistent,
      sequence,
      async (kept, writes, grants, steps) => {
        const make = (hypervisor: Hypervisor): ModelledGuest[] => [
          foreignGuest(hypervisor, kept, writes),
          grantingGuest(hypervisor, grants),
          foreignGuest(hypervisor, { kind: 'at-once' }, writes),
          grantingGuest(hypervisor, undefined),
        ]
        await runAll(make, steps)
      },
    )
    await expect(fc.assert(property, propertyRuns(20, 300))).resolves.toBeUndefined()
  })
})

/** Deals the steps to the guests in turn; at the end nothing is left mapped in the simulator. */
async function runAll(
  make: (hypervisor: Hypervisor) => ModelledGuest[],
  steps: readonly Operation[],
): Promise<void> {
  const hypervisor = new Hypervisor({ seed: 1, controlMemoryBytes: 4096 })
  try {
    const guests = make(hypervisor)
    const armed = { value: false }
    const runners = guests.map((guest) => new SequenceRunner(hypervisor, guest, armed))
    for (const [nth, step] of steps.entries()) {
      // oxlint-disable-next-line no-await-in-loop -- a sequence
      await runners[nth % runners.length]?.step(step)
    }
    for (const runner of runners) runner.finish()
    const { mappings, mappedPages, pinnedGrants } = hypervisor.accounting.totals()
    assert.deepEqual(
      { mappings, mappedPages, pinnedGrants },
      { mappings: 0, mappedPages: 0, pinnedGrants: 0 },
    )
    assert.deepEqual(hypervisor.accounting.touchedPages(), [])
    for (const guest of guests) guest.close()
  } finally {
    hypervisor.close()
  }
}
