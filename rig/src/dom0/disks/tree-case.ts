import { equal, ok } from 'node:assert/strict'
import type { Case } from '../suite.ts'
import { digestOf } from './disk-image.ts'
import { TREE } from './guest-disks.ts'
import { type ServedDisks, SLOTS } from './served-disks.ts'
import { copyTree, digestOnDisk, serving } from './steps.ts'

/** Pages of the one granted ring, which a driver has the device keep: descriptors, available ring, used ring. */
const RING_PAGES = 3

/** The main job, on one of the guest's disks, with at most so many requests in flight, a number that is reached. */
export function treeCase(id: string, addressing: keyof typeof SLOTS, inFlight: number): Case {
  const slot = SLOTS[addressing]
  const way = addressing === 'grants' ? 'granted pages' : 'plain addresses'
  return {
    id,
    title: `copies a tree to ext4, the same for the guest after a remount and for the host: ${way}, ${inFlight} in flight`,
    run: async () => {
      const expected = await digestOf(TREE)
      await serving({ inFlight }, async (guest, served) => {
        const before = countsOf(served, addressing)
        // The file is written with more requests at a time than the disk may work on.
        await copyTree(guest, slot, 'dd if=/dev/zero of=burst bs=256k count=1 conv=fsync')
        equal(await digestOnDisk(guest, slot), expected)
        const image = served.images[slot]
        await image?.assertClean()
        equal(await image?.digestOf('tree'), expected)
        equal(served.board.transports[slot]?.statistics.mostInFlight, inFlight)
        tell(id, addressing, before, countsOf(served, addressing))
        equal(served.hypervisor.usage.pinnedGrants, RING_PAGES)
      })
    },
  }
}

/** The main job by plain addresses, once with a cache and once with nothing mapped but what requests under way use. */
export const costCase = (id: string): Case => ({
  id,
  title:
    'costs less than a call for two requests by plain addresses, and over one for each where nothing stays mapped',
  run: async () => {
    const costs: number[] = []
    for (const foreignBudgetBytes of [undefined, 0]) {
      await serving({ foreignBudgetBytes }, async (guest, served) => {
        const before = countsOf(served, 'foreign')
        await copyTree(guest, SLOTS.foreign)
        await digestOnDisk(guest, SLOTS.foreign)
        const { requests, calls } = tell(id, 'foreign', before, countsOf(served, 'foreign'))
        costs.push(calls / requests)
      })
    }
    const [cached = Number.NaN, uncached = Number.NaN] = costs
    ok(cached < 0.5, `${cached} calls for a request`)
    ok(uncached > 1, `${uncached} calls for a request`)
  },
})

/** Counts of one way to address memory. */
interface Counts {
  readonly requests: number
  readonly hits: number
  readonly misses: number
  readonly calls: number
}

function countsOf({ board, hypervisor }: ServedDisks, addressing: keyof typeof SLOTS): Counts {
  const { hits, misses } = board.statistics[addressing]
  const requests = board.transports[SLOTS[addressing]]?.statistics.used ?? 0
  return { requests, hits, misses, calls: hypervisor.usage.memoryCalls }
}

/** Prints what was counted between two moments, for whoever reads the console. */
function tell(id: string, addressing: keyof typeof SLOTS, before: Counts, after: Counts): Counts {
  const counts = {
    requests: after.requests - before.requests,
    hits: after.hits - before.hits,
    misses: after.misses - before.misses,
    calls: after.calls - before.calls,
  }
  const { requests, hits, misses, calls } = counts
  // A grant that is mapped is unmapped, too; the other calls copy headers, tables and status bytes.
  const copies = addressing === 'grants' ? calls - 2 * misses : 0
  const each = 2 * (hits + misses + copies)
  const perRequest = (count: number): string => `${(count / requests).toFixed(2)} for a request`
  process.stdout.write(
    `${id}: ${requests} requests, ${hits} hits, ${misses} misses, ${calls} calls of the hypervisor ` +
      `(${perRequest(calls)}); every buffer mapped and unmapped for itself: ${each} (${perRequest(each)})\n`,
  )
  return counts
}
