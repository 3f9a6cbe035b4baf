import { hypervisorContract } from '@xmc/board-contract'
import { needingDeviceModels } from './device-models.ts'
import { guestHypervisor } from './providers/hypervisor.ts'
import { contractSuite, type Suite } from './suite.ts'

/** The contract of the board's port to a hypervisor. */
export const board: Suite = needingDeviceModels(
  contractSuite('board', hypervisorContract, guestHypervisor),
)
