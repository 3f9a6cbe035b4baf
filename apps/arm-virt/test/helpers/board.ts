import { BlockDevice, type Disk, type VirtioDevice } from '@xmc/virtio'
import { onTestFinished } from 'vitest'
import {
  Board,
  type BoardFault,
  type BoardOptions,
  SimulatedGuest,
  SimulatedHypervisor,
} from '../../src/index.ts'

/** A board on the simulator, with its guest, and the faults that it reported. */
export interface BoardWorld {
  readonly hypervisor: SimulatedHypervisor
  readonly board: Board
  readonly guest: SimulatedGuest
  readonly faults: BoardFault[]
}

/** What a test may choose besides the options of the board. */
export interface WorldOptions extends BoardOptions {
  readonly memoryBytes?: number
  readonly virtualCpus?: number
  readonly bank?: number
}

/** Opens a board for a guest of 64 MiB; the hypervisor is closed when the test ends. */
export function openWorld(options: WorldOptions = {}): BoardWorld {
  const { memoryBytes = 64 * 2 ** 20, virtualCpus = 1, bank, ...boardOptions } = options
  const hypervisor = SimulatedHypervisor.create({ memoryBytes, virtualCpus })
  onTestFinished(() => hypervisor.close())
  const faults: BoardFault[] = []
  const board = Board.open(hypervisor, {
    foreignWindowBytes: 2 ** 28,
    grantWindowBytes: 2 ** 26,
    onFault: (fault) => void faults.push(fault),
    ...boardOptions,
  })
  const { addressing } = board.configuration
  const guest = new SimulatedGuest(hypervisor, { addressing, bank })
  return { hypervisor, board, guest, faults }
}

/** A block device for each disk. */
export function blockDevices(...disks: readonly Disk[]): VirtioDevice[] {
  return disks.map((disk) => new BlockDevice({ disk }))
}
