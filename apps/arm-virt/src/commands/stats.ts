import type { Command } from 'commander'
import type { SelfTestReport } from '../self-test.ts'
import type { CommandEnvironment } from './environment.ts'
import { formatInteger, formatJson, formatTable } from './formatting.ts'
import { addSelfTestOptions, runSelfTest, type SelfTestFlags } from './self-test.ts'

/** Adds `stats`: the job of `selftest`, and every counter after it. */
export function addStatsCommand(program: Command, environment: CommandEnvironment): void {
  const command = program
    .command('stats')
    .summary('do as selftest, and print every counter')
    .description(
      'Does as selftest does, with the same options, and prints every counter of the caches, the hypervisor, ' +
        "the board and the guest's drivers.",
    )
  addSelfTestOptions(command).action(async (flags: SelfTestFlags) => {
    const { stdout } = environment
    const report = await runSelfTest(command, flags, environment)
    stdout.write(flags.json === true ? formatJson(countersOf(report)) : describe(report))
  })
}

/** Counters by name. */
type Counters = Readonly<Record<string, number>>

/** Counters by group and name. */
type Groups = Readonly<Record<string, Counters>>

/** The groups that are there once, however many disks there are. */
function sharedGroups({ machine }: SelfTestReport): Groups {
  const { foreign, grants, ioreq, faults } = machine.board
  return {
    foreignCache: { ...foreign },
    grantCache: { ...grants },
    hypervisor: { ...machine.usage },
    ioreq: { ...ioreq },
    board: { faults },
  }
}

/** The groups of each disk, in the order of the slots. */
function diskGroups({ machine, drivers }: SelfTestReport): readonly Groups[] {
  return machine.board.transports.map((transport, slot) => ({
    transport: { ...transport },
    driver: { ...drivers[slot] },
  }))
}

/** All groups; those of the first disk, too, are among them, by their own names. */
function countersOf(report: SelfTestReport): object {
  const disks = diskGroups(report)
  return { ...sharedGroups(report), ...disks[0], disks }
}

function describe(report: SelfTestReport): string {
  const disks = diskGroups(report)
  const groups = [
    ...Object.entries(sharedGroups(report)),
    ...disks.flatMap((each, slot) =>
      Object.entries(each).map(
        ([group, values]) => [disks.length === 1 ? group : `${group} ${slot}`, values] as const,
      ),
    ),
  ]
  return groups
    .map(([group, values]) => {
      const rows = Object.entries(values).map(
        ([name, value]) => [`  ${name}`, formatInteger(value)] as const,
      )
      return `${group}\n${formatTable(rows)}`
    })
    .join('\n')
}
