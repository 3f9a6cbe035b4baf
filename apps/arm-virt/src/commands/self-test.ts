import { type Command, Option } from 'commander'
import { MISBEHAVIOURS, type Misbehaviour } from '../guest/misbehaviour.ts'
import { type SelfTestReport, type SelfTestSummary, selfTest } from '../self-test.ts'
import type { CommandEnvironment } from './environment.ts'
import {
  describeCache,
  describeLeft,
  formatCount,
  formatJson,
  formatSize,
  formatTable,
  formatTiming,
} from './formatting.ts'
import {
  addJobOptions,
  explainJobError,
  type JobFlags,
  jobOptions,
  refuseSameDisks,
} from './job-options.ts'
import { openProgressBar } from './progress-bar.ts'
import { collectDisks } from './values.ts'

/** What commander makes of the options of `selftest`. */
export interface SelfTestFlags extends JobFlags {
  /** Paths, in the order in which they were given. */
  readonly disk?: readonly string[]
  readonly readOnly?: true
  readonly verify?: true
  readonly misbehave?: Misbehaviour
}

/** Adds `selftest`: disks are served to a simulated guest that reads all of them. */
export function addSelfTestCommand(program: Command, environment: CommandEnvironment): void {
  const command = program
    .command('selftest')
    .summary('have a simulated guest read disks, and compare what it read with the files')
    .description(
      'Serves disks to a simulated guest over virtio-blk, the way they are served to a domain of Xen; no Xen is needed. ' +
        'The guest reads all of them, with many requests in flight, and computes their SHA-256, which are compared with ' +
        'those of the files.',
    )
  addSelfTestOptions(command).action(async (flags: SelfTestFlags) => {
    const { summary } = await runSelfTest(command, flags, environment)
    const { disks, ...ofAll } = summary
    const fields = disks.length === 1 ? ofAll : summary
    environment.stdout.write(flags.json === true ? formatJson(fields) : describe(summary, flags))
  })
}

/** Adds the options of `selftest`. */
export function addSelfTestOptions(command: Command): Command {
  command
    .addOption(
      new Option(
        '--disk <file>',
        'a disk, up to 11 of them by as many options (default: the executable of Node itself, read-only)',
      ).argParser(collectDisks),
    )
    .option('--read-only', 'let the guest only read the disks; any size will do then')
    .option('--verify', 'compare each block that the guest gets with the file')
  addJobOptions(command)
  return command.addOption(
    new Option('--misbehave <how>', 'have the guest do wrong with requests in flight').choices([
      ...MISBEHAVIOURS,
    ]),
  )
}

/** Has the guest read, with a progress bar. */
export async function runSelfTest(
  command: Command,
  flags: SelfTestFlags,
  environment: CommandEnvironment,
): Promise<SelfTestReport> {
  if (flags.misbehave === 'revokes' && flags.foreign === true) {
    command.error(
      "error: option '--misbehave revokes' cannot be used with option '--foreign': there is no grant to revoke",
    )
  }
  const bar = openProgressBar(environment, 'reading')
  try {
    return await selfTest({
      ...jobOptions(flags, environment, bar),
      disks: flags.disk,
      readOnly: flags.readOnly,
      verify: flags.verify,
      misbehaviour: flags.misbehave,
    })
  } catch (error) {
    refuseSameDisks(command, error)
    throw explainJobError(error, flags)
  } finally {
    bar.stop()
  }
}

function describe(summary: SelfTestSummary, flags: SelfTestFlags): string {
  const { bytes, requests, seconds, bytesPerSecond, cache, disks } = summary
  const addresses = flags.foreign === true ? 'plain addresses' : 'grants'
  const name = (what: string, slot: number): string =>
    disks.length === 1 ? what : `${what} ${slot}`
  return formatTable([
    ...disks.map(({ path, readOnly }, slot): [string, string] => [
      name('disk', slot),
      `${path}, ${readOnly ? 'read-only' : 'read-write'}`,
    ]),
    ['guest', `${formatSize(flags.memory)} of RAM, ${addresses}, queue of ${flags.queueSize}`],
    [
      'read',
      `${formatCount(bytes, 'byte')} in ${formatCount(requests, 'request')}, up to ${flags.inFlight} in flight`,
    ],
    ['time', formatTiming(seconds, bytesPerSecond)],
    ...disks.flatMap(({ guestSha256, hostSha256 }, slot): [string, string][] => [
      [name('SHA-256', slot), `${guestSha256}  computed by the guest`],
      ['', `${hostSha256}  of the file: equal`],
    ]),
    ['cache', describeCache(cache)],
    ['hypervisor', formatCount(summary.hypervisorCalls, 'call')],
    ['left', describeLeft(summary)],
  ])
}
