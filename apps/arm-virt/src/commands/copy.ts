import type { Command } from 'commander'
import { type CopySummary, copy } from '../copy.ts'
import type { CommandEnvironment } from './environment.ts'
import { formatInteger, formatRate, formatTable } from './formatting.ts'
import { addJobOptions, type JobFlags, jobOptions } from './job-options.ts'
import { openProgressBar } from './progress-bar.ts'

interface CopyFlags extends JobFlags {
  readonly readOnly?: true
}

/** Adds `copy`: two disks are served to a guest that copies one onto the other. */
export function addCopyCommand(program: Command, environment: CommandEnvironment): void {
  const command = program
    .command('copy')
    .summary('serve two disks to a simulated guest, which copies one onto the other')
    .description(
      'Serves two disks to a simulated guest over virtio-blk. The guest copies all of one onto the other, ' +
        'with many writes in flight, and flushes; the digests of the files are compared.',
    )
    .argument('<source>', 'the disk that the guest reads')
    .argument('<target>', 'the disk that it writes: a file that exists, at least as large')
    .option('--read-only', 'attach the target read-only, to see the guest refused')
  addJobOptions(command).action(async (source: string, target: string, flags: CopyFlags) => {
    const bar = openProgressBar(environment, 'copying')
    let summary: CopySummary
    try {
      summary = await copy({
        ...jobOptions(flags, environment),
        source,
        target,
        readOnly: flags.readOnly,
        onProgress: (bytes, total) => bar.update(bytes, total),
      })
    } finally {
      bar.stop()
    }
    const { stdout } = environment
    stdout.write(flags.json === true ? `${JSON.stringify(summary)}\n` : describe(summary))
  })
}

function describe(summary: CopySummary): string {
  const { bytes, requests, seconds, bytesPerSecond, cache, mappedPages, pinnedGrants } = summary
  return formatTable([
    ['copied', `${formatInteger(bytes)} bytes in ${formatInteger(requests)} requests`],
    ['time', `${seconds.toFixed(3)} s, ${formatRate(bytesPerSecond)}`],
    ['SHA-256', `${summary.sourceSha256}  of the source`],
    ['', `${summary.targetSha256}  of the target: equal`],
    ['cache', `${formatInteger(cache.hits)} hits, ${formatInteger(cache.misses)} misses`],
    ['hypervisor', `${formatInteger(summary.hypervisorCalls)} calls`],
    ['left', `${mappedPages} pages mapped, ${pinnedGrants} grants pinned`],
  ])
}
