import type { Command } from 'commander'
import type { ServeReport } from '../serve.ts'
import type { CommandEnvironment } from './environment.ts'
import { formatInteger, formatTable } from './formatting.ts'
import { addServeOptions, runServe, type ServeFlags } from './serve.ts'

/** Adds `stats`: the job of `serve`, and every counter after it. */
export function addStatsCommand(program: Command, environment: CommandEnvironment): void {
  const command = program
    .command('stats')
    .summary('do as serve, and print every counter')
    .description(
      'Does as serve does, with the same options, and prints every counter of the caches, the hypervisor, ' +
        "the board and the guest's driver.",
    )
  addServeOptions(command).action(async (flags: ServeFlags) => {
    const counters = countersOf(await runServe(flags, environment))
    const { stdout } = environment
    if (flags.json === true) stdout.write(`${JSON.stringify(counters)}\n`)
    else stdout.write(describe(counters))
  })
}

/** Counters by group and name. */
type Counters = Readonly<Record<string, Readonly<Record<string, number>>>>

function countersOf({ machine, driver }: ServeReport): Counters {
  const { foreign, grants, ioreq, transports, faults } = machine.board
  const [transport] = transports
  return {
    foreignCache: { ...foreign },
    grantCache: { ...grants },
    hypervisor: { ...machine.usage },
    ioreq: { ...ioreq },
    transport: { ...transport },
    board: { faults },
    driver: { ...driver },
  }
}

function describe(counters: Counters): string {
  return Object.entries(counters)
    .map(([group, values]) => {
      const rows = Object.entries(values).map(
        ([name, value]) => [`  ${name}`, formatInteger(value)] as const,
      )
      return `${group}\n${formatTable(rows)}`
    })
    .join('\n')
}
