import { readFileSync } from 'node:fs'
import { constants } from 'node:os'
import { XmcError } from '@xmc/interface'
import { Command, CommanderError } from 'commander'
import { addCopyCommand } from './commands/copy.ts'
import { addDoctorCommand } from './commands/doctor.ts'
import { announce, type CommandEnvironment } from './commands/environment.ts'
import { formatJson } from './commands/formatting.ts'
import { addMtreeCommand } from './commands/mtree.ts'
import { addSelfTestCommand } from './commands/self-test.ts'
import { addServeCommand } from './commands/serve.ts'
import { addStatsCommand } from './commands/stats.ts'
import { InterruptedError } from './errors.ts'

/** Exit code of a command that could not do its work. */
export const FAILED = 1

/** Exit code of a command that was called in a wrong way. */
const MISUSED = 2

/** A command line that is wrong, and the command whose help says what is right. */
class UsageError extends Error {
  readonly code = 'ERR_XMC_USAGE'
  /** Whether the help itself was written, so that there is nothing to add. */
  readonly isHelp: boolean

  constructor(error: CommanderError, command: Command) {
    const names = command.parent === null ? '' : `${command.name()} `
    const message = error.message
      .replace(/^error: /, '')
      .replace(/\.$/, '')
      .replace('\n(Did', ' (Did')
    const isHelp = error.code === 'commander.help'
    const problem = isHelp ? 'no command is given' : (misplacedOption(error, command) ?? message)
    super(`${problem}; see arm-virt ${names}--help`)
    this.isHelp = isHelp
  }
}

/**
 * Runs a command line, without the names of Node and the program, and returns the exit code: 0; 1 when the
 * work could not be done; 2 for a command line that is wrong; 128 and the number of the signal when one
 * ended it. Never throws: what went wrong is one line on standard error, or, with `--json`, one object
 * on standard output.
 */
export async function runCommandLine(
  parameters: readonly string[],
  environment: CommandEnvironment,
): Promise<number> {
  const json = parameters.includes('--json')
  let exitCode = 0
  const fail = (): void => {
    exitCode = FAILED
  }
  try {
    await program(environment, json, fail).parseAsync(parameters, { from: 'user' })
    return exitCode
  } catch (error) {
    // Help or the version, which were asked for and are written.
    if (error instanceof CommanderError) return 0
    const { code, message } = describe(error)
    if (json) environment.stdout.write(formatJson({ error: { code, message } }))
    else if (!(error instanceof UsageError && error.isHelp)) announce(environment, message)
    return exitCodeOf(error)
  }
}

/** The commands. `fail` makes a run fail that has said all there is to say. */
function program(environment: CommandEnvironment, json: boolean, fail: () => void): Command {
  const { stdout, stderr } = environment
  const command = new Command('arm-virt')
    .description('An Arm board for Xen guests: serves disks to a guest through grants.')
    .version(version())
    .configureOutput({
      writeOut: (text) => stdout.write(text),
      // Help that nobody asked for; an error is written where all errors are.
      writeErr: (text) => (json ? undefined : stderr.write(text)),
      outputError: () => {},
    })
  addServeCommand(command, environment)
  addSelfTestCommand(command, environment)
  addCopyCommand(command, environment)
  addMtreeCommand(command, environment)
  addStatsCommand(command, environment)
  addDoctorCommand(command, environment, fail)
  for (const each of [command, ...command.commands]) {
    each.exitOverride((error) => {
      throw error.exitCode === 0 ? error : new UsageError(error, each)
    })
  }
  return command
}

/** What is wrong when an option is unknown to a command and known to others. */
function misplacedOption(error: CommanderError, command: Command): string | undefined {
  if (error.code !== 'commander.unknownOption') return undefined
  const flag = /'(?<flag>--[a-z-]+)'/.exec(error.message)?.groups?.['flag']
  const others = (command.parent?.commands ?? [])
    .filter((each) => each.options.some(({ long }) => long === flag))
    .map((each) => each.name())
  return others.length === 0
    ? undefined
    : `option '${flag}' is none of ${command.name()}, but of ${others.join(', ')}`
}

function describe(error: unknown): { readonly code: string; readonly message: string } {
  if (error instanceof XmcError) return { code: error.code, message: error.message }
  const code = error instanceof Error && 'code' in error ? String(error.code) : 'ERR_XMC_INTERNAL'
  return { code, message: error instanceof Error ? error.message : String(error) }
}

function exitCodeOf(error: unknown): number {
  if (error instanceof UsageError) return MISUSED
  if (error instanceof InterruptedError) return 128 + constants.signals[error.signal]
  return FAILED
}

function version(): string {
  const manifest: unknown = JSON.parse(
    readFileSync(new URL('../package.json', import.meta.url), 'utf8'),
  )
  const found = typeof manifest === 'object' && manifest !== null && 'version' in manifest
  return found ? String(manifest.version) : 'unknown'
}
