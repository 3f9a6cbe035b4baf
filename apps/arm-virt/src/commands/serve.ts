import { type Command, Option } from 'commander'
import { MISBEHAVIOURS, type Misbehaviour } from '../guest/misbehaviour.ts'
import { type ServeOptions, type ServeReport, serve } from '../serve.ts'
import type { CommandEnvironment } from './environment.ts'
import { formatInteger, formatRate, formatSize, formatTable } from './formatting.ts'
import { addJobOptions, type JobFlags, jobOptions } from './job-options.ts'
import { openProgressBar } from './progress-bar.ts'

/** What commander makes of the options of `serve`. */
export interface ServeFlags extends JobFlags {
  readonly disk?: string
  readonly readOnly?: true
  readonly verify?: true
  readonly misbehave?: Misbehaviour
}

/** Adds `serve`: a disk is served to a guest that reads all of it. */
export function addServeCommand(program: Command, environment: CommandEnvironment): void {
  const command = program
    .command('serve')
    .summary('serve a disk to a simulated guest, which reads all of it')
    .description(
      'Serves a disk to a simulated guest over virtio-blk. The guest reads all of it, with many requests ' +
        'in flight, and computes its SHA-256, which is compared with that of the file.',
    )
  addServeOptions(command).action(async (flags: ServeFlags) => {
    const report = await runServe(flags, environment)
    const { stdout } = environment
    if (flags.json === true) stdout.write(`${JSON.stringify(report.summary)}\n`)
    else stdout.write(describe(report, flags))
  })
}

/** Adds the options of `serve`. */
export function addServeOptions(command: Command): Command {
  command
    .option('--disk <file>', 'the disk (default: the executable of Node itself, read-only)')
    .option('--read-only', 'let the guest only read it; any size will do then')
    .option('--verify', 'compare each block that the guest gets with the file')
  addJobOptions(command)
  return command.addOption(
    new Option('--misbehave <how>', 'have the guest do wrong with requests in flight').choices([
      ...MISBEHAVIOURS,
    ]),
  )
}

/** Serves, with a progress bar. */
export async function runServe(
  flags: ServeFlags,
  environment: CommandEnvironment,
): Promise<ServeReport> {
  const bar = openProgressBar(environment, 'reading')
  try {
    const options: ServeOptions = {
      ...jobOptions(flags, environment),
      disk: flags.disk,
      readOnly: flags.readOnly,
      verify: flags.verify,
      misbehaviour: flags.misbehave,
      onProgress: (bytes, total) => bar.update(bytes, total),
    }
    return await serve(options)
  } finally {
    bar.stop()
  }
}

function describe({ summary, disk, readOnly }: ServeReport, flags: ServeFlags): string {
  const { bytes, requests, seconds, bytesPerSecond, cache, mappedPages, pinnedGrants } = summary
  const access = readOnly ? 'read-only' : 'read-write'
  const addresses = flags.foreign === true ? 'plain addresses' : 'grants'
  return formatTable([
    ['disk', `${disk}, ${access}`],
    ['guest', `${formatSize(flags.memory)} of RAM, ${addresses}, queue of ${flags.queueSize}`],
    [
      'read',
      `${formatInteger(bytes)} bytes in ${formatInteger(requests)} requests, up to ${flags.inFlight} in flight`,
    ],
    ['time', `${seconds.toFixed(3)} s, ${formatRate(bytesPerSecond)}`],
    ['SHA-256', `${summary.guestSha256}  computed by the guest`],
    ['', `${summary.hostSha256}  of the file: equal`],
    ['cache', `${formatInteger(cache.hits)} hits, ${formatInteger(cache.misses)} misses`],
    ['hypervisor', `${formatInteger(summary.hypervisorCalls)} calls`],
    ['left', `${mappedPages} pages mapped, ${pinnedGrants} grants pinned`],
  ])
}
