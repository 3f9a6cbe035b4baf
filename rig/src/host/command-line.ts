import { existsSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { constants } from 'node:os'
import { resolve } from 'node:path'
import { XmcError } from '@xmc/interface'
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander'
import { cacheFolder } from './artefacts/artefact-cache.ts'
import { InterruptedError, RigError } from './errors.ts'
import { type BootName, bootNames } from './machine/boot.ts'
import { type DiskAddressing, diskAddressings } from './machine/virtio-devices.ts'
import { possibleMachines, runInParts } from './parts.ts'
import { Progress } from './progress.ts'
import { caseLine, exitCodeOf, type RunResults, runResults, summaryLine } from './results.ts'
import type { RunOutcome } from './run.ts'

/** Exit code of a run that could not be done. */
const FAILED = 1

/** Exit code of a command line that is wrong. */
const MISUSED = 2

/** Seconds that a machine may be silent by default; no case is for half as long on a quiet one. */
const DEFAULT_PATIENCE = 120

/** Where a command line reads and writes. */
export interface CommandEnvironment {
  readonly stdout: { write(text: string): unknown }
  readonly stderr: { write(text: string): unknown }
  readonly variables: Readonly<Record<string, string | undefined>>
  /** Ends the run. */
  readonly signal: AbortSignal
}

interface Options {
  readonly run?: string
  readonly with: readonly string[]
  readonly guests?: number
  readonly machines?: number
  readonly boot: BootName
  readonly build: boolean
  readonly disks?: DiskAddressing
  readonly patience: number
  readonly limit?: number
  readonly json?: true
  readonly results?: string
  readonly verbose?: true
}

/**
 * Runs a command line, without the names of Node and the program, and returns the exit code: that of dom0's
 * program; 1 when a case failed or the run could not be done; 2 for a command line that is wrong; 128 and the
 * number of the signal when one ended it.
 */
export async function runCommandLine(
  parameters: readonly string[],
  environment: CommandEnvironment,
): Promise<number> {
  const { stdout, stderr } = environment
  let exitCode = 0
  const command = new Command('npm run test:xen --')
    .description(
      'Boots Xen with dom0 and a guest under an emulator, runs the suites of the real providers in dom0, and ' +
        'powers the machine off. Fetches what it needs from Debian and npm, and keeps it in a cache.',
    )
    .argument('[names...]', 'suites to run, all by default; with --run, parameters of the program')
    .option('--run <file>', 'run a program of your own in dom0 instead; it can import the packages')
    .option(
      '--with <path>',
      'a file or folder to put beside the program; may be given again',
      add,
      [],
    )
    .addOption(
      new Option(
        '--boot <name>',
        'hypervisor and kernel; device-model builds its own, which takes time',
      )
        .choices(bootNames)
        .default('debian'),
    )
    .option('--no-build', 'with --boot device-model: do not build it, but end if it is not there')
    .addOption(
      new Option(
        '--disks <addressing>',
        'give each guest the transports of two disks, which dom0 can serve; takes --boot device-model',
      ).choices(diskAddressings),
    )
    .option(
      '--guests <count>',
      'guests to start on each machine: 3 for the suites, 1 with --run',
      guests,
    )
    .option(
      '--machines <count>',
      'share the cases among machines; 2 where there is room, unless one name is given',
      machines,
    )
    .option(
      '--patience <seconds>',
      'kill the emulator when nothing happens for so long; longer where the machine is busy',
      seconds,
      DEFAULT_PATIENCE,
    )
    .option('--limit <seconds>', 'kill the emulator after this time, whatever happens', seconds)
    .option('--json', 'print the results as one JSON object; all else goes to standard error')
    .option('--results <file>', 'write the same object into a file')
    .option('--verbose', 'print all of the console, the boot too')
    .addHelpText(
      'after',
      `\nDownloads and builds are kept in XMC_CACHE_DIR, by default ~/.cache/xmc.`,
    )
    .exitOverride()
    .configureOutput({
      writeOut: (text) => stdout.write(text),
      writeErr: (text) => stderr.write(text),
      outputError: () => {},
    })
    .action(async (names: readonly string[], options: Options) => {
      exitCode = await run(names, options, environment)
    })
  try {
    await command.parseAsync(parameters, { from: 'user' })
    return exitCode
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error
    if (error.exitCode === 0) return 0
    const message = error.message.replace(/^error: |\.$/g, '').replaceAll('\n', ' ')
    stderr.write(`rig: ${message}; see --help\n`)
    return MISUSED
  }
}

async function run(
  names: readonly string[],
  options: Options,
  environment: CommandEnvironment,
): Promise<number> {
  const { stdout, stderr } = environment
  const people = options.json ? stderr : stdout
  const progress = new Progress((line) => stderr.write(`${line}\n`))
  const started = performance.now()
  let results: RunResults
  let exitCode: number
  try {
    const shared = options.machines ?? (names.length === 1 ? 1 : possibleMachines())
    const count = options.run === undefined ? shared : 1
    const outcome = await runInParts(
      {
        ...(options.run !== undefined && { file: existing(options.run) }),
        beside: options.with.map(existing),
        parameters: names,
        guests: options.guests ?? usualGuests(options.run !== undefined),
        boot: options.boot,
        mayBuild: options.build,
        disks: options.disks,
        patienceSeconds: options.patience,
        limitSeconds: options.limit,
        cacheFolder: cacheFolder(environment.variables),
        signal: environment.signal,
        verbose: options.verbose ?? false,
        onText: (line) => people.write(`${line}\n`),
        onCase: (result) => people.write(`${caseLine(result)}\n`),
      },
      count,
      progress,
    )
    explain(outcome, progress)
    results = runResults(outcome, (performance.now() - started) / 1000)
    exitCode = exitCodeOf(results)
    if (options.run === undefined) people.write(`${summaryLine(results)}\n`)
  } catch (error) {
    const known = error instanceof XmcError
    const message = error instanceof Error ? error.message : String(error)
    progress.say(known || !(error instanceof Error) ? message : (error.stack ?? message))
    results = { error: { code: known ? error.code : 'ERR_XMC_INTERNAL', message } }
    exitCode = error instanceof InterruptedError ? 128 + constants.signals[error.signal] : FAILED
  }
  const json = `${JSON.stringify(results)}\n`
  if (options.json) stdout.write(json)
  if (options.results !== undefined) await writeFile(options.results, json)
  return exitCode
}

/** The guest that lives as long as dom0, and one for each of the suites' two cases that end one. */
function usualGuests(ownProgram: boolean): number {
  return ownProgram ? 1 : 3
}

function explain({ problems, tail, console }: RunOutcome, progress: Progress): void {
  for (const line of tail.length > 0 && problems.length > 0 ? tail : []) progress.say(`  ${line}`)
  for (const problem of problems) progress.say(problem)
  if (problems.length > 0) progress.say(`all of the console is in ${console}`)
}

function existing(path: string): string {
  const absolute = resolve(path)
  if (!existsSync(absolute)) throw new RigError(`${absolute} does not exist`)
  return absolute
}

function add(value: string, before: readonly string[]): readonly string[] {
  return [...before, value]
}

function seconds(value: string): number {
  return wholeNumber(value, 'seconds', 1, 86_400)
}

function machines(value: string): number {
  return wholeNumber(value, 'machines', 1, 8)
}

function guests(value: string): number {
  return wholeNumber(value, 'guests', 0, 8)
}

function wholeNumber(value: string, what: string, minimum: number, maximum: number): number {
  const number = Number(value)
  if (!/^\d+$/.test(value) || number < minimum || number > maximum) {
    throw new InvalidArgumentError(`${what} are a whole number from ${minimum} to ${maximum}`)
  }
  return number
}
