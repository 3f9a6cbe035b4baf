import { type Command, InvalidArgumentError, Option } from 'commander'
import { MISBEHAVIOURS, type Misbehaviour } from '../guest/misbehaviour.ts'
import { type ServeOptions, type ServeReport, serve } from '../serve.ts'
import { type ServeDomainSummary, serveDomain } from '../serve-domain.ts'
import type { CommandEnvironment } from './environment.ts'
import { formatInteger, formatRate, formatSize, formatTable } from './formatting.ts'
import { addJobOptions, type JobFlags, jobOptions } from './job-options.ts'
import { openProgressBar } from './progress-bar.ts'
import { integerParser } from './values.ts'

/** What commander makes of the options of `serve`. */
export interface ServeFlags extends JobFlags {
  /** Paths, in the order in which they were given. */
  readonly disk?: readonly string[]
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
  addServeOptions(command)
  addXenOptions(command).action(async (flags: ServeFlags & XenFlags) => {
    const { stdout } = environment
    if (flags.xen === true) {
      // The default is the simulated guest's; a guest of Xen sends as many as it likes.
      const limited = command.getOptionValueSource('inFlight') !== 'default'
      const inFlight = limited ? flags.inFlight : undefined
      const summary = await runServeDomain(flags, inFlight, environment)
      stdout.write(flags.json === true ? `${JSON.stringify(summary)}\n` : describeDomain(summary))
      return
    }
    if (flags.domain !== undefined) {
      throw new InvalidArgumentError('--domain is for --xen: the simulated guest has no number.')
    }
    const report = await runServe(flags, environment)
    if (flags.json === true) stdout.write(`${JSON.stringify(report.summary)}\n`)
    else stdout.write(describe(report, flags))
  })
}

/** Adds the options of `serve`. */
export function addServeOptions(command: Command): Command {
  command
    .option('--disk <file>', 'the disk (default: the executable of Node itself, read-only)', add)
    .option('--read-only', 'let the guest only read it; any size will do then')
    .option('--verify', 'compare each block that the guest gets with the file')
  addJobOptions(command)
  return command.addOption(
    new Option('--misbehave <how>', 'have the guest do wrong with requests in flight').choices([
      ...MISBEHAVIOURS,
    ]),
  )
}

/** What commander makes of the options for real Xen. */
interface XenFlags {
  readonly xen?: true
  readonly domain?: number
}

function addXenOptions(command: Command): Command {
  return command
    .summary('serve a disk to a simulated guest, which reads all of it, or to a domain of Xen')
    .addOption(
      new Option(
        '--xen',
        'serve a domain of the Xen that this machine runs on, until it ends; --disk again for each further disk',
      ).conflicts(['verify', 'misbehave', 'memory', 'blockSize']),
    )
    .addOption(
      new Option('--domain <id>', 'with --xen: which domain, as in "xl list"').argParser(
        integerParser(1, 32_751),
      ),
    )
}

async function runServeDomain(
  flags: ServeFlags & XenFlags,
  inFlight: number | undefined,
  environment: CommandEnvironment,
): Promise<ServeDomainSummary> {
  const { domain, disk: disks = [] } = flags
  if (domain === undefined) throw new InvalidArgumentError('--xen needs --domain <id>.')
  if (disks.length === 0) throw new InvalidArgumentError('--xen needs --disk <file>.')
  const { addressing, queueSize, signal, openDisk, onNotice } = jobOptions(flags, environment)
  const { readOnly } = flags
  const { attach } = environment
  return await serveDomain({
    domain,
    disks,
    readOnly,
    addressing,
    queueSize,
    inFlight,
    signal,
    openDisk,
    onNotice,
    attach,
  })
}

function describeDomain(summary: ServeDomainSummary): string {
  const { domain, end, ram, virtualCpus, disks, seconds, board, usage } = summary
  const memory = ram.map(({ address, bytes }) => `${formatSize(bytes)} at ${address}`).join(', ')
  const cache = { hits: 0, misses: 0 }
  for (const { hits, misses } of [board.foreign, board.grants]) {
    cache.hits += hits
    cache.misses += misses
  }
  return formatTable([
    ['domain', `${domain}, ${virtualCpus} virtual CPUs, ${memory}`],
    ...disks.map(({ path, readOnly, requests }, slot): [string, string] => [
      `disk ${slot}`,
      `${path}, ${readOnly ? 'read-only' : 'read-write'}, ${formatInteger(requests)} requests`,
    ]),
    ['ended', `${end}, after ${seconds.toFixed(1)} s`],
    ['cache', `${formatInteger(cache.hits)} hits, ${formatInteger(cache.misses)} misses`],
    ['hypervisor', `${formatInteger(usage.memoryCalls)} calls`],
    ['left', `${usage.mappedPages} pages mapped, ${usage.pinnedGrants} grants pinned`],
  ])
}

function add(path: string, paths: readonly string[] = []): readonly string[] {
  return [...paths, path]
}

function onlyDisk({ disk = [] }: ServeFlags): string | undefined {
  if (disk.length <= 1) return disk[0]
  throw new InvalidArgumentError('The simulated guest reads one disk: give --disk once.')
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
      disk: onlyDisk(flags),
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
