import { LOCK_WRITE } from '@xmc/core'
import { createForeignCache } from '@xmc/foreign'
import { guestFrame } from '@xmc/interface'
import { describe } from 'vitest'
import { createLeakWorld, itLeavesNothingBehind } from './cycles.ts'

const FRAME = guestFrame(0x40001)
const FRAMES = [guestFrame(0x40003), guestFrame(0x40001)]

describe('cycles leave nothing behind', () => {
  const world = createLeakWorld()
  const memory = world.xen.foreignMemory()
  const domain = world.foreignDomain
  const [first, second] = world.windows
  const kept = createForeignCache({ memory, domain, window: first })
  const retention = { kind: 'at-once' } as const
  const strict = createForeignCache({ memory, domain, window: second, bucketShift: 16, retention })

  itLeavesNothingBehind(world, [kept, strict], {
    'foreign, kept, page surface': () => kept.unlock(kept.lock(FRAME, 0, 64, LOCK_WRITE), 0),
    'foreign, kept, handle': () => kept.map(FRAME, 0, 64, { write: true, dma: true }).release(),
    'foreign, unmapped at once': () => strict.map(FRAME, 0, 64).release(),
    'foreign, scattered frames': () => strict.mapList(FRAMES).release(),
    'foreign, unmapped at once, asynchronous': async () => {
      const mapping = await strict.mapAsync(FRAME, 0, 64)
      await mapping.releaseAsync()
    },
  })
})
