import { type Command, Option } from 'commander'
import { type ServeDomainSummary, serveDomain } from '../serve-domain.ts'
import { announce, type CommandEnvironment } from './environment.ts'
import {
  describeCache,
  describeLeft,
  formatCount,
  formatJson,
  formatSize,
  formatTable,
} from './formatting.ts'
import {
  addDiskOptions,
  addJsonOption,
  addressingOf,
  type DiskFlags,
  refuseSameDisks,
} from './job-options.ts'
import { collectDisks, collectSerials, integerParser } from './values.ts'

/** Largest number of a domain that is not one of Xen's own (`DOMID_FIRST_RESERVED` − 1). */
const MAXIMUM_DOMAIN = 32_751

/** What commander makes of the options of `serve`. */
interface ServeFlags extends DiskFlags {
  readonly xen?: true
  readonly domain?: number
  /** Paths, in the order in which they were given. */
  readonly disk?: readonly string[]
  /** Serial numbers, in the order of the disks. */
  readonly serial?: readonly string[]
  readonly readOnly?: true
  readonly inFlight?: number
}

/** Adds `serve`: disks are served to a domain until it ends. */
export function addServeCommand(program: Command, environment: CommandEnvironment): void {
  const command = program
    .command('serve')
    .summary('serve disks to a domain of Xen until it ends')
    .description(
      'Serves disks to a domain of the Xen that this machine runs on, as its device model, over virtio-blk, until the ' +
        'domain ends or SIGINT or SIGTERM comes; SIGUSR2 has it look at the sizes of the disks again. The first disk is at the first transport of the board, and so on. ' +
        '"arm-virt doctor" says what Xen needs; where there is none, "arm-virt selftest" has a simulated guest.',
    )
    .addOption(
      new Option('--domain <id>', 'which domain, as in "xl list"').argParser(
        integerParser(1, MAXIMUM_DOMAIN),
      ),
    )
    .addOption(
      new Option('--disk <file>', 'a disk, up to 11 of them by as many options').argParser(
        collectDisks,
      ),
    )
    .addOption(
      new Option(
        '--serial <text>',
        'what the guest sees as serial number of a disk, none by default; the first is of the first disk, and so on',
      ).argParser(collectSerials),
    )
    .option('--read-only', 'let the guest only read the disks; any size will do then')
  addDiskOptions(command)
    .addOption(
      new Option(
        '--in-flight <number>',
        'requests that a disk works on at a time, as many as its queue has elements by default',
      ).argParser(integerParser(1, 32_768)),
    )
    .addOption(
      new Option('--xen', 'through real Xen, which is the only hypervisor to serve (default)'),
    )
  addJsonOption(command).action(async (flags: ServeFlags) => {
    const { stdout } = environment
    const summary = await run(command, flags, environment)
    stdout.write(flags.json === true ? formatJson(summary) : describe(summary))
  })
}

async function run(
  command: Command,
  flags: ServeFlags,
  environment: CommandEnvironment,
): Promise<ServeDomainSummary> {
  const { domain, disk: disks = [], serial: serials, queueSize, inFlight } = flags
  const asked = flags.xen === true ? '--xen' : 'serve'
  if (domain === undefined) {
    command.error(
      `error: ${asked} needs --domain <id>, the domain to serve; "arm-virt selftest" has a simulated guest`,
    )
  }
  if (disks.length === 0) command.error(`error: ${asked} needs --disk <file>.`)
  if (serials !== undefined && serials.length > disks.length) {
    command.error(
      `error: ${serials.length} times --serial for ${formatCount(disks.length, 'disk')}: give one for each --disk at most`,
    )
  }
  if (inFlight !== undefined && inFlight > queueSize) {
    command.error(
      `error: option '--in-flight <number>' argument '${inFlight}' is invalid. A queue of ${queueSize} has no more requests: see --queue-size.`,
    )
  }
  try {
    return await serveDomain({
      domain,
      disks,
      serials,
      readOnly: flags.readOnly,
      addressing: addressingOf(flags),
      queueSize,
      inFlight,
      signal: environment.signal,
      openDisk: environment.openDisk,
      onNotice: (text) => announce(environment, text),
      attach: environment.attach,
      onServing: environment.onServing,
    })
  } catch (error) {
    refuseSameDisks(command, error)
    throw error
  }
}

function describe(summary: ServeDomainSummary): string {
  const { domain, end, ram, virtualCpus, disks, seconds, board, usage } = summary
  const memory = ram.map(({ address, bytes }) => `${formatSize(bytes)} at ${address}`).join(', ')
  const cache = { hits: 0, misses: 0 }
  for (const { hits, misses } of [board.foreign, board.grants]) {
    cache.hits += hits
    cache.misses += misses
  }
  return formatTable([
    ['domain', `${domain}, ${formatCount(virtualCpus, 'virtual CPU')}, ${memory}`],
    ...disks.map(({ path, readOnly, requests }, slot): [string, string] => [
      `disk ${slot}`,
      `${path}, ${readOnly ? 'read-only' : 'read-write'}, ${formatCount(requests, 'request')}`,
    ]),
    ['ended', `${end}, after ${seconds.toFixed(1)} s`],
    ['cache', describeCache(cache)],
    ['hypervisor', formatCount(usage.memoryCalls, 'call')],
    ['left', describeLeft(usage)],
  ])
}
