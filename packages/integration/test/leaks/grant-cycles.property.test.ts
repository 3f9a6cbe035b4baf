import { LOCK_WRITE } from '@xmc/core'
import { createGrantCache } from '@xmc/grants'
import { grantReference } from '@xmc/interface'
import { describe } from 'vitest'
import { createLeakWorld, itLeavesNothingBehind } from './cycles.ts'

describe('cycles leave nothing behind', () => {
  const world = createLeakWorld()
  const table = world.xen.grantTable()
  const domain = world.grantDomain
  const [first, second] = world.windows
  const grants = createGrantCache({ table, domain, window: first })
  const persistent = createGrantCache({
    table,
    domain,
    window: second,
    // Longer than the asynchronous cycles take, during which timers run.
    persistent: { maximumPages: 16, idleMilliseconds: 2 ** 30 },
  })
  const frames = Array.from({ length: 8 }, (_, nth) => 0x40000 + nth)
  const shared = world.guest.grants.share(frames, { to: 0 })
  const reference = grantReference(shared[0] ?? 0)
  const references = [shared[5] ?? 0, shared[2] ?? 0].map((number) => grantReference(number))
  const lockAndUnlock = (write: number): void => {
    grants.unlock(grants.lock(reference, 8, 64, write), 8)
  }

  itLeavesNothingBehind(world, [grants, persistent], {
    'grant, read-only': () => lockAndUnlock(0),
    'grant, writable': () => lockAndUnlock(LOCK_WRITE),
    'grants, scattered references': () => grants.mapList(references, { write: true }).release(),
    'grant, persistent': () => persistent.map(reference, 0, 64).release(),
    'grant, without a lock': () => grants.storeUint32(reference, 0, 7),
    'grant, asynchronous': async () => {
      const mapping = await grants.mapAsync(reference, 0, 64, { write: true })
      await mapping.releaseAsync()
    },
  })
})
