import { foreignMemoryContract, grantTableContract } from '@xmc/contract'
import { guestForeignMemory } from './providers/foreign-memory.ts'
import { guestGrantedPages, selfGrantedPages } from './providers/grant-table.ts'
import { smoke } from './smoke.ts'
import { contractSuite, type Suite } from './suite.ts'

/** Every suite that runs in dom0, in the order in which they do. */
export const suites: readonly Suite[] = [
  smoke,
  contractSuite('grants-of-dom0', grantTableContract, selfGrantedPages),
  contractSuite('grants-of-guest', grantTableContract, guestGrantedPages),
  contractSuite('foreign-memory', foreignMemoryContract, guestForeignMemory),
]
