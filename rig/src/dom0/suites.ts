import {
  eventChannelsContract,
  foreignCacheContract,
  foreignMemoryContract,
  grantCacheContract,
  grantTableContract,
} from '@xmc/contract'
import { board } from './board.ts'
import { crashes } from './crashes.ts'
import { differential } from './differential.ts'
import { theDoctor } from './doctor.ts'
import { failures } from './failures.ts'
import { growth } from './growth.ts'
import { ownEventChannels } from './providers/event-channels.ts'
import { guestForeignMemory } from './providers/foreign-memory.ts'
import { guestGrantedPages, selfGrantedPages } from './providers/grant-table.ts'
import { smoke } from './smoke.ts'
import { contractSuite, type Suite } from './suite.ts'

/** Every suite that runs in dom0. Every other one takes about as long as the rest: two machines can share them. */
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
  board,
]
