import { Session } from 'node:inspector'
import { MapCacheGroup } from '@xmc/core'
import { MuseumWorld } from '../museum-world.ts'

// V8 counts how often each block of the program runs.
const session = new Session()
session.connect()
session.post('Profiler.enable')
session.post('Profiler.startPreciseCoverage', { callCount: true, detailed: true })

process.stdout.write(
  JSON.stringify({
    small: await stepsOf(2 ** 10, 0),
    large: await stepsOf(2 ** 20, 0),
    inUse: await stepsOf(2 ** 10, 8),
  }),
)

/** Blocks that run in a full invalidation of two caches of `pageCount` places, some of them in use. */
async function stepsOf(pageCount: number, used: number): Promise<number> {
  using world = new MuseumWorld()
  world.guest.populate(0, 16)
  const foreign = world.foreignCache({ pageCount, bucketShift: 12 })
  const grants = world.grantCache({ pageCount })
  const group = new MapCacheGroup([foreign, grants])
  await group.invalidateAll()
  for (let page = 0; page < used; page++) foreign.loadUint8(foreign.backend.page(page), 0)
  // Taking the counts sets them to zero.
  session.post('Profiler.takePreciseCoverage')
  await group.invalidateAll()
  return countSteps()
}

/** Blocks of this program that ran since the counts were taken. */
function countSteps(): number {
  let steps = 0
  // A session calls back at once when it is connected to its own thread.
  session.post('Profiler.takePreciseCoverage', (error, { result }) => {
    if (error !== null) throw error
    for (const { url, functions } of result) {
      if (url !== import.meta.url) continue
      for (const { ranges } of functions) for (const { count } of ranges) steps += count
    }
  })
  return steps
}
