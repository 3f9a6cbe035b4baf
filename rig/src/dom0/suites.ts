import { foreignMemoryContract, grantTableContract } from '@xmc/contract'
import { guestForeignMemory } from './providers/foreign-memory.ts'
import { selfGrantedPages } from './providers/grant-table.ts'
import { smoke } from './smoke.ts'
import { contractSuite, type Suite } from './suite.ts'

/** Every suite that runs in dom0, in the order in which they do. */
export const suites: readonly Suite[] = [
  smoke,
  contractSuite('grant-table', grantTableContract, selfGrantedPages),
  contractSuite('foreign-memory', foreignMemoryContract, guestForeignMemory),
]
