import { hypervisorContract } from '@xmc/board-contract'
import { doctor } from '@xmc/xen'
import { guestHypervisor } from './providers/hypervisor.ts'
import { contractSuite, type Suite } from './suite.ts'

const name = 'board'

/** The contract of the board's port to a hypervisor. Every case is skipped where Xen has no ioreq servers. */
export const board: Suite = {
  name,
  async *run() {
    const check = doctor().checks.find((each) => each.name === 'device models')
    if (check?.status === 'ok') {
      yield* contractSuite(name, hypervisorContract, guestHypervisor).run()
      return
    }
    const detail = `${check?.found ?? 'nothing is known of device models'}: run it with --boot device-model`
    for (const { id, title } of hypervisorContract) {
      yield { suite: name, id, title, outcome: 'skipped', milliseconds: 0, detail }
    }
  },
}
