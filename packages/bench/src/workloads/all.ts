import type { GrowthPoint, Workload } from '../workload.ts'
import { addressSpaces } from './address-space.ts'
import { blockDevice } from './block-device.ts'
import { hits } from './hits.ts'
import { invalidation } from './invalidation.ts'
import { lockGrowth, locks, strictLocks } from './locks.ts'
import { misses, missGrowth } from './misses.ts'
import { sizes } from './sizes.ts'

/** Every workload, in the order of the tables. */
export const workloads: readonly Workload[] = [
  ...hits,
  ...locks,
  ...strictLocks,
  ...misses,
  ...sizes,
  ...invalidation,
  ...addressSpaces,
  ...blockDevice,
]

/** Every point of every curve. */
export const growthPoints: readonly GrowthPoint[] = [...lockGrowth, ...missGrowth]
