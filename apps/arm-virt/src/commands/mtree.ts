import { mtree } from '@xmc/memory-region'
import { EntropyDevice } from '@xmc/virtio'
import { type Command, Option } from 'commander'
import { VIRTIO_MMIO_SLOTS } from '../address-map.ts'
import { Board } from '../board.ts'
import { boardPart, machineConfiguration } from '../configuration.ts'
import { SimulatedHypervisor } from '../providers/sim-hypervisor.ts'
import type { CommandEnvironment } from './environment.ts'
import { formatJson } from './formatting.ts'
import { memoryOption } from './job-options.ts'
import { integerParser } from './values.ts'

interface MtreeFlags {
  readonly flat?: true
  readonly memory: number
  readonly devices: number
  readonly json?: true
}

/** Adds `mtree`: the board's address map. */
export function addMtreeCommand(program: Command, environment: CommandEnvironment): void {
  program
    .command('mtree')
    .summary("print the board's address map")
    .description(
      "Prints the board's regions as a tree, in the shape of QEMU's `info mtree`: what the guest's " +
        'processors see, and what devices reach.',
    )
    .option('--flat', 'print the ranges that are seen instead of the tree')
    .addOption(memoryOption())
    .addOption(
      new Option('--devices <number>', 'transports with a device')
        .argParser(integerParser(0, VIRTIO_MMIO_SLOTS))
        .default(1),
    )
    .option('--json', 'print the ranges that are seen as one JSON object')
    .action(async (flags: MtreeFlags) => {
      environment.stdout.write(await picture(flags))
    })
}

async function picture(flags: MtreeFlags): Promise<string> {
  const devices = Array.from({ length: flags.devices }, () => new EntropyDevice())
  const configuration = machineConfiguration({ memoryBytes: flags.memory, devices })
  const hypervisor = SimulatedHypervisor.create(configuration)
  try {
    const board = Board.open(hypervisor, boardPart(configuration))
    try {
      const spaces = [board.space, board.memory.dma]
      if (flags.json !== true) {
        return spaces.map((space) => mtree(space, { flat: flags.flat })).join('\n')
      }
      const views = spaces.map(({ name, sections }) => [
        name,
        sections.map(({ region, address, size, offset, readOnly }) => ({
          region: region.name,
          first: hex(address),
          last: hex(address + size - 1n),
          offset: hex(offset),
          readOnly,
        })),
      ])
      return formatJson(Object.fromEntries(views))
    } finally {
      await board.close()
    }
  } finally {
    hypervisor.close()
  }
}

function hex(value: bigint): string {
  return `0x${value.toString(16)}`
}
