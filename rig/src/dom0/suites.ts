import {
  eventChannelsContract,
  foreignCacheContract,
  foreignMemoryContract,
  grantCacheContract,
  grantTableContract,
} from '@xmc/contract'
import { board } from './board.ts'
import { bounds } from './bounds/bounds.ts'
import { crashes } from './crashes.ts'
import { differential } from './differential.ts'
import { disks } from './disks/disks.ts'
import { theDoctor } from './doctor.ts'
import { failures } from './failures.ts'
import { growth } from './growth.ts'
import { ownEventChannels } from './providers/event-channels.ts'
import { guestForeignMemory } from './providers/foreign-memory.ts'
import { guestGrantedPages, selfGrantedPages } from './providers/grant-table.ts'
import { smoke } from './smoke.ts'
import { contractSuite, type Suite } from './suite.ts'

/** The suites that run unless others are named. */
export const suites: readonly Suite[] = [
  smoke,
  contractSuite('grants-of-dom0', grantTableContract, selfGrantedPages),
  contractSuite('grants-of-guest', grantTableContract, guestGrantedPages),
  contractSuite('foreign-memory', foreignMemoryContract, guestForeignMemory),
  contractSuite('cache-of-guest-grants', grantCacheContract, guestGrantedPages),
  contractSuite('event-channels', eventChannelsContract, ownEventChannels),
  contractSuite('cache-of-foreign-memory', foreignCacheContract, guestForeignMemory),
  contractSuite('cache-of-dom0-grants', grantCacheContract, selfGrantedPages),
  growth,
  crashes,
  differential,
  theDoctor,
  failures,
  bounds,
]

/** Suites that need a Xen with ioreq servers, and guests that are theirs to end. They run when they are named. */
export const deviceModelSuites: readonly Suite[] = [board, disks]
