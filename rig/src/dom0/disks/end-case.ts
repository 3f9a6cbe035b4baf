import { deepEqual, equal } from 'node:assert/strict'
import type { DomainEnd } from '@xmc/arm-virt'
import { until } from '../../time/waiting.ts'
import { NO_MORTAL_LEFT, nextMortal } from '../mortal-guests.ts'
import { type Case, Skip } from '../suite.ts'
import { digestOf } from './disk-image.ts'
import { TREE } from './guest-disks.ts'
import { ServedDisks } from './served-disks.ts'
import { connect, copyTree, writing } from './steps.ts'

/** What may be said of requests whose guest is gone: that they cannot be answered, or not be read any more. */
const ENDINGS: ReadonlySet<unknown> = new Set(['ERR_XMC_GUEST_BUFFER', 'ERR_XMC_VIRTQUEUE'])

/**
 * A guest that ends while both disks have requests of it in flight. What it had synced is on the disks, and nothing of it
 * is mapped.
 */
export function endCase(
  id: string,
  end: DomainEnd,
  endDomain: (domain: number) => Promise<void> | void,
): Case {
  return {
    id,
    title: `a guest that ends while it writes (${end}): what it synced is there, nothing of it is mapped`,
    run: async () => {
      const domain = nextMortal()
      if (domain === undefined) throw new Skip(NO_MORTAL_LEFT)
      const served = await ServedDisks.open(domain)
      const { board, faults, hypervisor, images } = served
      const guest = await connect(domain)
      await guest.bind()
      for (const slot of [0, 1]) await copyTree(guest, slot)
      await writing(guest, board)
      await until('there are no requests in flight', () =>
        board.transports.some(({ inFlight }) => inFlight > 0),
      )
      deepEqual([...faults], [])
      await endDomain(domain)
      await until(`the end of domain ${domain} is not seen`, () => hypervisor.end === end)
      // The board lets go by itself, when a disk has done what it is busy with.
      await until('the board does not let go', () => hypervisor.leftovers().length === 0)
      const { mappedPages, pinnedGrants } = hypervisor.usage
      deepEqual({ mappedPages, pinnedGrants }, { mappedPages: 0, pinnedGrants: 0 })
      await served.close()
      const unexpected = faults.filter((fault) => !('code' in fault && ENDINGS.has(fault.code)))
      deepEqual(unexpected, [])
      for (const image of images) {
        await image.mend()
        equal(await image.digestOf('tree'), await digestOf(TREE))
      }
    },
  }
}
